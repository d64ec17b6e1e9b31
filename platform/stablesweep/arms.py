"""The arms of a study, and values that it gives for all of them, for an optimizer's, or for one."""

from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.values import shown
from stablesweep.strict import Strict

Value = float | int | str | bool


class Arm(Strict):
    """A pairing of a model and an optimizer; written ``model/optimizer``."""

    model: str
    optimizer: str

    @property
    def name(self) -> str:
        """``model/optimizer``."""
        return f"{self.model}/{self.optimizer}"


def setting_of(settings: Mapping[str, Any], arm: Arm, *, keep_whole: bool = False) -> dict[str, Value]:
    """The hyperparameters of one arm: shared ones, then its optimizer's, then its own; the later wins.

    Args:
        settings: As a study gives them.
        arm: The arm.
        keep_whole: Whether a whole number stays one; else it becomes a float, as optimizers and recipes take any number.
    """
    values = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    for place in (arm.optimizer, arm.name):
        own = settings.get(place)
        values |= own if isinstance(own, dict) else {}
    if keep_whole:
        return values
    return {name: float(value) if type(value) is int else value for name, value in values.items()}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Nothing, if settings hold values and mappings of values.

    Raises:
        ValueError: Otherwise; names the hyperparameter.
    """
    for place, node in settings.items():
        for name, value in node.items() if isinstance(node, dict) else [(place, node)]:
            if not isinstance(name, str) or not isinstance(place, str):
                # Pydantic takes a ValueError for what a user wrote.
                raise ValueError(f"{shown(name)} is not the name of a hyperparameter; write a text")  # noqa: TRY004
            if not _is_hyperparameter(name, value):
                raise ValueError(f"{name}: {shown(value)} is not a value for it; write a finite number or a text")


def _is_hyperparameter(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return name not in ("lr", "weight_decay")
    if isinstance(value, int | float):
        return abs(value) <= 2**53  # also false for NaN
    return isinstance(value, str)


def check_places(key: str, nodes: Mapping[str, object], inner: type, arms: Iterable[Arm], hint: str = "") -> None:
    """Nothing, if every node of type ``inner`` stands under the name of an arm or of an arm's optimizer.

    Raises:
        ValueError: Otherwise; names the node under ``key``, and ends with the hint.
    """
    arms = list(arms)
    places = {arm.optimizer for arm in arms} | {arm.name for arm in arms}
    for name, node in nodes.items():
        if isinstance(node, inner) and name not in places:
            names = ", ".join(arm.name for arm in arms)
            raise ValueError(f"{key}.{name}: no arm has this optimizer or name; the arms are {names}{hint}")
