"""What machines can train side by side; knows nothing of Ray."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from stablesweep.study import Pack


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The CPUs and GPUs of one machine."""

    cpus: float
    """Ray may be told to use a part of one."""
    gpus: int

    def workers(self, pack: Pack) -> int:
        """How many workers of such packs fit at the same time; 0 if not even one does.

        A share of a GPU never spans two GPUs.
        """
        fits = int(self.cpus // pack.cpus)
        if pack.gpus:
            fits = min(fits, self.gpus * int(1 / pack.gpus) if pack.gpus < 1 else self.gpus // int(pack.gpus))
        return fits


def packs_at_once(pack: Pack, machines: Sequence[Machine]) -> int:
    """How many packs of this kind fit on machines at the same time; a worker has one machine, a pack may have several."""
    return sum(machine.workers(pack) for machine in machines) // pack.workers


def this_machine(*, gpus: bool) -> Machine:
    """The CPUs of this machine and, if asked for, the GPUs that torch finds, for which it must be imported."""
    found = 0
    if gpus:
        import torch

        found = torch.cuda.device_count()
    return Machine(cpus=os.cpu_count() or 1, gpus=found)
