"""The web app as a process of its own."""

import contextlib
import errno
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from dashboards.formats import without_password

if TYPE_CHECKING:
    from dash import Dash
    from werkzeug.serving import BaseWSGIServer

HOST, PORT = "127.0.0.1", 8265


class ServerNotStarted(ValueError):
    """The address cannot be listened on."""


def serve(
    tracking_uri: str,
    *,
    host: str = HOST,
    port: int = PORT,
    open_browser: bool = False,
    snapshots: Path | None = None,
    imports: Path | None = None,
    refresh_s: float = 10.0,
) -> None:
    """Serves the app until Ctrl-C (or SIGTERM), and prints where.

    Args:
        tracking_uri: As MLflow takes it.
        host: The address to listen on. Any but a loopback one lets others on the network read all studies.
        port: 0 takes a free one.
        open_browser: Whether to open the page in the user's browser.
        snapshots: The folder of local copies of what MLflow holds.
        imports: The folder of imported studies.
        refresh_s: Seconds between two looks for something new.

    Raises:
        ServerNotStarted: If the address cannot be listened on.
    """
    from dashboards.app.application import create_app

    app = create_app(tracking_uri, snapshots=snapshots, imports=imports, refresh_s=refresh_s, names=[host])
    server = make_server(app, host, port)
    url = f"http://{_shown(host)}:{server.port}/"
    print(f"Dashboard of {without_password(tracking_uri)}: {url}   (Ctrl-C stops it)", flush=True)
    if open_browser:
        threading.Timer(0.5, webbrowser.open, [url]).start()
    with contextlib.suppress(KeyboardInterrupt), _sigterm_as_interrupt():
        server.serve_forever(poll_interval=0.2)
    server.server_close()


def make_server(app: "Dash", host: str, port: int) -> "BaseWSGIServer":
    """A server of the app that listens already; ``serve_forever`` answers.

    Raises:
        ServerNotStarted: If the address cannot be listened on.
    """
    import logging

    from werkzeug import serving

    class QuietHandler(serving.WSGIRequestHandler):
        """Keeps connections open, and says nothing about each request."""

        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """A page asks every few seconds: no lines about that."""

    # Werkzeug's own server, with threads: one person's loopback tool needs neither worker processes (each would hold its
    # own copy of all studies and its own reading thread) nor a further dependency; what makes it unfit for the open
    # internet (no limits against slow clients) does not matter here. The debugger is never part of it.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        server = serving.make_server(host, port, app.server, threaded=True, request_handler=QuietHandler)
    # Where the system refuses the address, werkzeug prints why and leaves by SystemExit.
    except (OSError, OverflowError, SystemExit) as error:
        why, option = _refusal(error.__context__ if isinstance(error, SystemExit) else error)
        raise ServerNotStarted(
            f"The dashboard cannot listen on {_bracketed(host)}:{port} ({why}); give another {option}."
        ) from error
    server.daemon_threads = True  # type: ignore[attr-defined]
    return server


def _refusal(error: BaseException | None) -> tuple[str, str]:
    """Why an address cannot be listened on, and the option to change."""
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return "something listens there already", "--port"
    if number == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "that is not an address of this machine", "--host"
    return getattr(error, "strerror", None) or str(error or "the system refuses it"), "--port"


def _shown(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else _bracketed(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
