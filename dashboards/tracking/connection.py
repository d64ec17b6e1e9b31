"""A quiet client of an MLflow tracking server, or one clear sentence about why there is none."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from dashboards.formats import without_password, without_passwords
from dashboards.log_levels import log_levels

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_TIMEOUT_S = 5.0
_DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
_LEVELS = {
    "alembic": logging.WARNING,
    # It prints a traceback of what is raised as well: whoever catches that says it in a sentence.
    "mlflow.store.db.utils": logging.CRITICAL,
    "mlflow.tracking": logging.WARNING,
}


class TrackingUnreachable(ValueError):
    """The tracking server or database does not answer, or is not one."""


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """No progress bars, no lines about database migrations and no tracebacks from MLflow inside the block."""
    with log_levels(_LEVELS), _environment(_QUIET):
        yield


def connect(tracking_uri: str) -> "MlflowClient":
    """A client of ``tracking_uri`` that has answered once.

    Raises:
        TrackingUnreachable: Within seconds, if nothing answers there or it is no MLflow store. An SQLite file that
            does not exist counts as unreachable: MLflow would create it.
    """
    _check_sqlite_file(tracking_uri)
    _check_port(tracking_uri)
    from mlflow import MlflowClient

    try:
        with quiet_mlflow(), _environment(_IMPATIENT):
            client = MlflowClient(tracking_uri=tracking_uri)
            client.search_experiments(max_results=1)
    # Whatever a store raises here (MLflow's, requests', SQLAlchemy's or a database driver's own error) means the same.
    except Exception as error:
        raise TrackingUnreachable(
            f"MLflow at {without_password(tracking_uri)} cannot be read ({_first_line(error)}); check the tracking URI."
        ) from error
    return client


@contextmanager
def reading(tracking_uri: str) -> Iterator[None]:
    """Turns what MLflow raises in the block, because the server or the database went away, into one sentence.

    Raises:
        TrackingUnreachable: Within a minute or so: MLflow alone retries for several.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    patience = {name: value for name, value in _PATIENT.items() if name not in os.environ}
    try:
        with _environment(patience):
            yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingUnreachable(
            f"MLflow at {without_password(tracking_uri)} stopped answering ({_first_line(error)}); try again."
        ) from error


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return without_passwords(line)[:300].rstrip(". ")


def _check_sqlite_file(tracking_uri: str) -> None:
    scheme, _, rest = tracking_uri.partition(":///")
    path = rest.partition("?")[0]
    if scheme.partition("+")[0] == "sqlite" and path and not Path(path).is_file():
        raise TrackingUnreachable(
            f"MLflow at {without_password(tracking_uri)} cannot be read: there is no file {path}; check the tracking URI."
        )


def _check_port(tracking_uri: str) -> None:
    """Tries a bare connection first, because MLflow itself retries for minutes where nothing listens."""
    try:
        parts = urlsplit(tracking_uri)
        scheme = parts.scheme.partition("+")[0]
        host, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(scheme)
    except ValueError as error:
        raise TrackingUnreachable(
            f"{without_password(tracking_uri)!r} is not a tracking URI; escape special characters of a password, e.g. / as %2F."
        ) from error
    through_proxy = scheme in getproxies() and host is not None and not proxy_bypass(host)
    if host is None or port is None or through_proxy:
        return
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise TrackingUnreachable(
            f"MLflow at {without_password(tracking_uri)} cannot be reached ({error.strerror or error}); "
            "check the tracking URI and that the server runs."
        ) from error


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
