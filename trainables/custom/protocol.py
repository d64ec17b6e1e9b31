"""What a trainable is called with and what it promises. Imports no torch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainables.training.records import Member

Metrics = Mapping[str, float]
"""One member's numbers after one epoch, by name.

``error`` is what is minimised (for a classifier: percent) and must be there. ``train_loss`` and ``lr`` have columns of their
own; ``eval_loss`` and any other name is a further metric. A number that is not finite as ``error`` or ``train_loss`` means
that the member has diverged.
"""


@dataclass(kw_only=True, slots=True)
class Link:
    """What a trainable tells the pack that runs it, and the other way round."""

    stopped: frozenset[str] = frozenset()
    """Keys of the members whose metrics are no longer wanted."""
    state_of: Callable[[], Any] | None = None
    """What makes the state that is kept at a checkpoint."""
    on_keep_state: Callable[[], None] | None = None
    """Called when :attr:`state_of` is first set."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent on each member since the pack last looked, where the trainable knows it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingContext:
    """What a trainable is asked for, and its way to say more than metrics."""

    model: str
    """The arm's model, as the study names it."""
    optimizer: str
    """The arm's optimizer, as the study names it."""
    epochs: int
    """Length of the training: the last epoch to yield."""
    study_seed: int
    """For what all trials have in common, such as the order of the data."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The study's options for this trainable: plain values, a copy."""
    device: str = "cpu"
    """Where to train, as torch names it."""
    first_epoch: int = 1
    """The epoch to yield first: 1, or where a continued pack goes on."""
    state: Any = None
    """What the function given to :meth:`keep_state` returned after epoch ``first_epoch - 1``; None from epoch 1 on."""
    link: Link = field(default_factory=Link, repr=False)
    """For the pack; a trainable uses the methods."""

    def stopped(self) -> frozenset[str]:
        """Keys of the members that need no more training: failed, diverged or pruned. Never one that is still wanted.

        What is yielded for them is ignored, so this only saves time.
        """
        return self.link.stopped

    def keep_state(self, state_of: Callable[[], Any]) -> None:
        """Lets a continued pack go on where it was instead of starting over; call it right before the first epoch.

        Args:
            state_of: Called between two epochs whenever a checkpoint is due. It returns a mapping from the key of every
                member that is still training to that member's state (inside :func:`one_at_a_time`: the member's state
                alone), in tensors, numbers, texts, bytes, truth values, None, lists, tuples and dicts. By member,
                because a pack may be continued with fewer members than it had.
        """
        self.link.state_of = state_of
        then, self.link.on_keep_state = self.link.on_keep_state, None
        if then is not None:
            then()


Trainable = Callable[[Sequence[Member], TrainingContext], Iterator[Mapping[str, Metrics | Exception]]]
"""A generator function that trains all members of a pack, the trials of one arm.

From ``context.first_epoch`` to ``context.epochs`` it yields after each epoch a mapping from the key of every member that is
not in ``context.stopped()`` to its metrics, or to an exception if the member has failed. Between two epochs it is
suspended, and it may be closed there, so clean up in ``finally``.

What it yields for a member may depend on the member's seed and hyperparameters and on the context, not on the other members:
then a trial's result does not depend on its pack. If it raises or ends early, every member is trained again in a generator
of its own, to find the one that is to blame.
"""
