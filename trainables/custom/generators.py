"""Global random generators of one's own: torch's, numpy's and Python's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from trainables.training.random_state import RandomState


class GlobalGenerators:
    """The states of the process's global generators as one member sees them, seeded with its seed."""

    def __init__(self, seed: int, device: str) -> None:
        self._device = torch.device(device)
        self._torch = RandomState(seed, self._device)
        self._python = random.Random(seed).getstate()
        # A sequence, as numpy's own seed takes 32 bits only.
        self._numpy: Any = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed))).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the global generators continue from these states; afterwards they are as before."""
        outer_python, outer_numpy = random.getstate(), np.random.get_state()
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        try:
            with self._torch.active():
                yield
        finally:
            self._python, self._numpy = random.getstate(), np.random.get_state()
            random.setstate(outer_python)
            np.random.set_state(outer_numpy)

    def state_dict(self) -> dict[str, Any]:
        """The states in tensors and plain containers."""
        kind, words, *rest = self._numpy
        return {
            "torch": self._torch.state_dict(),
            "python": self._python,
            "numpy": (str(kind), words.tolist(), int(rest[0]), int(rest[1]), float(rest[2])),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Sets the global generators to states of :meth:`state_dict`; to be called while :meth:`active`.

        Args:
            state: Taken on the same kind of device.
        """
        random.setstate(state["python"])
        kind, words, *rest = state["numpy"]
        np.random.set_state((kind, np.array(words, dtype=np.uint32), *rest))
        torch.set_rng_state(state["torch"]["cpu"])
        if state["torch"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["torch"]["cuda"], self._device)
