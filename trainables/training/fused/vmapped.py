"""What operations with rules of their own for ``torch.vmap`` share."""

from typing import Any

import torch


class Vmapped(torch.autograd.Function):
    """An operation whose subclass has a method ``vmap``; its gradient is that of what this method calls."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept for a gradient of its own."""


def front(tensor: torch.Tensor, dim: int | None, models: int) -> torch.Tensor:
    """A tensor of all models, (models, ...); where ``dim`` is None they share it, and it is repeated without a copy."""
    return tensor.movedim(dim, 0) if dim is not None else tensor.expand(models, *tensor.shape)
