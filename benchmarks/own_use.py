"""What this process uses: time and memory."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

STATUS = Path("/proc/self/status")


class Seconds(NamedTuple):
    """By the clock, and of the processors' work in this process, which other programs beside it change less."""

    wall_s: float
    cpu_s: float


def timed(work: Callable[[], object]) -> Seconds:
    """Seconds that ``work`` takes."""
    began, began_cpu = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - began, time.process_time() - began_cpu)


def in_words(seconds: float) -> str:
    """``1.23 s``, and of little more than nothing ``12.3 ms`` or ``12 µs``."""
    if seconds >= 0.1:
        return f"{seconds:.2f} s"
    return f"{1e3 * seconds:.1f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.0f} µs"


def peak_mib() -> float:
    """The most memory that this process ever had, MiB."""
    if STATUS.exists():
        # Not getrusage: on Linux its peak is inherited from the process that started this one.
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10
    # In bytes on a Mac.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
