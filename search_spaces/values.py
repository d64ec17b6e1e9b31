"""Values of hyperparameters, and the one error of this package."""

import math
from typing import TypeAlias, TypeGuard

HyperparameterValue: TypeAlias = float | int | str | bool

LARGEST_WHOLE = 2**53
"""Beyond it a whole number is no float any more, and beyond 2**63 no column of a table."""


class SpaceError(ValueError):
    """A distribution or a space that cannot be sampled; the message says what to change."""


def is_number(value: object) -> TypeGuard[float | int]:
    """Whether a value is a finite number that every part of a study can hold; truth values are none."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= LARGEST_WHOLE
    return isinstance(value, float) and math.isfinite(value)


def is_plain(value: object) -> TypeGuard[HyperparameterValue]:
    """Whether a value can be that of a hyperparameter: a number, a text or a truth value."""
    return isinstance(value, bool | str) or is_number(value)


def same(first: object, second: object) -> bool:
    """Equality without Python's ``True == 1``."""
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def shown(value: object, length: int = 60) -> str:
    """A value as it stands in an error message, cut at ``length`` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # Python refuses to print whole numbers of more than 4,300 digits.
        return "a larger whole number" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= length else text[: length - 3] + "..."
