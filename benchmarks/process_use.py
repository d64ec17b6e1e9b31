"""What a command and everything that it starts uses: wall clock, CPU time, memory. POSIX only."""

import contextlib
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

LOOK_EVERY_S = 0.1
"""CPU time that a process uses after it was last looked at is not seen."""
MEMORY_EVERY_S = 1.0
"""Shared pages are counted by the share of each process, which takes the kernel longer."""
YOUNG_S = 2.0
"""Between its start and its exec a process has its parent's environment or none: so long it is asked again."""
END_WITHIN_S = 30.0
"""How long an interrupted command may take to end what it started."""

Identity = tuple[int, float]
"""A process id, and when that process was started: ids are used again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """What a command used, with all of its descendants."""

    wall_s: float
    cpu_s: float
    """The larger of two sums, neither of which sees all: of what every process had used when it was last looked at, and of the
    processes whose ends were waited for."""
    peak_mib: float
    """Largest sum of the proportional set sizes of all processes, of one look in each ``MEMORY_EVERY_S``."""


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Use:
    """Run a command to its end; what it prints is not shown, but for errors. If that is interrupted, by Ctrl-C say, the command
    ends as well.

    Raises:
        subprocess.CalledProcessError: If the command fails.
    """
    mark = f"BENCHMARK_{time.time_ns()}"
    watch, before, began = Watch(mark), _waited_for_s(), time.monotonic()
    # A session of its own: at Ctrl-C it is interrupted once, by us.
    process = subprocess.Popen(
        command, env={**environment, mark: "1"}, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        while not _ends_within(process, LOOK_EVERY_S):
            watch.look()
    except BaseException:
        _end(process, watch)
        raise
    wall_s = time.monotonic() - began
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    cpu_s = max(watch.cpu_s(), _waited_for_s() - before)
    return Use(wall_s=wall_s, cpu_s=cpu_s, peak_mib=watch.peak / 2**20)


class Watch:
    """Looks at all processes that have a variable in their environment, so also at those whose parents have ended.

    Args:
        mark: The variable's name.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._ours: dict[Identity, bool] = {}
        self._used: dict[Identity, float] = {}
        self._memory_at = 0.0
        self.peak = 0.0
        """Bytes."""

    def look(self) -> None:
        """Note what each process has used so far."""
        with_memory = time.monotonic() - self._memory_at > MEMORY_EVERY_S
        self._memory_at = time.monotonic() if with_memory else self._memory_at
        memory = 0.0
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                memory += self._look_at(process, with_memory)
        self.peak = max(self.peak, memory)

    def _look_at(self, process: psutil.Process, with_memory: bool) -> float:
        """Note the CPU time of a process, if it is one of ours; its memory in bytes, if that is asked for."""
        identity = (process.pid, process.create_time())
        known = self._ours.get(identity)
        if known is None or (not known and time.time() - identity[1] < YOUNG_S):
            self._ours[identity] = False
            self._ours[identity] = self._mark in process.environ()
        if not self._ours[identity]:
            return 0.0
        times = process.cpu_times()
        self._used[identity] = times.user + times.system
        return float(process.memory_full_info().pss) if with_memory else 0.0

    def cpu_s(self) -> float:
        """CPU seconds of all processes, as far as they were seen."""
        return sum(self._used.values())

    def kill(self) -> None:
        """End all processes that are still there."""
        self.look()
        for pid, created in self._used:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if process.create_time() == created:
                    process.kill()


def _ends_within(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: "subprocess.Popen[bytes]", watch: Watch) -> None:
    """End a command as Ctrl-C does, so that it can end what it started, and after a while all that is left."""
    try:
        process.send_signal(signal.SIGINT)
        _ends_within(process, END_WITHIN_S)
    finally:
        watch.kill()
        process.kill()
        process.wait()


def _waited_for_s() -> float:
    """CPU seconds of all descendants of this process that have ended and were waited for."""
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime
