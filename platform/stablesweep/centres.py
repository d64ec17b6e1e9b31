"""The centre of an arm: the setting that later phases draw around or train at."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from search_spaces import (
    Choice,
    Conditional,
    Distribution,
    HyperparameterValue,
    LogIntUniform,
    LogUniform,
    SearchSpace,
    num_values,
)
from stablesweep.arms import Arm
from stablesweep.study import Study

Setting = Mapping[str, HyperparameterValue]
PAPER_DIMENSIONS = ("lr", "weight_decay")
"""Log-scaled where a study has no space; see also :meth:`search_spaces.SearchSpace.around`."""


def family_arms(study: Study, arm: Arm) -> list[Arm]:
    """The arms of the same family with the same optimizer, this one among them."""
    family = study.family_of(arm)
    return [one for one in study.arms if one.optimizer == arm.optimizer and study.family_of(one) == family]


def known_centre(study: Study, arm: Arm, phase: str, around: str) -> Setting | None:
    """The centre as far as it is known before anything runs: given by the study, or the paper's.

    Args:
        study: The study.
        arm: The arm.
        phase: The phase that asks.
        around: ``arm``, or ``family`` for the centre that its family has in common.
    """
    arms = family_arms(study, arm) if around == "family" else [arm]
    given = {one.name: study.given_centre(one, phase) for one in arms}
    found = {name: centre for name, centre in given.items() if centre is not None}
    return common_centre(study, arm, found) if len(found) == len(given) else None


def common_centre(study: Study, arm: Arm, centres: Mapping[str, Setting]) -> Setting:
    """The centre of one arm from those of its family.

    It has the arm's own hyperparameters. Of a dimension on a log scale it is the geometric mean, of another number the arithmetic
    mean, and where only certain values can be had, that of them which is nearest to the mean; of all else it is the value that most
    of the arms have. ``lr`` and ``weight_decay`` count as log-scaled where the study has no space.

    Args:
        study: The study.
        arm: The arm.
        centres: By the name of each arm of the family, this one included.

    Source: own.
    """
    if len(centres) == 1:
        return centres[arm.name]
    dimensions = study.dimensions_of(arm)
    space = SearchSpace(dimensions) if dimensions else None
    own = list(centres[arm.name]) if space is None else list(space.order)
    own += [name for name in centres[arm.name] if name not in own]
    common: dict[str, HyperparameterValue] = {}
    for name in own:
        values = [centre[name] for centre in centres.values() if name in centre]
        if values and (space is None or name not in space or space.is_active(name, common)):
            common[name] = _middle(
                values, None if space is None or name not in space else space.distribution(name), name
            )
    return within_own_intervals(study, arm, common)


def within_own_intervals(study: Study, arm: Arm, centre: Setting) -> Setting:
    """The centre, moved into the arm's own log-uniform intervals: outside of them a value may mean nothing to it.

    ``lr`` and ``weight_decay`` stay as they are: around a centre they may leave the interval that the study gives them.
    """
    moved = dict(centre)
    for name, distribution in study.dimensions_of(arm).items():
        inner = distribution.distribution if isinstance(distribution, Conditional) else distribution
        value = centre.get(name)
        if isinstance(inner, LogUniform) and isinstance(value, int | float) and name not in PAPER_DIMENSIONS:
            moved[name] = min(max(value, inner.low), inner.high)
    return moved


def _middle(values: Sequence[HyperparameterValue], distribution: Distribution | None, name: str) -> HyperparameterValue:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values) or isinstance(distribution, Choice):
        return Counter(values).most_common(1)[0][0]
    logarithmic = isinstance(distribution, LogUniform | LogIntUniform)
    if distribution is None:
        logarithmic = name in PAPER_DIMENSIONS
    mean = _mean(numbers, logarithmic and min(numbers) > 0)
    if distribution is not None and num_values(distribution) is not None:
        return min(sorted(numbers), key=lambda number: abs(number - mean))
    return round(mean) if all(isinstance(number, int) for number in numbers) else mean


def _mean(numbers: Sequence[float], logarithmic: bool) -> float:
    if logarithmic:
        return math.exp(math.fsum(map(math.log, numbers)) / len(numbers))
    return math.fsum(numbers) / len(numbers)
