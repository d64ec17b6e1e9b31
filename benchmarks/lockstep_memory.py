"""What the measuring processes of ``lockstep.py`` hold. Linux only; imports torch only where a GPU is asked for."""

import contextlib
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

GONE = (FileNotFoundError, ProcessLookupError)
"""What reading about a process or a thread raises once it has ended."""


@dataclass(slots=True)
class Held:
    """Memory in use when it was looked at, bytes."""

    gpu: int = 0
    """Of the whole GPU, by all processes, contexts and workspaces included."""
    main: int = 0
    """Of this process and all that it started (decoders), shared pages by their share; 0 if Linux does not say."""

    def look(self, barrier: Barrier, wait_s: float) -> None:
        """Look when all the processes of the barrier have come here; none goes on before the last one has looked.

        Args:
            barrier: That of the processes that are measured at once.
            wait_s: How long to wait for the others, seconds, each time.
        """
        barrier.wait(wait_s)
        self.gpu, self.main = gpu_used(), sum(map(_pss, _with_descendants("self")))
        barrier.wait(wait_s)


def gpu_used() -> int:
    """Bytes of the GPU that all processes use; this one opens it, and so uses some."""
    import torch

    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return total - free


def open_gpu(seen: Connection) -> None:
    """Opens the GPU, sends what is then in use, bytes, and keeps it open until the other end is closed."""
    seen.send(gpu_used())
    with contextlib.suppress(EOFError):
        seen.recv()


def status_bytes(field: str) -> int:
    """Bytes: a field of this process's status, ``VmHWM`` say."""
    # Not getrusage: its peak is inherited from the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _with_descendants(process: str) -> list[str]:
    """Its id and those of all that it started, directly or not."""
    found = [process]
    for parent in found:  # which grows meanwhile
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(*GONE):
                found += children.read_text().split()
    return found


def _pss(process: str) -> int:
    """Proportional set size of a process, bytes; 0 if it has ended."""
    with contextlib.suppress(*GONE):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return 0
