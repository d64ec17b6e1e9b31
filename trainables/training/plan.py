"""What a pack is trained with, and what a member of it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from trainables.hyperparameters import SplitHyperparameters, recipe_for
from trainables.recipes.ema import Ema
from trainables.recipes.recipe import Recipe
from trainables.recipes.schedule import lr_multiplier
from trainables.training.ranks import Ranks


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """What a pack, or one member, is trained with. Steps are optimizer steps, counted from 0 over the whole training."""

    model: str
    model_options: Mapping[str, Any]
    optimizer: str
    num_classes: int
    image_size: int
    channels: int
    recipe: Recipe
    steps_per_epoch: int
    epochs: int
    device: torch.device
    ranks: Ranks

    def of_trial(self, hyperparameters: SplitHyperparameters) -> "TrainingPlan":
        """This plan with a trial's own recipe and model options.

        Raises:
            ValueError: If a value does not suit its field of the recipe.
        """
        return replace(
            self,
            recipe=recipe_for(self.recipe, self.optimizer, hyperparameters.recipe),
            model_options={**self.model_options, **hyperparameters.model},
        )

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    @property
    def warmup_steps(self) -> int:
        """Optimizer steps of the warm-up."""
        return round(self.recipe.warmup_epochs * self.steps_per_epoch)

    @property
    def bfloat16(self) -> bool:
        """Whether the forward pass runs under bfloat16 autocast."""
        return self.recipe.precision == "bfloat16" or (self.recipe.precision == "auto" and self.device.type == "cuda")

    def lr(self, lr: float, step: int) -> float:
        """The learning rate at a step, for a rate that is stated for ``recipe.lr_batch_size`` images."""
        recipe = self.recipe
        scale = 1.0 if recipe.lr_batch_size is None else recipe.batch_size / recipe.lr_batch_size
        return (
            lr
            * scale
            * lr_multiplier(
                step,
                total_steps=self.total_steps,
                warmup_steps=self.warmup_steps,
                warmup_start=recipe.warmup_start,
                min_lr_fraction=recipe.min_lr_fraction,
                warmup=recipe.warmup,
                steps_per_epoch=self.steps_per_epoch if recipe.lr_update == "epoch" else None,
            )
        )

    def averaged(self, model: nn.Module) -> Ema | None:
        """A moving average of this model's weights, if the recipe asks for one."""
        if self.recipe.ema_horizon is None:
            return None
        return Ema(
            model,
            horizon=self.recipe.ema_horizon,
            every=self.recipe.ema_every,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
        )
