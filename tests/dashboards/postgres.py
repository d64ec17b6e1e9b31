"""A real PostgreSQL server."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.missing import lacks
from tests.ray_cluster import free_port


@contextmanager
def postgres_server(log: Path, *, fsync: bool = False) -> Iterator[str]:
    """The URI of an empty database of a PostgreSQL server of our own; see ``lacks`` for where there is none.

    Without ``fsync`` it is faster, and loses what it wrote if the machine stops.
    """
    programs = _programs()
    if programs is None:
        lacks("PostgreSQL is not installed (Debian: apt install postgresql)")
    as_user: list[str] = []
    with tempfile.TemporaryDirectory() as home:
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root.
            if shutil.which("runuser") is None or _fails(["id", "postgres"]):
                lacks("tests run as root and there is no user postgres to run PostgreSQL as")
            as_user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(home, "postgres")
        data, port = Path(home) / "data", free_port()
        setup = [str(programs / "initdb"), "-D", str(data), "-U", "mlflow", "--auth=trust", "--no-sync"]
        subprocess.run([*as_user, *setup], check=True, capture_output=True, cwd=home)
        options = ["-k", home, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        options += ["-c", f"fsync={'on' if fsync else 'off'}"]
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow"]
        command = [*as_user, str(programs / "postgres"), "-D", str(data), *options]
        stop = [*as_user, str(programs / "pg_ctl"), "stop", "-D", str(data), "-m", "fast"]
        with _running(command, lambda: not _fails(ready), stop, log):
            yield f"postgresql+psycopg2://mlflow:secret@127.0.0.1:{port}/postgres"


def _programs() -> Path | None:
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return debian[-1].parent if debian else None if found is None else Path(found).parent


def _fails(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


@contextmanager
def _running(command: list[str], ready: Callable[[], bool], stop: list[str], log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            for _ in range(240):
                if process.poll() is not None or ready():
                    break
                time.sleep(0.25)
            assert process.poll() is None, log.read_text()
            assert ready(), log.read_text()
            yield
        finally:
            # At SIGTERM alone PostgreSQL waits for all who are connected, as MLflow in this process still is.
            subprocess.run(stop, capture_output=True, check=False)
            process.terminate()
            process.wait(30)
