import random
from typing import Any

import numpy as np
import pytest
import torch

from trainables import Recipe, batch_order
from trainables.recipes.augmentation import Augmentation
from trainables.recipes.draws import STAGES, stage_generator
from trainables.recipes.mixing import TrainBatch

SIDE, NUMBER = 32, 48
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
EVERYTHING: dict[str, Any] = {"base": "deit", "auto_augment": "autoaugment", "pca_jitter": 0.1}
KEY: dict[str, Any] = {"study_seed": 3, "epoch": 2, "step": 7}


def augmentation(recipe: dict[str, Any], channels: int = 3, crop_here: bool = True) -> Augmentation:
    return Augmentation(
        Recipe.model_validate(recipe),
        num_classes=10,
        image_size=SIDE,
        mean=MEAN[:channels],
        std=STD[:channels],
        crop_here=crop_here,
    )


def pictures(channels: int = 3, number: int = NUMBER) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (number, channels, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 10, (number,), generator=generator)


def joined(batches: list[TrainBatch]) -> dict[str, torch.Tensor]:
    names = [
        name for name in ("images", "labels", "partner_labels", "own_share") if getattr(batches[0], name) is not None
    ]
    return {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_is_normalisation_and_nothing_else(channels: int) -> None:
    images, labels = pictures(channels)
    batch = augmentation({}, channels).augment(images, labels, **KEY)
    mean, std = (torch.tensor(values[:channels]).view(1, -1, 1, 1) for values in (MEAN, STD))
    assert torch.equal(batch.images, images.to(torch.float32).div_(255).sub_(mean).div_(std))
    assert batch.labels is labels
    assert batch.partner_labels is None
    assert batch.own_share is None


@pytest.mark.parametrize("recipe", [{}, {"base": "paper"}, {"base": "deit"}, EVERYTHING], ids=str)
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_see_together_what_one_alone_would(recipe: dict[str, Any], world: int) -> None:
    images, labels = pictures()
    labels[5] = -1
    augment, each = augmentation(recipe).augment, NUMBER // world
    parts = [
        augment(images[at : at + each], labels[at : at + each], **KEY, rank=rank, world=world)
        for rank, at in enumerate(range(0, NUMBER, each))
    ]
    alone = joined([augment(images, labels, **KEY)])
    together = joined(parts)
    assert together.keys() == alone.keys()
    for name, values in alone.items():
        assert torch.equal(together[name], values), name


@pytest.mark.parametrize("recipe", [{"base": "paper"}, {"base": "deit"}], ids=str)
def test_the_same_key_gives_the_same_batch_and_another_key_another(recipe: dict[str, Any]) -> None:
    images, labels = pictures()
    first = augmentation(recipe).augment(images, labels, **KEY)
    assert torch.equal(first.images, augmentation(recipe).augment(images, labels, **KEY).images)
    for name, value in KEY.items():
        other = augmentation(recipe).augment(images, labels, **{**KEY, name: value + 1})
        assert not torch.equal(first.images, other.images), name


def global_states() -> str:
    return repr((torch.get_rng_state().tolist(), np.random.get_state(), random.getstate()))


SWITCHES: dict[str, dict[str, Any]] = {
    "crop": {"crop": "random_resized"},
    "flip": {"flip": 0.5},
    "policy": {"auto_augment": "randaugment"},
    "jitter": {"pca_jitter": 0.1},
    "erasing": {"random_erasing": 0.5},
    "mixup": {"mixup": 0.8},
    "cutmix": {"cutmix": 1.0},
}


@pytest.mark.parametrize("recipe", [EVERYTHING, *SWITCHES.values()], ids=str)
def test_no_global_generator_is_used_and_the_images_are_left_alone(recipe: dict[str, Any]) -> None:
    images, labels = pictures()
    before, copies = global_states(), (images.clone(), labels.clone())
    augmentation(recipe).augment(images, labels, **KEY)
    assert global_states() == before
    assert torch.equal(images, copies[0])
    assert torch.equal(labels, copies[1])


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_changes_the_images(name: str) -> None:
    images, labels = pictures()
    plain = augmentation({}).augment(images, labels, **KEY).images
    assert not torch.equal(augmentation(SWITCHES[name]).augment(images, labels, **KEY).images, plain)


def test_images_cropped_when_read_are_not_cropped_again() -> None:
    images, labels = pictures()
    cropped = augmentation(SWITCHES["crop"], crop_here=False).augment(images, labels, **KEY).images
    assert torch.equal(cropped, augmentation({}).augment(images, labels, **KEY).images)


def test_a_stage_draws_the_same_whatever_the_others_do() -> None:
    images, labels = pictures()
    mixed = augmentation({"mixup": 0.8, "flip": 0.5}).augment(images, labels, **KEY)
    only_mixed = augmentation({"mixup": 0.8}).augment(images, labels, **KEY)
    assert mixed.own_share is not None
    assert only_mixed.own_share is not None
    assert torch.equal(mixed.own_share, only_mixed.own_share)
    flips = augmentation({"flip": 0.5}).augment(images, labels, **KEY).images
    both = augmentation({"flip": 0.5, "random_erasing": 0.5}).augment(images, labels, **KEY).images
    untouched = (flips == both).flatten(1).all(dim=1)
    assert 0 < int(untouched.sum()) < NUMBER


@pytest.mark.parametrize("recipe", [{"base": "paper"}, {"base": "deit"}, EVERYTHING], ids=str)
@pytest.mark.parametrize("number", [1, 7, 8])
def test_grey_images_and_any_number_of_them(recipe: dict[str, Any], number: int) -> None:
    images, labels = pictures(1, number)
    batch = augmentation(recipe, 1).augment(images, labels, **KEY)
    assert batch.images.shape == images.shape
    assert batch.images.dtype == torch.float32
    assert bool(torch.isfinite(batch.images).all())


def test_colour_noise_is_added_to_the_scaled_image() -> None:
    images, labels = pictures()
    plain = augmentation({}).augment(images, labels, **KEY).images
    shifted = augmentation({"pca_jitter": 0.1}).augment(images, labels, **KEY).images
    shifts = (shifted - plain) * torch.tensor(STD).view(1, -1, 1, 1)
    assert float(shifts.std(dim=(2, 3)).max()) < 1e-6
    # Along the first component all colours move together, by 0.1 * 0.2175 / sqrt(3) at one standard deviation.
    assert 0.3 < float(shifts[:, :, 0, 0].std(dim=0).mean()) / (0.1 * 0.2175 / 3**0.5) < 2


def test_generators_are_told_apart_by_stage_and_from_the_order_of_the_images() -> None:
    starts = {
        stage_generator(stage, study_seed=seed, epoch=epoch, step=step).integers(2**62)
        for stage in STAGES
        for seed in range(4)
        for epoch in range(4)
        for step in range(4)
    }
    assert len(starts) == len(STAGES) * 4**3
    # Zeros at the end of numpy's entropy change nothing, so (seed, epoch, step 0) alone would be the order's own seed.
    order = np.random.SeedSequence([1, 2]).generate_state(1, np.uint64)[0]
    own = stage_generator("crop", study_seed=1, epoch=2, step=0).bit_generator.seed_seq
    assert own.generate_state(1, np.uint64)[0] != order
    assert len(batch_order(10, 5, study_seed=1, epoch=2)) == 2


@pytest.mark.parametrize("name", ["study_seed", "epoch", "step"])
def test_negative_keys_are_refused(name: str) -> None:
    images, labels = pictures()
    with pytest.raises(ValueError, match=f"{name.replace('_', ' ')}: got -1, expected 0 or more"):
        augmentation({"flip": 0.5}).augment(images, labels, **{**KEY, name: -1})


def test_what_cannot_be_augmented_is_refused() -> None:
    with pytest.raises(ValueError, match="auto_augment: 4 channels, it takes 1 or 3"):
        Augmentation(
            Recipe(auto_augment="autoaugment"),
            num_classes=10,
            image_size=8,
            mean=[0.5] * 4,
            std=[0.5] * 4,
            crop_here=True,
        )
    with pytest.raises(ValueError, match="mixing needs 2 or more"):
        Augmentation(Recipe(mixup=0.8), num_classes=1, image_size=8, mean=[0.5], std=[0.5], crop_here=True)
    images, labels = pictures(number=6)
    with pytest.raises(ValueError, match=r"images: got shape \(6, 3, 32, 31\), expected \(b, 3, 32, 32\)"):
        augmentation({}).augment(images[..., 1:], labels, **KEY)
    with pytest.raises(ValueError, match="rank: got 2, expected 0 to 1"):
        augmentation({}).augment(images, labels, **KEY, rank=2, world=2)
    with pytest.raises(ValueError, match="mixing pairs neighbours on one worker"):
        augmentation({"mixup": 0.8}).augment(images[:3], labels[:3], **KEY, rank=0, world=2)
