"""What all members of a pack have in common."""

from dataclasses import dataclass

import torch

from trainables.recipe import Recipe
from trainables.schedule import lr_multiplier


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """What all members of a pack have in common."""

    model: str
    optimizer: str
    num_classes: int
    image_size: int
    channels: int
    recipe: Recipe
    steps_per_epoch: int
    epochs: int
    device: torch.device

    def lr_multiplier(self, step: int) -> float:
        """Factor on the base learning rate at optimizer step ``step``, counted from 0 over the whole training."""
        return lr_multiplier(
            step,
            total_steps=self.epochs * self.steps_per_epoch,
            warmup_steps=round(self.recipe.warmup_epochs * self.steps_per_epoch),
            warmup_start=self.recipe.warmup_start,
            min_lr_fraction=self.recipe.min_lr_fraction,
        )
