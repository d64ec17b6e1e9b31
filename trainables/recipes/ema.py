"""The exponential moving average of a model's weights over training."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def ema_share(*, horizon: float, every: int, total_steps: int, step: int, warmup_steps: int) -> float:
    """Share of the new weights in the average at an update: ``average += share * (weights - average)``.

    Args:
        horizon: Averaging horizon as a share of the whole training, positive.
        every: Steps between two updates.
        total_steps: Steps of the whole training.
        step: Index of the optimizer step that gave the new weights, from 0.
        warmup_steps: During these steps the weights are copied.

    Returns:
        ``every / (horizon * total_steps)``, at most 1; 1 during the warm-up.

    Source: the paper's public code, whose share is 1e-5 * batch_size / epochs * every: with total_steps = epochs * images
    / batch_size that is a horizon of 1 / (1e-5 * images), 0.078 for ImageNet, whatever the batch size and the length.
    """
    return 1.0 if step < warmup_steps else min(1.0, every / (horizon * total_steps))


def ema_interval(*, horizon: float, every: int, total_steps: int) -> int:
    """Steps between two updates: ``every``, or fewer where the whole horizon is shorter than that.

    Without this, a training of few steps would end with an average that had last been updated long before. Source: own.
    """
    return max(1, min(every, math.floor(horizon * total_steps)))


def average_into(averaged: Sequence[torch.Tensor], new: Sequence[torch.Tensor], share: float) -> None:
    """``averaged += share * (new - averaged)`` in place, for floating-point tensors; nothing is read from the device.

    Args:
        averaged: Tensors of any shapes; each keeps its dtype and device.
        new: As many tensors of the same shapes; a share of 1 copies them exactly.
        share: In [0, 1].
    """
    if not averaged:
        return
    with torch.no_grad():
        if share >= 1.0:
            torch._foreach_copy_(list(averaged), list(new))
        else:
            torch._foreach_lerp_(list(averaged), list(new), share)


class Ema:
    """A second copy of a model that holds the average: parameters and floating-point buffers such as batch norm's statistics.

    Other buffers, such as batch norm's count of batches, are copied. The averages are updated after every
    :func:`ema_interval` steps, and after every step of the warm-up.
    """

    def __init__(self, model: nn.Module, *, horizon: float, every: int, total_steps: int, warmup_steps: int) -> None:
        """Begins with the model's weights as they are.

        Args:
            model: The model that is trained; it is copied, with its device and dtypes.
            horizon: As in :func:`ema_share`.
            every: As in :func:`ema_share`.
            total_steps: Steps of the whole training.
            warmup_steps: Steps during which the weights are copied.

        Raises:
            ValueError: If a number is out of range.
        """
        if not horizon > 0:
            raise ValueError(f"ema_horizon: got {horizon}, expected a positive share of the training")
        for name, value in {"ema_every": every, "total_steps": total_steps}.items():
            if value < 1:
                raise ValueError(f"{name}: got {value}, expected 1 or more")
        self.model = copy.deepcopy(model).requires_grad_(False)
        """The averaged model, for evaluation."""
        self._interval = ema_interval(horizon=horizon, every=every, total_steps=total_steps)
        self._horizon, self._total_steps, self._warmup_steps = horizon, total_steps, warmup_steps

    def share(self, step: int) -> float:
        """Share of the new weights in the average after optimizer step ``step`` (from 0); 0 if no update is due."""
        if step >= self._warmup_steps and (step + 1) % self._interval:
            return 0.0
        return ema_share(
            horizon=self._horizon,
            every=self._interval,
            total_steps=self._total_steps,
            step=step,
            warmup_steps=self._warmup_steps,
        )

    def update(self, model: nn.Module, step: int) -> None:
        """Takes in the weights of ``model`` after optimizer step ``step`` (from 0), if an update is due."""
        share = self.share(step)
        if not share:
            return
        floating: list[tuple[torch.Tensor, torch.Tensor]] = []
        for averaged, new in zip(_tensors(self.model), _tensors(model), strict=True):
            if averaged.is_floating_point():
                floating.append((averaged, new))
            else:
                averaged.copy_(new)
        average_into([pair[0] for pair in floating], [pair[1] for pair in floating], share)

    def state_dict(self) -> dict[str, Any]:
        """The averaged model's state."""
        return self.model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what :meth:`state_dict` returned.

        Raises:
            RuntimeError: If the state is of another model, as torch says it.
        """
        self.model.load_state_dict(state)


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
