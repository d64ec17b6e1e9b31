"""The tensors of several models of one shape, stacked along a model axis; the models themselves become views of the stack."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import nn


class CannotFuse(Exception):
    """Why some members cannot be trained fused, as half a sentence; they can be trained in a loop."""


NOISE = 0.02
"""Standard deviation of what :meth:`Stack.disturbed` makes of gains and biases, around 1."""
BOUND = 1e4
"""How large a buffer's numbers may be while models are compared; a mask, which may be infinite, masks with this too."""
ALIGNMENT = 32
"""Every tensor begins at a multiple of so many numbers: matrix products are slower from other addresses."""


class Flat:
    """Tensors of M models in one matrix (M, P), so that an optimizer step is a few operations.

    Each tensor of a model has a range of the columns; the columns between two of them are zero and stay so.

    Args:
        tensors: By name, the tensor of each model: M tensors of one shape and dtype.
    """

    def __init__(self, tensors: Mapping[str, Sequence[torch.Tensor]]) -> None:
        self._shapes = {name: own[0].shape for name, own in tensors.items()}
        self.starts = dict(zip(tensors, accumulate(map(_room, self._shapes.values()), initial=0), strict=False))
        """By name, the first of its columns."""
        first = next(iter(tensors.values()))
        self.matrix = first[0].new_zeros(len(first), sum(map(_room, self._shapes.values())))
        """All values, shape (M, P)."""
        self.stacked = self.parts(self.matrix)
        """By name, a view of :attr:`matrix`, shape (M, *shape)."""
        with torch.no_grad():
            for name, own in tensors.items():
                for row, tensor in zip(self.stacked[name], own, strict=True):
                    row.copy_(tensor)

    def parts(self, matrix: torch.Tensor) -> dict[str, torch.Tensor]:
        """By name, views of shape (M, *shape) of a matrix that is laid out as :attr:`matrix`."""
        return {
            name: matrix[:, start : start + shape.numel()].view(-1, *shape)
            for (name, shape), start in zip(self._shapes.items(), self.starts.values(), strict=True)
        }

    def columns(self, names: int) -> int:
        """How many columns the first so many tensors have."""
        return [*self.starts.values(), self.matrix.shape[1]][names]


def _room(shape: torch.Size) -> int:
    return -(-shape.numel() // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """M models of one shape."""

    trained: Flat
    """The parameters that have a gradient; those that weight decay applies to come first."""
    fixed: dict[str, torch.Tensor]
    """All other parameters and buffers by name, each of shape (M, *shape)."""
    buffers: frozenset[str]
    """Which of the fixed are buffers: a forward pass may overwrite them."""

    def values(self, parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Everything that ``torch.func.functional_call`` needs, with these in place of the trained parameters."""
        return {**self.fixed, **parameters}

    def copied_buffers(self) -> dict[str, torch.Tensor]:
        """Copies of the buffers."""
        return {name: self.fixed[name].clone() for name in self.buffers}

    def restore_buffers(self, copies: Mapping[str, torch.Tensor]) -> None:
        """Makes the buffers what they were when they were copied."""
        for name, copy in copies.items():
            self.fixed[name].copy_(copy)

    @contextmanager
    def buffers_kept(self) -> Iterator[None]:
        """Afterwards the buffers are as before."""
        copies = self.copied_buffers()
        try:
            yield
        finally:
            self.restore_buffers(copies)

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """Inside, every parameter is noise, of each model its own, and no buffer is huge; afterwards all is as before.

        So that what models return depends on all of them: with a head of zeros, as many begin with, it would not. And
        so that it does not depend on training: in a model that has blown up, roundings decide.
        """
        fixed = [own for name, own in self.fixed.items() if name not in self.buffers and own.is_floating_point()]
        changed = [self.trained.matrix, *fixed]
        copies = [own.clone() for own in changed]
        generator = torch.Generator(self.trained.matrix.device).manual_seed(0)
        try:
            with self.buffers_kept():
                for own in [*self.trained.stacked.values(), *fixed]:
                    _make_noise(own, generator)
                for name in self.buffers:
                    if self.fixed[name].is_floating_point():
                        self.fixed[name].nan_to_num_(nan=1.0).clamp_(-BOUND, BOUND)
                yield
        finally:
            for own, copy in zip(changed, copies, strict=True):
                own.copy_(copy)


def _make_noise(own: torch.Tensor, generator: torch.Generator) -> None:
    """Makes noise of a parameter, shape (M, *shape), with which a signal neither fades nor grows on its way."""
    if own.ndim > 2:
        own.normal_(std=max(own[0, 0].numel(), 1) ** -0.5, generator=generator)
    else:
        own.normal_(1.0, NOISE, generator=generator)


def require_alike(models: Sequence[nn.Module]) -> None:
    """Nothing, if the models' tensors have the same names, shapes and dtypes, and parameters are contiguous.

    Raises:
        CannotFuse: Otherwise.
    """
    first, *others = ({name: (own.shape, own.dtype) for name, own in _tensors(model).items()} for model in models)
    if any(other != first for other in others):
        raise CannotFuse("its members' models differ in shape")
    if not all(own.is_contiguous() for model in models for own in model.parameters()):
        # A stack would give them another layout, with which a loop that goes on has other kernels and last digits.
        raise CannotFuse("its models have parameters of another memory layout (channels_last)")


def stacked(models: Sequence[nn.Module], trained: Sequence[str]) -> Stack:
    """The models' tensors as a stack, of which the models' own tensors are views from now on.

    Args:
        models: Alike, see :func:`require_alike`.
        trained: Names of the parameters that have a gradient, in the order in which they are wanted.

    Raises:
        CannotFuse: If the parameters are of several dtypes.
    """
    tensors = [_tensors(model) for model in models]
    if len({tensors[0][name].dtype for name in trained}) > 1:
        raise CannotFuse("its parameters are of several dtypes")
    flat = Flat({name: [own[name] for own in tensors] for name in trained})
    others = [name for name in tensors[0] if name not in flat.stacked]
    with torch.no_grad():
        fixed = {name: torch.stack([own[name].detach() for own in tensors]) for name in others}
    buffers = frozenset(name for name, _ in models[0].named_buffers())
    stack = Stack(trained=flat, fixed=fixed, buffers=buffers)
    for row, own in enumerate(tensors):
        for name, tensor in own.items():
            tensor.data = (flat.stacked.get(name, fixed.get(name)))[row]  # type: ignore[index]
    return stack


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
