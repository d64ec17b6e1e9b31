"""A real Ray cluster of several nodes on this machine, with token authentication and a job server."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

START_LIMIT_S = 180


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass
class Node:
    """A Ray node: a process in its own session, and what it started."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End all of its processes at once, as a machine that loses power would."""
        for pid in _family(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class RayCluster:
    """A head with a job server on loopback, and nodes that join it; use it in a ``with`` block.

    Ray's sockets want a short path, so its files lie in a temporary folder of their own and not in pytest's.

    Args:
        cpus: Those of the head.
        variables: Of all nodes, and so of all jobs.
    """

    def __init__(self, *, cpus: int = 2, variables: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self.token = secrets.token_hex(32)
        self.port, self.dashboard_port = free_port(), free_port()
        self.nodes: list[Node] = []
        self._cpus = cpus
        self._variables = dict(variables or {})

    @property
    def ray_address(self) -> str:
        """For ``ray.init``: host and port of the head."""
        return f"127.0.0.1:{self.port}"

    @property
    def job_address(self) -> str:
        """For jobs: the URL of the job server."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def token_variables(self) -> dict[str, str]:
        """What a client needs beside an address."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    @property
    def variables(self) -> dict[str, str]:
        """What a driver needs that joins the cluster."""
        return {**self.token_variables, "RAY_ADDRESS": self.ray_address}

    def __enter__(self) -> Self:
        try:
            self.start_head()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_head(self) -> Node:
        """Start the head and wait until its job server answers."""
        head = self._start(
            "--head",
            *("--port", str(self.port), "--num-cpus", str(self._cpus)),
            *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1"),
            *("--dashboard-port", str(self.dashboard_port), "--temp-dir", str(self.folder / "ray")),
        )
        self._wait(lambda: self.alive_nodes() >= 1, head)
        return head

    def add_node(self, *, cpus: int = 1, variables: Mapping[str, str] | None = None) -> Node:
        """Start a further node and wait until the head knows it."""
        known = self.alive_nodes()
        node = self._start("--address", self.ray_address, "--num-cpus", str(cpus), variables=variables)
        self._wait(lambda: self.alive_nodes() > known, node)
        return node

    def alive_nodes(self) -> int:
        """How many nodes the head takes to be alive; 0 while its job server does not answer."""
        try:
            nodes = self.get("/api/v0/nodes")["data"]["result"]["result"]
        except OSError:
            return 0
        return sum(node["state"] == "ALIVE" for node in nodes)

    def get(self, path: str) -> Any:
        """What the job server answers, as JSON."""
        request = urllib.request.Request(self.job_address + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """End all nodes, those that joined last first, and remove what they wrote."""
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *options: str, variables: Mapping[str, str] | None = None) -> Node:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command += ["--node-ip-address", "127.0.0.1", "--min-worker-port", "0", "--max-worker-port", "0"]
        # Every node has an agent of its own for jobs; two on one machine must not want the same port.
        command += ["--dashboard-agent-listen-port", str(free_port()), "--object-store-memory", "200000000", *options]
        log = self.folder / f"node-{len(self.nodes)}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                env={**_environment(), **self.token_variables, **self._variables, **(variables or {})},
            )
        self.nodes.append(Node(process, log))
        return self.nodes[-1]

    def _wait(self, ready: Callable[[], bool], node: Node) -> None:
        give_up = time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up and node.process.poll() is None:
            if ready():
                return
            time.sleep(0.5)
        pytest.fail(f"this node of Ray did not start: {node.log.read_text()}")


def _environment() -> dict[str, str]:
    """Without another Ray's variables, and with this Python first: an entrypoint says ``python``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def _family(pid: int) -> list[int]:
    """A process and its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in parentheses may hold anything; the parent's id is the second field after it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    family = [pid]
    for member in family:
        family += children.get(member, [])
    return family
