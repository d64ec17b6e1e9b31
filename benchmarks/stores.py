"""Real tracking stores for benchmarks, each for the time of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STORES = ("sqlite", "postgres", "server")


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """An empty store."""

    uri: str
    artifacts: Path | None
    """Where a client puts artifacts; None where the server says."""


@contextmanager
def store(kind: str, folder: Path) -> Iterator[Store]:
    """An empty store, one of ``STORES``: SQLite, a PostgreSQL of our own with its ``fsync``, ``mlflow server`` on SQLite."""
    if kind == "sqlite":
        yield Store(uri=f"sqlite:///{folder}/mlflow.db", artifacts=folder / "artifacts")
    elif kind == "postgres":
        from tests.dashboards.postgres import postgres_server

        with postgres_server(folder / "postgres.log", fsync=True) as uri:
            yield Store(uri=uri, artifacts=folder / "artifacts")
    else:
        with mlflow_server(folder) as uri:
            yield Store(uri=uri, artifacts=None)


@contextmanager
def mlflow_server(folder: Path, backend: str | None = None) -> Iterator[str]:
    """The address of an ``mlflow server`` with one worker; in front of the store ``backend``, an empty one by default."""
    # Only here: whoever reads SQLite alone has no use for what the tests import.
    from tests.mlflow_server import Server

    server = Server(folder, backend)
    try:
        server.start()
        yield server.uri
    finally:
        server.kill()
