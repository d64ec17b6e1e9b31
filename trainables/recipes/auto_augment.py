"""AutoAugment and RandAugment on a batch: every image gets its own changes, images with the same change share a call."""

import math
from collections.abc import Callable
from typing import Any

import torch

from trainables.data.transfer import to_device
from trainables.recipes.policies import Change, Changes

FILL = 128.0
"""Grey level outside a moved image, as in the paper's public code."""


def apply_changes(images: torch.Tensor, rounds: Changes) -> torch.Tensor:
    """The images with each round's change applied to each image.

    Args:
        images: uint8, shape (b, C, H, W) with C 1 or 3, on any device; may be overwritten.
        rounds: For each round, b changes or None.

    Returns:
        uint8, of the same shape. To the pixel what torchvision's ``AutoAugment`` and ``RandAugment`` with bilinear
        interpolation and a grey fill give each image alone. On a GPU, moves, rotations and sharpening wait for it:
        torchvision makes small tensors for them in ordinary memory and copies these.
    """
    for changes in rounds:
        images = _apply_round(images, changes)
    return images


def apply_change(images: torch.Tensor, change: Change) -> torch.Tensor:
    """The images, uint8 (b, C, H, W) with C 1 or 3, after one operation at one strength, the same for all."""
    functional, magnitude = _torchvision().functional, change.magnitude
    changed: torch.Tensor
    match change.operation:
        case "ShearX" | "ShearY" | "TranslateX" | "TranslateY" | "Rotate":
            changed = _moved(images, change)
        case "Brightness":
            changed = functional.adjust_brightness(images, 1.0 + magnitude)
        case "Color":
            changed = functional.adjust_saturation(images, 1.0 + magnitude)
        case "Contrast":
            changed = functional.adjust_contrast(images, 1.0 + magnitude)
        case "Sharpness":
            changed = functional.adjust_sharpness(images, 1.0 + magnitude)
        case "Posterize":
            changed = functional.posterize(images, int(magnitude))
        case "Solarize":
            changed = functional.solarize(images, 255 * magnitude)
        case "AutoContrast":
            changed = functional.autocontrast(images)
        case "Equalize":
            changed = functional.equalize(images)
        case "Invert":
            changed = functional.invert(images)
        case _:
            raise ValueError(f"operation {change.operation!r} is not one of AutoAugment's")
    return changed


def _apply_round(images: torch.Tensor, changes: list[Change | None]) -> torch.Tensor:
    groups: dict[Change, list[int]] = {}
    for at, change in enumerate(changes):
        if change is not None:
            groups.setdefault(change, []).append(at)
    if not groups:
        return images
    # One transfer for all groups, not one each.
    order = to_device(torch.tensor([at for members in groups.values() for at in members]), images.device)
    parts = torch.split(order, [len(members) for members in groups.values()])
    changed = [apply_change(images[part], change) for change, part in zip(groups, parts, strict=True)]
    return images.index_copy_(0, order, torch.cat(changed))


def _moved(images: torch.Tensor, change: Change) -> torch.Tensor:
    v2, magnitude = _torchvision(), change.magnitude
    move: Callable[..., torch.Tensor] = v2.functional.affine
    arguments: dict[str, Any] = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    axis = 0 if change.operation.endswith("X") else 1
    if change.operation == "Rotate":
        move, arguments = v2.functional.rotate, {"angle": magnitude}
    elif change.operation.startswith("Shear"):
        # The strength is a slope, affine() wants an angle, and the policy shears about the corner.
        arguments["shear"][axis] = math.degrees(math.atan(magnitude))
        arguments["center"] = [0, 0]
    else:
        arguments["translate"][axis] = int(magnitude)
    return move(images, interpolation=v2.InterpolationMode.BILINEAR, fill=[FILL], **arguments)


def _torchvision() -> Any:
    # Late: it costs seconds, and a study without a policy does not need it.
    from torchvision.transforms import v2

    return v2
