"""How a member is trained, apart from the hyperparameters that a study draws."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """Training settings shared by every trial of a study.

    Source: defaults follow arXiv:2106.14881v3, sections 5.4 and 6, where they apply to small images; the batch size, the
    length of the warm-up, the clipping and the explosion limit are our own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    batch_size: Annotated[int, Field(ge=1, description="Images per optimizer step.")] = 64
    warmup_epochs: Annotated[float, Field(ge=0, description="Epochs of linear learning-rate warm-up.")] = 1.0
    warmup_start: Annotated[
        float, Field(ge=0, le=1, description="Learning rate at the first step, as a share of the base rate.")
    ] = 0.1
    min_lr_fraction: Annotated[
        float, Field(ge=0, le=1, description="Floor of the cosine, as a share of the base rate.")
    ] = 0.0
    label_smoothing: Annotated[
        float, Field(ge=0, lt=1, description="Share of the target spread evenly over all classes, in training.")
    ] = 0.1
    grad_clip: Annotated[
        float | None,
        Field(gt=0, description="Largest L2 norm of one member's whole gradient; null: gradients are not clipped."),
    ] = None
    explode: Annotated[
        float,
        Field(
            gt=0,
            description="A member whose mean training loss of an epoch exceeds explode * ln(num_classes) nats has diverged.",
        ),
    ] = 100.0
