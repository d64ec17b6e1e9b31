"""Checks of the options that several datasets take."""

from collections.abc import Sequence

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per channel of ImageNet's training images in [0, 1], as torchvision's reference training uses them."""
MAX_IMAGE_SIZE = 4096


def require_int(dataset: str, option: str, value: object, low: int, high: int) -> int:
    """The value, an integer from ``low`` to ``high``.

    Raises:
        ValueError: Otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"dataset {dataset!r}: {option} is {value!r}, expected an integer from {low} to {high}")
    return value


def require_share(dataset: str, option: str, value: object, *, zero: bool) -> float:
    """The value, at most 1 and above 0, or 0 where ``zero`` allows it.

    Raises:
        ValueError: Otherwise.
    """
    good = not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= 1 and (zero or value)
    if not good or not isinstance(value, int | float):
        expected = "a number from 0 to 1" if zero else "a number above 0 and at most 1"
        raise ValueError(f"dataset {dataset!r}: {option} is {value!r}, expected {expected}")
    return float(value)


def require_one_of(dataset: str, option: str, value: object, choices: Sequence[object]) -> None:
    """Nothing, if the value is one of the choices.

    Raises:
        ValueError: Otherwise.
    """
    if isinstance(value, bool) or value not in choices:
        expected = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"dataset {dataset!r}: {option} is {value!r}, expected {expected}")


def require_statistics(dataset: str, option: str, value: object, channels: int) -> None:
    """Nothing, if the value is one number for each channel, positive in a ``std``.

    Raises:
        ValueError: Otherwise.
    """
    numbers = [each for each in value if type(each) in (int, float)] if isinstance(value, list | tuple) else []
    given = len(value) if isinstance(value, list | tuple) else 0
    if not len(numbers) == given == channels or (option == "std" and min(numbers) <= 0):
        kind = "positive number" if option == "std" else "number"
        raise ValueError(
            f"dataset {dataset!r}: {option} is {value!r}, expected one {kind} for each of {channels} channels"
        )


def imagenet_mean(channels: int) -> tuple[float, ...]:
    """ImageNet's mean of each channel; the average of the three where the images are grey."""
    return IMAGENET_MEAN if channels == 3 else (round(sum(IMAGENET_MEAN) / 3, 3),)


def imagenet_std(channels: int) -> tuple[float, ...]:
    """As :func:`imagenet_mean`, the standard deviation."""
    return IMAGENET_STD if channels == 3 else (round(sum(IMAGENET_STD) / 3, 3),)
