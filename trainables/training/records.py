"""The records that go into and come out of a pack. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Hyperparameter = float | int | str | bool
Status = Literal["running", "completed", "diverged", "failed", "pruned"]
PackMode = Literal["auto", "loop", "fused"]
"""How a pack is asked to train its members, see :func:`trainables.create_pack`."""
PackWay = Literal["loop", "fused"]
"""How a pack trains its members: one after the other on each batch, or all at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One trial, as a pack is asked to train it."""

    key: str
    """Unique in the pack; names the member in records and checkpoints and has no influence on its numbers."""
    seed: int
    """Seeds the member's own torch generator (initial weights, dropout); 0 or more."""
    hyperparameters: Mapping[str, Hyperparameter]
    """E.g. ``{"lr": 1e-3, "weight_decay": 0.1}``: of the optimizer, the recipe or the model, as
    :func:`trainables.hyperparameters.split_hyperparameters` says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberEpoch:
    """What one epoch did to one member."""

    key: str
    epoch: int
    """Counted from 1."""
    train_loss: float
    """Mean over the epoch's batches, with label smoothing, nats."""
    error: float
    """Top-1 on the evaluation images after the epoch, percent."""
    eval_loss: float
    """Mean cross-entropy on the evaluation images, without label smoothing, nats."""
    lr: float
    """Learning rate of the epoch's last step."""
    seconds: float
    """The member's share of the pack's training and evaluation time in this epoch."""
    more: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Further metrics by name; a plain dict, for checkpoints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberResult:
    """Where a member stands, or how it ended."""

    key: str
    status: Status
    error: float | None
    """Percent top-1 after the final epoch; None unless completed."""
    best_error: float | None
    """Lowest ``error`` of any finished epoch, percent; None if no epoch finished."""
    epochs_done: int
    """Epochs in ``history``: the epoch in which a member diverges or fails is not counted."""
    reason: str | None
    """Why it diverged, failed or was pruned, one line; None otherwise."""
    seconds: float
    """All the member's time, over every run that continued it, the epoch that it did not finish included."""
    history: tuple[MemberEpoch, ...]
