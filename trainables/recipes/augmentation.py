"""From stored images to what the model sees: augmentation and normalisation of a batch on its device."""

from collections.abc import Sequence

import numpy as np
import torch

from trainables.recipes.auto_augment import apply_changes
from trainables.recipes.colour import draw_colour_shifts, shift_colours
from trainables.recipes.crop import Boxes, crop_and_resize, draw_crops, draw_flips, flip
from trainables.recipes.draws import stage_generator
from trainables.recipes.erasing import draw_erasures, erase
from trainables.recipes.mixing import TrainBatch, apply_mix, draw_mix
from trainables.recipes.policies import Changes, draw_autoaugment, draw_randaugment
from trainables.recipes.recipe import Recipe

__all__ = ["Augmentation", "TrainBatch"]


class Augmentation:
    """The training augmentation of a recipe.

    What happens to an image is a function of (study seed, epoch, step, the image's place in the global batch) alone, so
    that every trial, and every number of ranks, sees the same images. No global generator is used.

    The order is crop, flip, AutoAugment or RandAugment, colour noise, normalisation, erasing, mixing; a stage that is off
    costs nothing and draws nothing.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        num_classes: int,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        crop_here: bool,
    ) -> None:
        """Checks that the recipe suits the images.

        Args:
            recipe: Which stages, and how strong.
            num_classes: Of the labels.
            image_size: Side of the square images, pixels.
            mean: Per channel, of pixels scaled to [0, 1].
            std: Per channel, of pixels scaled to [0, 1].
            crop_here: Whether a random crop is still to be done; false for images that were cropped when read.

        Raises:
            ValueError: If a stage needs other channels than there are, or mixing other classes.
        """
        if recipe.auto_augment != "none" and len(mean) not in (1, 3):
            raise ValueError(f"auto_augment: {len(mean)} channels, it takes 1 or 3; set it to none")
        if (recipe.mixup or recipe.cutmix) and num_classes < 2:
            raise ValueError(f"mixup, cutmix: {num_classes} class, mixing needs 2 or more; set both to 0")
        self._recipe, self._side, self._channels = recipe, image_size, len(mean)
        self._crops = crop_here and recipe.crop == "random_resized"
        self._shift_scale = np.asarray(std, dtype=np.float64)
        self._mean = torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1)

    def augment(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        *,
        study_seed: int,
        epoch: int,
        step: int,
        rank: int = 0,
        world: int = 1,
        mix: bool = True,
    ) -> TrainBatch:
        """One rank's part of a global batch, augmented and normalised.

        Args:
            images: uint8, shape (b, C, H, H), on the device that trains; not changed.
            labels: int64, shape (b,), on the same device; -1 for an unreadable sample.
            study_seed: 0 or more.
            epoch: Counted from 1.
            step: Of the epoch or of the training, 0 or more.
            rank: These are images rank * b to (rank + 1) * b - 1 of the global batch.
            world: Ranks, each with b images.
            mix: Whether to mix images, if the recipe asks for it.

        Returns:
            Images float32 (b, C, H, H) and labels on the same device.

        Raises:
            ValueError: If the images have another shape than announced, or mixing would pair images of two ranks.
        """
        expected = (self._channels, self._side, self._side)
        if tuple(images.shape[1:]) != expected:
            raise ValueError(f"images: got shape {tuple(images.shape)}, expected (b, {', '.join(map(str, expected))})")
        batch = _Batch(len(images), rank, world, study_seed=study_seed, epoch=epoch, step=step)
        pixels = self._normalised(self._moved(images, batch), batch)
        if self._recipe.random_erasing:
            drawn = draw_erasures(
                batch.generator("random_erasing"), batch.total, self._side, self._recipe.random_erasing
            )
            pixels = erase(pixels, drawn, batch.part.start)
        return self._mixed(pixels, labels, batch) if mix else TrainBatch(images=pixels, labels=labels)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """(images / 255 - mean) / std, float32, for images uint8 (b, C, H, W); what evaluation needs."""
        self._mean, self._std = (
            self._mean.to(images.device, non_blocking=True),
            self._std.to(images.device, non_blocking=True),
        )
        return images.to(torch.float32).div_(255).sub_(self._mean).div_(self._std)

    def _moved(self, images: torch.Tensor, batch: "_Batch") -> torch.Tensor:
        """uint8 to uint8: crop, flip and policy."""
        recipe = self._recipe
        if self._crops:
            generator, ranges = batch.generator("crop"), {"area": recipe.crop_area, "ratio": recipe.crop_ratio}
            boxes = draw_crops(generator, batch.total, self._side, **ranges)
            images = crop_and_resize(images, Boxes(*(values[batch.part] for values in boxes)))
        if recipe.flip:
            images = flip(images, draw_flips(batch.generator("flip"), batch.total, recipe.flip)[batch.part])
        if recipe.auto_augment != "none":
            images = apply_changes(images.clone(), self._changes(batch))
        return images

    def _changes(self, batch: "_Batch") -> Changes:
        recipe, generator = self._recipe, batch.generator("auto_augment")
        if recipe.auto_augment == "autoaugment":
            return draw_autoaugment(generator, batch.total, self._side, batch.part)
        return draw_randaugment(
            generator,
            batch.total,
            self._side,
            batch.part,
            operations=recipe.randaugment_ops,
            magnitude=recipe.randaugment_magnitude,
            probability=recipe.randaugment_probability,
        )

    def _normalised(self, images: torch.Tensor, batch: "_Batch") -> torch.Tensor:
        # Colour noise is defined on three channels; on others it is left out, as the recipe's field says.
        if not self._recipe.pca_jitter or self._channels != 3:
            return self.normalised(images)
        shifts = draw_colour_shifts(batch.generator("pca_jitter"), batch.total, self._recipe.pca_jitter)[batch.part]
        # Adding before normalising is adding shift / std after it.
        return shift_colours(self.normalised(images), shifts / self._shift_scale)

    def _mixed(self, images: torch.Tensor, labels: torch.Tensor, batch: "_Batch") -> TrainBatch:
        recipe = self._recipe
        if not (recipe.mixup or recipe.cutmix):
            return TrainBatch(images=images, labels=labels)
        if batch.world > 1 and len(labels) % 2:
            raise ValueError(
                f"batch_size: {batch.total} images over {batch.world} workers is {len(labels)} each, and mixing pairs "
                "neighbours on one worker; choose a batch_size that gives each an even number"
            )
        mix = draw_mix(batch.generator("mixing"), self._side, mixup=recipe.mixup, cutmix=recipe.cutmix)
        return apply_mix(images, labels, mix)


class _Batch:
    """Where one rank's part lies in the global batch, and the batch's generators."""

    def __init__(self, size: int, rank: int, world: int, *, study_seed: int, epoch: int, step: int) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank: got {rank}, expected 0 to {world - 1}")
        self.total, self.world = size * world, world
        self.part = slice(rank * size, (rank + 1) * size)
        self._key = {"study_seed": study_seed, "epoch": epoch, "step": step}

    def generator(self, stage: str) -> np.random.Generator:
        return stage_generator(stage, **self._key)
