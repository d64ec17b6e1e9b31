from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from trainables.recipes.auto_augment import apply_change, apply_changes
from trainables.recipes.policies import SIGNED, Change, draw_autoaugment, draw_randaugment


def their_transform(name: str) -> Any:
    v2: Any = import_module("torchvision.transforms.v2")
    return getattr(v2, name)(interpolation=v2.InterpolationMode.BILINEAR, fill=128)


def applied(policy: Any, image: torch.Tensor, change: Change) -> torch.Tensor:
    operation, magnitude = change.operation, change.magnitude
    result: torch.Tensor = policy._apply_image_or_video_transform(
        image, operation, magnitude, interpolation=policy.interpolation, fill=policy._fill
    )
    return result


def pictures(number: int, channels: int, side: int) -> torch.Tensor:
    """Smooth pictures with some noise: histograms and edges that every operation changes."""
    generator = torch.Generator().manual_seed(side)
    coarse = torch.rand(number, channels, 4, 4, generator=generator) * 220
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    noise = torch.rand(number, channels, side, side, generator=generator) * 30
    return (smooth + noise).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("policy_name", "bins"), [("AutoAugment", 10), ("RandAugment", 31)])
def test_every_operation_and_strength_is_torchvisions_to_the_pixel(policy_name: str, bins: int, channels: int) -> None:
    policy, side = their_transform(policy_name), 24
    images = pictures(3, channels, side)
    for operation, (magnitudes, signed) in policy._AUGMENTATION_SPACE.items():
        if operation == "Identity":
            continue
        values = magnitudes(bins, side, side)
        strengths = {0.0} if values is None else {float(value) for value in values}
        for magnitude in strengths | ({-value for value in strengths} if signed else set()):
            change = Change(operation, magnitude)
            found = apply_change(images, change)
            for image, result in zip(images, found, strict=True):
                assert torch.equal(result, applied(policy, image, change)), change


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["AutoAugment", "RandAugment"])
def test_a_batch_in_groups_is_each_image_alone(kind: str, channels: int) -> None:
    policy, number, side = their_transform(kind), 96, 31
    images = pictures(number, channels, side)
    generator, part = np.random.default_rng(7), slice(0, number)
    rounds = (
        draw_autoaugment(generator, number, side, part)
        if kind == "AutoAugment"
        else draw_randaugment(generator, number, side, part, operations=2, magnitude=9)
    )
    found = apply_changes(images.clone(), rounds)
    for at, image in enumerate(images):
        alone = image
        for changes in rounds:
            if (change := changes[at]) is not None:
                alone = applied(policy, alone, change)
        assert torch.equal(found[at], alone)
    assert not torch.equal(found, images)


def test_at_image_size_224_too() -> None:
    policy, images = their_transform("AutoAugment"), pictures(4, 3, 224)
    for operation in ("Contrast", "Sharpness", "Color", "Equalize", "AutoContrast", "Rotate", "ShearX"):
        values = policy._AUGMENTATION_SPACE[operation][0](10, 224, 224)
        change = Change(operation, 0.0 if values is None else float(values[7]))
        for image, result in zip(images, apply_change(images, change), strict=True):
            assert torch.equal(result, applied(policy, image, change)), operation


def test_colour_saturation_leaves_grey_images_alone() -> None:
    images = pictures(2, 1, 16)
    assert torch.equal(apply_change(images, Change("Color", 0.9)), images)


def test_posterize_keeps_at_least_one_bit() -> None:
    space = their_transform("RandAugment")._AUGMENTATION_SPACE["Posterize"][0]
    assert int(space(31, 8, 8).min()) == int(space(10, 8, 8).min()) == 4
    images = pictures(2, 3, 16)
    assert torch.equal(apply_change(images, Change("Posterize", 4.0)), images // 16 * 16)


def test_signed_operations_differ_in_direction() -> None:
    images = pictures(2, 3, 24)
    for operation in SIGNED:
        magnitude = 8.0 if operation.startswith(("Translate", "Rotate")) else 0.3
        there, back = (apply_change(images, Change(operation, sign * magnitude)) for sign in (1, -1))
        assert not torch.equal(there, back), operation


def test_what_a_move_uncovers_is_grey() -> None:
    moved = apply_change(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), Change("TranslateX", 5.0))
    assert torch.equal(moved[..., :5], torch.full_like(moved[..., :5], 128))
    assert int(moved[..., 5:].max()) == 0


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="operation 'Cutout' is not one of AutoAugment's"):
        apply_change(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), Change("Cutout", 1.0))
