"""Tracking URIs with nothing behind them: one sentence within seconds, and nothing created."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dashboards import TrackingUnreachable, list_studies, read_study
from dashboards.formats import without_password


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def other_server() -> Iterator[str]:
    """An HTTP server that is not MLflow."""

    class NotFound(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Keeps the test's output clean."""

    server = HTTPServer(("127.0.0.1", 0), NotFound)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# The limit is what this is about: MLflow alone retries for minutes.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "mysql+pymysql"])
def test_a_closed_port_is_named(closed_port: int, scheme: str) -> None:
    uri = f"{scheme}://me:secret@127.0.0.1:{closed_port}/db"
    with pytest.raises(TrackingUnreachable) as caught:
        read_study(uri, "demo")
    message = str(caught.value)
    assert f"127.0.0.1:{closed_port}" in message
    assert "cannot be reached" in message
    assert "check the tracking URI" in message
    assert "secret" not in message
    assert "\n" not in message


@pytest.mark.timeout(60)
def test_a_server_that_is_not_mlflow_is_named(other_server: str) -> None:
    with pytest.raises(
        TrackingUnreachable, match=f"{other_server} cannot be read .*404.*check the tracking URI"
    ) as caught:
        list_studies(other_server)
    assert "\n" not in str(caught.value)


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path) -> None:
    for path in (tmp_path / "mlflow.db", tmp_path / "home" / "mlflow.db"):
        with pytest.raises(TrackingUnreachable, match="there is no file"):
            read_study(f"sqlite:///{path}", "demo")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("no database " * 100)
    with pytest.raises(TrackingUnreachable, match=r"mlflow\.db cannot be read .*not a database"):
        read_study(f"sqlite:///{path}", "demo")
    assert path.read_text() == "no database " * 100


@pytest.mark.parametrize("uri", ["http://127.0.0.1:port", "http://[::1", "http://127.0.0.1:99999"])
def test_what_is_no_uri_is_named(uri: str) -> None:
    with pytest.raises(TrackingUnreachable, match="is not a tracking URI"):
        read_study(uri, "demo")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@db.example:5432/mlflow?sslpassword=secret", "postgresql://***@db.example:5432/mlflow"),
        ("https://token@host/path", "https://***@host/path"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("sqlite:///mlflow.db?mode=ro", "sqlite:///mlflow.db"),
        ("http://user:secret@[::1", "http://***@[::1"),
        ("postgresql://me:sec/re#t?@db.example/mlflow", "postgresql://***@db.example/mlflow"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_passwords_are_not_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


@pytest.mark.parametrize("uri", ["postgres://me:secret@host/db", "postgresql://me:sec/ret@127.0.0.1:1/db"])
def test_no_message_quotes_a_password(uri: str) -> None:
    with pytest.raises(TrackingUnreachable) as error:
        read_study(uri, "demo")
    assert "sec" not in str(error.value).replace("seconds", "")
