"""How a member is trained, apart from the hyperparameters that a study draws."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainables.recipes.presets import PRESETS

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[tuple[Positive, Positive], Field(strict=False)]


class Recipe(BaseModel):
    """Training settings shared by every trial of a study; ``base`` names the preset that fills in what is not given.

    Source: arXiv:2106.14881v3, sections 5.4 and 6, for the preset ``paper``; ``docs/recipes.md`` compares all of them row by
    row. The defaults here are the preset ``plain``: own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    base: Literal["plain", "paper", "deit"] = "plain"
    """The preset; every other field given beside it takes precedence."""

    batch_size: Annotated[int, Field(ge=1)] = 64
    """Images per optimizer step, over all workers of a pack."""
    lr_batch_size: Annotated[int, Field(ge=1)] | None = None
    """The batch size that learning rates are stated for: the rate used is lr * batch_size / lr_batch_size. Null: as stated."""

    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    """Epochs of linear learning-rate warm-up."""
    warmup_start: Share = 0.1
    """Factor on the learning rate at the start of the warm-up."""
    warmup: Literal["before_cosine", "over_cosine"] = "before_cosine"
    """Whether the cosine begins where the warm-up ends, or spans the whole training and is multiplied by the warm-up."""
    min_lr_fraction: Share = 0.0
    """Floor of the cosine, as a share of the base rate."""
    lr_update: Literal["step", "epoch"] = "step"
    """Whether the rate is set at every step, or at the first step of every epoch."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target spread evenly over all classes, in training."""
    grad_clip: Positive | None = None
    """Largest L2 norm of one member's whole gradient; null: gradients are not clipped."""
    decay_embeddings: bool = True
    """Whether weight decay applies to class tokens and position embeddings. Never to norm gains and biases."""
    explode: Positive = 100.0
    """A member whose mean training loss of an epoch exceeds explode * ln(num_classes) nats has diverged."""

    ema_horizon: Positive | None = None
    """Averaging horizon of the weights that are evaluated, as a share of the whole training; null: no averaging."""
    ema_every: Annotated[int, Field(ge=1)] = 1
    """Steps between two updates of the average."""

    crop: Literal["none", "random_resized"] = "none"
    """The crop of training images."""
    crop_area: Range = (0.08, 1.0)
    """Share of the image's area that a crop covers, lowest and highest."""
    crop_ratio: Range = (3 / 4, 4 / 3)
    """Width over height of a crop, lowest and highest."""
    flip: Share = 0.0
    """Probability of a left-right flip."""
    auto_augment: Literal["none", "autoaugment", "randaugment"] = "none"
    """A policy of colour and geometry changes; autoaugment is the one learned on ImageNet."""
    randaugment_ops: Annotated[int, Field(ge=1)] = 2
    """Operations per image, for randaugment."""
    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of every operation, for randaugment: a bin from 0, no change, to 30."""
    randaugment_probability: Share = 1.0
    """Probability that an operation that was drawn is applied, for randaugment."""
    pca_jitter: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of colour noise along the principal components of ImageNet's colours (three channels only)."""
    random_erasing: Share = 0.0
    """Probability that a rectangle of the image is replaced by noise."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Alpha of mixup's Beta(alpha, alpha); 0: no mixup."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """Alpha of CutMix's Beta(alpha, alpha); 0: no CutMix. With both, each batch takes one, chosen by a fair coin."""

    precise_batch_norm: Annotated[int, Field(ge=0)] = 0
    """Before each evaluation, batch norm's statistics are computed anew on about this many training images; 0: its running
    averages are used."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the forward pass; auto: bfloat16 autocast on a GPU, float32 on a CPU."""
    sync_batch_norm: bool = True
    """Whether batch norm sees the whole batch when a pack runs on several workers, or each worker's part."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, values: Any) -> Any:
        if isinstance(values, str):
            values = {"base": values}
        if not isinstance(values, Mapping):
            return values
        return {**PRESETS.get(str(values.get("base", "plain")), {}), **values}

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> "Recipe":
        for name in ("crop_area", "crop_ratio"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: [{low:g}, {high:g}] is not a range; write the lower end first")
        if self.crop_area[1] > 1:
            raise ValueError(f"crop_area: {self.crop_area[1]:g} is more than the image; use at most 1")
        return self
