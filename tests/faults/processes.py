"""Processes of this machine, found through /proc: all that one command has started, and under which titles they run."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Process:
    """A process; one that gets the same id later is another one."""

    pid: int
    started: int
    """Clock ticks since the machine started."""
    title: str
    """Its command line; Ray writes the actor and what it does into it."""

    def kill(self) -> None:
        """Send it SIGKILL, if it is still there."""
        found = _stat(self.pid)
        if found is not None and found.started == self.started:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    session: int
    started: int


def _stat(pid: int) -> _Stat | None:
    try:
        # The name in parentheses may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _Stat(fields[0], int(fields[3]), int(fields[19]))


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def session(leader: int) -> list[Process]:
    """The living processes of a session without its leader: all that it has started, also after its end.

    Ray starts no session of its own. A process that has ended, and that nobody has asked about, does not live.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        stat = _stat(pid)
        if stat is not None and stat.session == leader != pid and stat.state not in "ZX":
            found.append(Process(pid, stat.started, _title(pid)))
    return found


def wait_for_end(leader: int, within_s: float = 60) -> None:
    """Wait until nothing of a session runs; what still does is killed, and the test fails."""
    give_up = time.monotonic() + within_s
    while left := session(leader):
        if time.monotonic() > give_up:
            for process in left:
                process.kill()
            pytest.fail(f"{len(left)} processes run after {within_s:g} s, e.g. {left[0].title}")
        time.sleep(0.2)
