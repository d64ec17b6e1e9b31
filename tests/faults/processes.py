"""Processes of this machine, found through /proc: who started whom, under which title."""

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

    @property
    def alive(self) -> bool:
        """Whether it runs still; one that has ended and that nobody asked about does not."""
        found = _stat(self.pid)
        return found is not None and found[0] != "Z" and found[2] == self.started

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, if it is still there."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start of a process."""
    try:
        # The name in parentheses may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), int(fields[19])


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def family(pid: int) -> list[Process]:
    """The living descendants of a process, parents first, without itself."""
    children: dict[int, list[tuple[int, int]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        found = _stat(int(folder.name))
        if found is not None and found[0] != "Z":
            children.setdefault(found[1], []).append((int(folder.name), found[2]))
    ids = list(children.get(pid, []))
    for member, _ in ids:
        ids += children.get(member, [])
    return [Process(member, started, _title(member)) for member, started in ids]


def titled(pid: int, title: str) -> list[Process]:
    """The living descendants of a process whose title holds ``title``."""
    return [process for process in family(pid) if title in process.title]


def wait_for_end(processes: list[Process], within_s: float = 60) -> None:
    """Wait until none of them runs."""
    give_up = time.monotonic() + within_s
    while left := [process for process in processes if process.alive]:
        if time.monotonic() > give_up:
            pytest.fail(f"{len(left)} processes run after {within_s:g} s, e.g. {left[0].title}")
        time.sleep(0.2)
