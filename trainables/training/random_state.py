"""A torch generator state of one's own: swapped in for a while, then the global state is as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class RandomState:
    """The state of torch's global generators (CPU, and the device's if it is a GPU) as one member sees them."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        generator = torch.Generator().manual_seed(seed)
        self._cpu = generator.get_state()
        self._cuda: torch.Tensor | None = None
        if device.type == "cuda":
            self._cuda = torch.Generator(device).manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, torch's global generators continue from this state; afterwards they are as before."""
        outer_cpu = torch.get_rng_state()
        outer_cuda = torch.cuda.get_rng_state(self._device) if self._cuda is not None else None
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
        try:
            yield
        finally:
            self._cpu = torch.get_rng_state()
            torch.set_rng_state(outer_cpu)
            if outer_cuda is not None:
                self._cuda = torch.cuda.get_rng_state(self._device)
                torch.cuda.set_rng_state(outer_cuda, self._device)

    def state_dict(self) -> dict[str, torch.Tensor | None]:
        """The state as tensors: ``cpu``, and ``cuda`` or None."""
        return {"cpu": self._cpu.clone(), "cuda": None if self._cuda is None else self._cuda.clone()}

    def load_state_dict(self, state: dict[str, torch.Tensor | None]) -> None:
        """Continues from a state that :meth:`state_dict` returned.

        Raises:
            ValueError: If the state was taken on another kind of device.
        """
        if state["cpu"] is None or (state["cuda"] is None) != (self._cuda is None):
            raise ValueError(
                "the checkpoint's generators are of another kind of device; continue on the kind it began on"
            )
        self._cpu = state["cpu"].clone()
        self._cuda = None if state["cuda"] is None else state["cuda"].clone()
