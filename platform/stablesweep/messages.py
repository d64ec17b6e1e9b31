"""What a worker tells the recorder about the trials of its pack."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialStarted:
    """A trial's first epoch begins (sent again when its pack is continued)."""

    key: str
    pack: str
    started: float
    """Seconds since 1970, UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochDone:
    """A trial finished an epoch."""

    key: str
    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch's images, nats."""
    error: float
    """Top-1 on the validation split, percent."""
    lr: float
    """The learning rate of the epoch's last step."""
    seconds: float
    """This trial's own training and evaluation time."""
    more: Mapping[str, float] = field(default_factory=dict)
    """Further metrics by name, of a trainable of the user's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialEnded:
    """A trial's result; there is one for good."""

    key: str
    status: str
    """``completed``, ``diverged``, ``pruned`` (an adaptive search ended it early), ``failed`` or ``lost``."""
    error: float | None = None
    """Percent at the last epoch; None unless completed."""
    best_error: float | None = None
    epochs_done: int = 0
    seconds: float | None = None
    """All of its training and evaluation time, an unfinished last epoch included."""
    reason: str | None = None
    trained_in: str | None = None
    """How its pack trained its members in the end, ``loop`` or ``fused``; None for a trainable of the user's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackTimed:
    """Where a worker's time went since it began the pack or was last asked, seconds."""

    pack: str
    training: float = 0.0
    evaluation: float = 0.0
    checkpoints: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSkipped:
    """A sample of the dataset that could not be read was left out (``on_bad_sample: skip``)."""

    problem: str
    """One sentence: its file, its row, what is wrong. The same sample gives the same sentence in every pack."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """Something that changes no result and that the user wants to know now."""

    text: str
    """One sentence."""


Message: TypeAlias = TrialStarted | EpochDone | TrialEnded | PackTimed | SampleSkipped | Remark

FINAL = frozenset({"completed", "diverged", "pruned", "failed", "lost"})
"""Statuses that a trial keeps; ``lost`` alone can be taken up again, on request."""
