"""The moving averages of stacked models' weights."""

from collections.abc import Sequence
from itertools import compress

import torch

from trainables.recipes.ema import Ema, average_into
from trainables.training.fused.stack import CannotFuse, Stack, stacked


class StackedEma:
    """The averages of M models as a stack, of which the averages themselves become views.

    Args:
        averages: Of each model.
        stack: The models that are averaged.
    """

    def __init__(self, averages: Sequence[Ema], stack: Stack) -> None:
        self._averages, self._models = averages, stack
        self.stack = stacked([average.model for average in averages], list(stack.trained.stacked))
        """The averaged models."""

    @staticmethod
    def of(averages: Sequence[Ema | None], stack: Stack) -> "StackedEma | None":
        """The stacked averages; None if there is none.

        Raises:
            CannotFuse: If only some members have one.
        """
        found = [average for average in averages if average is not None]
        if found and len(found) < len(averages):
            raise CannotFuse("only some of its members average their weights")
        return StackedEma(found, stack) if found else None

    def update(self, step: int) -> None:
        """Takes in the weights after optimizer step ``step`` (from 0), of the members whose turn it is."""
        shares = [average.share(step) for average in self._averages]
        if not any(shares):
            return
        of_average = [self.stack.trained.matrix, *self.stack.fixed.values()]
        of_models = [self._models.trained.matrix, *(self._models.fixed[name] for name in self.stack.fixed)]
        with torch.no_grad():
            for row, share in enumerate(shares):
                # Of a member whose turn it is not nothing may come in, not even a NaN; and no temporary is made: a
                # step that has begun to change weights could not be done again where memory runs out.
                if share:
                    _average_into([own[row] for own in of_average], [own[row] for own in of_models], share)


def _average_into(averages: Sequence[torch.Tensor], new: Sequence[torch.Tensor], share: float) -> None:
    """As :meth:`Ema.update`: integers are copied."""
    floating = [own.is_floating_point() for own in averages]
    average_into(list(compress(averages, floating)), list(compress(new, floating)), share)
    for own, other, averaged in zip(averages, new, floating, strict=True):
        if not averaged:
            own.copy_(other)
