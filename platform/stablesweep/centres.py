"""The centre of an arm: the setting that later phases draw around or train at."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from search_spaces import HyperparameterValue, LogIntUniform, LogUniform, SearchSpace
from stablesweep.arms import Arm
from stablesweep.study import Study

Setting = Mapping[str, HyperparameterValue]


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
    given = [study.given_centre(one, phase) for one in arms]
    found = [centre for centre in given if centre is not None]
    return common_centre(study, arms, found) if len(found) == len(arms) else None


def common_centre(study: Study, arms: Sequence[Arm], centres: Sequence[Setting]) -> Setting:
    """One centre for several arms of a family.

    Of a dimension on a log scale it has the geometric mean, of another number the arithmetic mean, of all else the value that most of them
    have. ``lr`` and ``weight_decay`` count as log-scaled where the study has no space.

    Source: own.
    """
    if len(centres) == 1:
        return centres[0]
    dimensions = study.dimensions_of(arms[0])
    names = list(dict.fromkeys(name for centre in centres for name in centre))
    common: dict[str, HyperparameterValue] = {}
    space = SearchSpace(dimensions) if dimensions else None
    for name in names if space is None else [*space.order, *(name for name in names if name not in space)]:
        values = [centre[name] for centre in centres if name in centre]
        if values and (space is None or name not in space or space.is_active(name, common)):
            common[name] = _middle(values, _is_logarithmic(name, space))
    return {name: common[name] for name in names if name in common}


def _is_logarithmic(name: str, space: SearchSpace | None) -> bool:
    if space is not None and name in space:
        return isinstance(space.distribution(name), LogUniform | LogIntUniform)
    return name in ("lr", "weight_decay")


def _middle(values: Sequence[HyperparameterValue], logarithmic: bool) -> HyperparameterValue:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return Counter(values).most_common(1)[0][0]
    whole = all(isinstance(value, int) for value in numbers)
    if logarithmic and min(numbers) > 0:
        mean = math.exp(math.fsum(map(math.log, numbers)) / len(numbers))
    else:
        mean = math.fsum(numbers) / len(numbers)
    return round(mean) if whole else mean
