"""The processes that train one pack together, and what they tell each other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from trainables.text import one_line
from trainables.training.failures import ExchangeBroken

BUCKET_ELEMENTS = 16 * 2**20
"""Gradients are exchanged in buckets of about this many numbers: few messages, and little memory beside the gradients."""


ALL_HERE_WITHIN_S = 20


class Ranks:
    """One process of a data-parallel pack; the default is a pack on one process, where every exchange is the identity.

    Every method that exchanges must be called by all ranks, in the same order.

    Args:
        rank: Which process this is.
        world: How many there are; above 1, ``torch.distributed`` has been initialised with as many.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank = rank
        self.world = world
        self._control: Any = None
        self._aside: Any = None
        if world > 1 and distributed.is_initialized():
            # Plain values go from CPU to CPU, so that a GPU need not be waited for.
            self._control = distributed.new_group(backend="gloo")
            # Beside the other exchanges, one of which may be stuck half-way when this one is needed.
            self._aside = distributed.new_group(backend="gloo", timeout=timedelta(seconds=ALL_HERE_WITHIN_S))

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of every rank's tensor."""
        if self.world == 1:
            return tensor
        return summed(tensor)

    def average_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor by its mean over the ranks, in flattened buckets; shapes are equal on all ranks."""
        if self.world == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            flat = summed(flat) / self.world
            means = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, mean in zip(bucket, means, strict=True):
                tensor.copy_(mean.view_as(tensor))

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        with _broken_exchanges():
            distributed.all_gather_object(values, value, group=self._control)
        return values

    def all_here(self) -> bool:
        """Whether all ranks call this, within :data:`ALL_HERE_WITHIN_S`; if not, no further exchange is possible."""
        try:
            answers: list[Any] = [None] * self.world
            distributed.all_gather_object(answers, True, group=self._aside)
        except RuntimeError:
            return False
        return True

    def first(self, value: bool) -> bool:
        """What the first rank says, so that all do the same."""
        return bool(self.gather(value)[0])


def _buckets(tensors: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """The tensors in order, cut where a bucket is full or the number format changes."""
    buckets: list[list[torch.Tensor]] = []
    filled = 0
    for tensor in tensors:
        if not buckets or filled + tensor.numel() > BUCKET_ELEMENTS or tensor.dtype != buckets[-1][-1].dtype:
            buckets.append([])
            filled = 0
        buckets[-1].append(tensor)
        filled += tensor.numel()
    return buckets


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of every rank's tensor.

    Raises:
        ExchangeBroken: If another rank is gone.
    """
    total = tensor.clone()
    with _broken_exchanges():
        distributed.all_reduce(total)
    return total


@contextmanager
def _broken_exchanges() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ExchangeBroken(f"another worker of the pack is gone ({one_line(error, 120)})") from error


class SummedOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks, through which gradients flow back to every rank."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        """The sum."""
        return summed(tensor.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Every rank's sum depends on this rank's tensor: the gradients are summed too."""
        return summed(gradients[0].contiguous())
