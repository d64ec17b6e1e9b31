"""Batch norm's statistics: over all workers of a pack, and computed anew before an evaluation.

``torch.nn.SyncBatchNorm`` exists for GPUs only; the one here is the same function on any device.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trainables.training.ranks import SummedOverRanks


class _Synced:
    """Replaces the statistics of a batch norm; mixed into a subclass of the norm's own class."""

    world: int

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """As the norm does on the batches of all ranks put together."""
        norm: Any = self
        if not norm.training:
            evaluated: torch.Tensor = super().forward(inputs)  # type: ignore[misc]
            return evaluated
        outputs = _normalised(norm, inputs)
        # timm's norms carry an activation with them.
        for name in ("drop", "act"):
            layer = getattr(norm, name, None)
            outputs = outputs if layer is None else layer(outputs)
        return outputs


def batch_norms(model: nn.Module) -> list[Any]:
    """The model's batch norms, in its order."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def recompute_statistics(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Makes the running statistics of every batch norm those of all these batches together.

    Args:
        model: In training mode; its running statistics are overwritten.
        batches: Images as the model takes them; not changed.

    Source: the mean and the total variance (within and between batches) over batches, the "precise" batch norm of the
    paper's public code.
    """
    norms = [norm for norm in batch_norms(model) if norm.track_running_stats]
    # In float64: the difference of two large numbers is taken below.
    sums = [[torch.zeros_like(norm.running_mean, dtype=torch.float64) for _ in range(2)] for norm in norms]
    momenta, count = [norm.momentum for norm in norms], 0
    try:
        for norm in norms:
            norm.momentum = 1.0  # the running statistics are then the last batch's
        for images in batches:
            model(images.clone())
            count += 1
            for norm, (means, squares) in zip(norms, sums, strict=True):
                mean = norm.running_mean.double()
                means += mean
                squares += norm.running_var.double() + mean.square()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    for norm, (means, squares) in zip(norms, sums, strict=True):
        norm.running_mean.copy_(means / count)
        norm.running_var.copy_((squares / count - (means / count).square()).clamp_(min=0))


def synchronise_batch_norm(model: nn.Module, world: int) -> bool:
    """Makes every batch norm of a model see the batches of all ranks, in place; names and parameters stay.

    Returns whether there is any.

    The mean over the ranks of gradients is then the gradient on the whole batch. All ranks must run the same layers in the
    same order and get batches of equal size.

    Source: own; the function is that of ``torch.nn.SyncBatchNorm``.
    """
    norms = batch_norms(model)
    for norm in norms:
        if not isinstance(norm, _Synced):
            kind = type(norm)
            norm.__class__ = type(f"Synced{kind.__name__}", (_Synced, kind), {})
            norm.world = world
    return bool(norms)


def _normalised(norm: Any, inputs: torch.Tensor) -> torch.Tensor:
    inputs32 = inputs.float()
    axes = [axis for axis in range(inputs.ndim) if axis != 1]
    shape = [1, -1] + [1] * (inputs.ndim - 2)
    count = norm.world * inputs.numel() // inputs.shape[1]
    mean = _summed(inputs32.sum(axes)) / count
    centred = inputs32 - mean.view(shape)
    variance = _summed(centred.square().sum(axes)) / count
    _update_running_statistics(norm, mean.detach(), variance.detach() * (count / max(count - 1, 1)))
    outputs = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.affine:
        outputs = outputs * norm.weight.view(shape) + norm.bias.view(shape)
    converted: torch.Tensor = outputs.to(inputs.dtype)
    return converted


def _summed(tensor: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = SummedOverRanks.apply(tensor)
    return total


@torch.no_grad()
def _update_running_statistics(norm: Any, mean: torch.Tensor, variance: torch.Tensor) -> None:
    if not norm.track_running_stats:
        return
    norm.num_batches_tracked.add_(1)
    share = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)
