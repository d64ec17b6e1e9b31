"""The web app as a server: whom it answers, how it ends, and where it cannot listen."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from dashboards.app.application import create_app
from dashboards.app.server import ServerNotStarted, make_server
from tests.dashboards.app_in_browser import Serving


@pytest.fixture
def serving(start: Callable[..., Serving], tracking_uri: str, tmp_path: Path) -> Serving:
    """The app over an empty store."""
    return start(tracking_uri, snapshots=tmp_path / "snapshots")


def test_it_is_closed_to_other_sites(serving: Serving) -> None:
    with urlopen(serving.url) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert scripts is not None
    assert "unsafe" not in scripts.group(1)
    with pytest.raises(Exception, match="403"):
        urlopen(Request(serving.url, headers={"Host": "evil.example"}))
    with pytest.raises(Exception, match=r"404|405"):
        urlopen(Request(f"{serving.url}_reload-hash", data=b"{}"))


def test_the_server_as_a_process_ends_cleanly(tracking_uri: str, tmp_path: Path) -> None:
    code = (
        "import sys; from dashboards.app import serve; from pathlib import Path\n"
        f"serve({tracking_uri!r}, port=0, snapshots=Path({str(tmp_path / 'snapshots')!r}))\n"
        "assert not {'torch', 'ray'} & set(sys.modules)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert found is not None
    with urlopen(f"{found.group()}_dash-layout") as answer:
        assert json.loads(answer.read())["type"] == "Div"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (0, "", "")


def test_a_port_that_is_taken_is_named(serving: Serving, tracking_uri: str) -> None:
    with pytest.raises(
        ServerNotStarted, match=rf"cannot listen on 127\.0\.0\.1:{serving.server.port} .*give another --port"
    ):
        make_server(create_app(tracking_uri), "127.0.0.1", serving.server.port)
