"""The forward pass of stacked models on one batch."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from trainables.training.fused.attention import FoldedAttention
from trainables.training.fused.folded import Folded


class StackedForward:
    """Logits of M models on the same images.

    ``torch.vmap`` over the models' tensors: linear layers become batched matrix products, convolutions grouped ones, norms get
    statistics and affine parameters for each model, and attention folds the models into the batch. An operation for which torch
    would loop over the models is refused, and so is one that draws random numbers: each member draws its own.

    Args:
        model: Any of the models; its code is what runs, its tensors are not used.
    """

    def __init__(self, model: nn.Module) -> None:
        # A copy: its training mode is its own, and what it may keep of a pass is not the member's.
        self._template = copy.deepcopy(model).requires_grad_(False)

    def __call__(self, values: Mapping[str, torch.Tensor], images: torch.Tensor, *, training: bool) -> torch.Tensor:
        """Logits, shape (M, B, num_classes), in the dtype in which the models return them.

        Args:
            values: All parameters and buffers by name, each of shape (M, *shape); buffers may be overwritten.
            images: Shape (B, C, H, W); the model may overwrite them.
            training: Whether in training mode.

        Raises:
            RuntimeError: If the models cannot be run so.
        """
        self._template.train(training)
        with without_loops(), FoldedAttention(), Folded():
            # Made anew each time: kept, it would refer to this object, and both would outlive their use.
            return torch.vmap(self._call, in_dims=(0, None), out_dims=0, randomness="error")(dict(values), images)

    def _call(self, values: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        given = dict(values)
        logits: torch.Tensor = functional_call(self._template, values, (images,))
        # functional_call leaves in ``values`` what the model has at the end; what it assigned would be lost.
        assigned = [name for name, own in given.items() if values[name] is not own]
        if assigned:
            raise RuntimeError(f"the model assigns another tensor to {assigned[0]} instead of changing it in place")
        return logits


@contextmanager
def without_loops() -> Iterator[None]:
    """Inside, vmap raises where it would loop over the models."""
    switch: Any = torch._C._functorch
    before = switch._is_vmap_fallback_enabled()
    switch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        switch._set_vmap_fallback_enabled(before)
