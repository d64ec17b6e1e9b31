"""Modes of torch's of one's own: grad mode, inference mode and default dtype."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class TorchModes:
    """The modes as one generator sees them, at first those of whoever makes this.

    Source: own.
    """

    def __init__(self) -> None:
        self._take()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the modes are as they were left; afterwards those outside are as before."""
        outer_dtype = torch.get_default_dtype()
        # Its end also restores the grad mode outside, whatever happens inside.
        with torch.inference_mode(self._inference):
            torch.set_grad_enabled(self._grad)
            torch.set_default_dtype(self._dtype)
            try:
                yield
            finally:
                self._take()
                torch.set_default_dtype(outer_dtype)

    def _take(self) -> None:
        self._grad = torch.is_grad_enabled()
        self._inference = torch.is_inference_mode_enabled()
        self._dtype = torch.get_default_dtype()
