"""AutoAugment's and RandAugment's choices: which operation at which strength. Draws only, no pixels."""

from dataclasses import dataclass

import numpy as np
import torch

AUTOAUGMENT_BINS = 10
RANDAUGMENT_BINS = 31

RANDAUGMENT_OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
"""RandAugment's operations, arXiv:1909.13719, section 3: AutoAugment's without Invert, with Identity."""

SIGNED = frozenset(
    {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"}
)
"""Operations whose strength gets a fair sign."""

_Step = tuple[str, float, int | None]

IMAGENET_POLICY: tuple[tuple[_Step, _Step], ...] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, None), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, None)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, None)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, None), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, None)),
    (("Equalize", 0.0, None), ("Equalize", 0.8, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, None)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, None)),
    (("Color", 0.4, 0), ("Equalize", 0.6, None)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
)
"""AutoAugment's policy for ImageNet, arXiv:1805.09501, appendix: pairs of (operation, probability, bin of strength)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One operation at one signed strength, in the operation's own unit; 0 where it has none."""

    operation: str
    magnitude: float


Changes = list[list[Change | None]]
"""First index: the round, applied in turn; second: the image. None: unchanged."""


def draw_autoaugment(generator: np.random.Generator, num_images: int, side: int, part: slice) -> Changes:
    """Two rounds: a sub-policy per image, each of its two steps with the step's probability, with a fair sign.

    Args:
        generator: Source of the draws, which are made for all ``num_images`` images.
        num_images: Images of the global batch.
        side: Of the images, pixels.
        part: The images whose changes are returned.
    """
    draws = generator.random((num_images, 5))[part]
    table = _magnitudes(AUTOAUGMENT_BINS, side)
    rounds: Changes = [[], []]
    for choice, *pairs in draws.tolist():
        policy = IMAGENET_POLICY[int(choice * len(IMAGENET_POLICY))]
        for at, (operation, probability, bin_index) in enumerate(policy):
            taken, negative = pairs[2 * at] < probability, pairs[2 * at + 1] < 0.5
            rounds[at].append(_change(table, operation, bin_index, negative) if taken else None)
    return rounds


def draw_randaugment(
    generator: np.random.Generator,
    num_images: int,
    side: int,
    part: slice,
    *,
    operations: int,
    magnitude: int,
    probability: float = 1.0,
) -> Changes:
    """``operations`` rounds: in each an operation per image, all equally likely, with a fair sign.

    Args:
        generator: Source of the draws, which are made for all ``num_images`` images.
        num_images: Images of the global batch.
        side: Of the images, pixels.
        part: The images whose changes are returned.
        operations: Rounds.
        magnitude: Bin of strength, 0 to 30.
        probability: With which an operation that was drawn is applied.
    """
    draws = generator.random((num_images, operations, 3))[part]
    table = _magnitudes(RANDAUGMENT_BINS, side)
    rounds: Changes = [[] for _ in range(operations)]
    for image in draws.tolist():
        for at, (choice, sign, coin) in enumerate(image):
            operation = RANDAUGMENT_OPERATIONS[int(choice * len(RANDAUGMENT_OPERATIONS))]
            rounds[at].append(_change(table, operation, magnitude, sign < 0.5) if coin < probability else None)
    return rounds


def _change(table: dict[str, list[float]], operation: str, bin_index: int | None, negative: bool) -> Change | None:
    if operation == "Identity":
        return None
    if operation not in table or bin_index is None:
        return Change(operation, 0.0)
    magnitude = table[operation][bin_index]
    return Change(operation, -magnitude if negative and operation in SIGNED else magnitude)


def _magnitudes(bins: int, side: int) -> dict[str, list[float]]:
    """The strength of each bin, by operation: of shears a slope, translations pixels, rotation degrees, posterize bits."""
    # In float32, as torchvision computes them: in float64 a threshold may fall on the other side of a grey level.
    highest = {"enhance": 0.9, "shear": 0.3, "translate": 150.0 / 331.0 * side, "rotate": 30.0}
    rising = {kind: torch.linspace(0.0, end, bins).tolist() for kind, end in highest.items()}
    return {
        "ShearX": rising["shear"],
        "ShearY": rising["shear"],
        "TranslateX": rising["translate"],
        "TranslateY": rising["translate"],
        "Rotate": rising["rotate"],
        "Brightness": rising["enhance"],
        "Color": rising["enhance"],
        "Contrast": rising["enhance"],
        "Sharpness": rising["enhance"],
        "Posterize": (8 - torch.arange(bins) / ((bins - 1) / 4)).round().tolist(),
        "Solarize": torch.linspace(1.0, 0.0, bins).tolist(),
    }
