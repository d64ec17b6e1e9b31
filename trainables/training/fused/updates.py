"""Optimizer steps of stacked models: a learning rate, weight decay and further constants for each."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from trainables.training.fused.stack import CannotFuse, Flat


class StackedUpdate:
    """One optimizer over M models. Its state is that of M torch optimizers, whose own state becomes a view of it.

    Args:
        optimizers: torch's optimizer of each model.
        flat: The parameters that are trained; those that weight decay applies to come first.
        parameters: Of each model, its own parameters in the order of ``flat``.
        decayed: To how many of the columns of ``flat`` weight decay applies.

    Raises:
        CannotFuse: If the models have done different numbers of steps, or a constant has no fused form.
    """

    BUFFERS: ClassVar[tuple[str, ...]]
    """The state that has the shape of a parameter, as torch calls it."""

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        flat: Flat,
        parameters: Sequence[Sequence[torch.nn.Parameter]],
        decayed: int,
    ) -> None:
        self._flat, self._decayed = flat, decayed
        self._options = [options_of(optimizer) for optimizer in optimizers]
        self._states = [
            [optimizer.state[one] for one in own] for optimizer, own in zip(optimizers, parameters, strict=True)
        ]
        self.done = self._steps_done()
        """Steps that every model has done."""
        self._buffers = {name: self._stacked(name) for name in self.BUFFERS}

    def coefficients(self, lrs: Sequence[float]) -> torch.Tensor:
        """What changes from step to step, for the step after ``done``: float64 on the CPU, shape (K, M).

        Args:
            lrs: Learning rate of each model.
        """
        raise NotImplementedError

    def step(self, gradient: torch.Tensor, coefficients: torch.Tensor) -> None:
        """One step in place; nothing is read from the device, and ``done`` is the caller's to count.

        Args:
            gradient: Shape (M, P); may be overwritten.
            coefficients: Shape (K, M), in the parameters' dtype and on their device.
        """
        raise NotImplementedError

    def write_steps(self) -> None:
        """Write the number of steps into the state of torch's optimizers."""
        for states in self._states:
            for state in states:
                if "step" in state:
                    state["step"].fill_(self.done)

    def _column(self, values: Sequence[float]) -> torch.Tensor:
        """Shape (M, 1), to be multiplied with a matrix (M, P)."""
        matrix = self._flat.matrix
        return torch.tensor(values, dtype=torch.float64).to(matrix.device, matrix.dtype).unsqueeze(1)

    def _steps_done(self) -> int:
        found = {int(state["step"]) if "step" in state else 0 for states in self._states for state in states}
        if len(found) > 1:
            raise CannotFuse("its members have done different numbers of steps")
        return found.pop()

    def _stacked(self, name: str) -> torch.Tensor:
        """The state of all models as a matrix (M, P), zeros where there is none yet; torch's own is a view of it."""
        matrix = torch.zeros_like(self._flat.matrix)
        parts = self._flat.parts(matrix)
        for row, states in enumerate(self._states):
            for state, part in zip(states, parts.values(), strict=True):
                if state.get(name) is not None:
                    part[row].copy_(state[name])
                state[name] = part[row]
        return matrix


class StackedAdamW(StackedUpdate):
    """AdamW. Source: arXiv:1711.05101, in the form of ``torch.optim.AdamW``."""

    BUFFERS = ("exp_avg", "exp_avg_sq")

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        for states in self._states:
            for state in states:
                state.setdefault("step", torch.zeros((), device=self._flat.matrix.device))
        self._betas = [(float(one["betas"][0]), float(one["betas"][1])) for one in self._options]
        self._new_mean = self._column([1.0 - first for first, _ in self._betas])
        self._new_square = self._column([1.0 - second for _, second in self._betas])
        self._eps = self._column([float(one["eps"]) for one in self._options])
        if not self._eps.all():
            # 0 / 0 in the columns between two tensors.
            raise CannotFuse("adamw with an eps of 0 has no fused form")

    def coefficients(self, lrs: Sequence[float]) -> torch.Tensor:
        """Rows: what is left of a decayed parameter, step size, inverse root of the second bias correction."""
        columns = [
            (
                1.0 - lr * float(one["weight_decay"]),
                lr / (1.0 - first ** (self.done + 1)),
                (1.0 - second ** (self.done + 1)) ** -0.5,
            )
            for lr, one, (first, second) in zip(lrs, self._options, self._betas, strict=True)
        ]
        return torch.tensor(columns, dtype=torch.float64).T

    def step(self, gradient: torch.Tensor, coefficients: torch.Tensor) -> None:
        """See :meth:`StackedUpdate.step`."""
        left, size, correction = coefficients.unsqueeze(2)
        mean, square, matrix = self._buffers["exp_avg"], self._buffers["exp_avg_sq"], self._flat.matrix
        matrix[:, : self._decayed].mul_(left)
        mean.lerp_(gradient, self._new_mean)
        square.lerp_(gradient.square_(), self._new_square)
        # The gradient has had its use: its memory is the only one that is needed.
        denominator = torch.sqrt(square, out=gradient).mul_(correction).add_(self._eps)
        matrix.sub_(torch.div(mean, denominator, out=denominator).mul_(size))


class StackedSGD(StackedUpdate):
    """SGD with momentum, Nesterov's or not, as ``torch.optim.SGD`` has it: Sutskever et al. 2013, in that library's form."""

    BUFFERS = ("momentum_buffer",)

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._momentum = self._column([float(one["momentum"]) for one in self._options])
        self._decay = self._column([float(one["weight_decay"]) for one in self._options])
        # Of Nesterov's kind the gradient has a share of its own beside the momentum.
        nesterov = [float(one["nesterov"]) for one in self._options]
        self._own = self._column(nesterov)
        self._of_buffer = self._column([float(one["momentum"]) if one["nesterov"] else 1.0 for one in self._options])

    def coefficients(self, lrs: Sequence[float]) -> torch.Tensor:
        """One row: the learning rates."""
        return torch.tensor([list(lrs)], dtype=torch.float64)

    def step(self, gradient: torch.Tensor, coefficients: torch.Tensor) -> None:
        """See :meth:`StackedUpdate.step`."""
        matrix, buffer = self._flat.matrix, self._buffers["momentum_buffer"]
        gradient[:, : self._decayed].addcmul_(matrix[:, : self._decayed], self._decay)
        buffer.mul_(self._momentum).add_(gradient)
        matrix.sub_(gradient.mul_(self._own).addcmul_(buffer, self._of_buffer).mul_(coefficients[0].unsqueeze(1)))


UPDATES: Mapping[str, type[StackedUpdate]] = {"adamw": StackedAdamW, "sgd": StackedSGD}
"""By the optimizer's name."""


def options_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What the optimizer was made with; its weight decay is that of the group that has one."""
    groups = optimizer.param_groups
    return {**groups[0], "weight_decay": max(group["weight_decay"] for group in groups)}
