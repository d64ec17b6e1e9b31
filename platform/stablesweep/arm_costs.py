"""What each arm's model costs, counted once for MLflow: the figures that ``stablesweep models`` and ``plan`` give."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboards import tags
from stablesweep.run_tags import RunTags
from stablesweep.study import ModelDefinition, Study

if TYPE_CHECKING:
    from stablesweep.arms import Arm
    from trainables import Dataset
    from trainables.models.cost import ModelCost

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSizes:
    """What a model is built for. The images themselves need not be kept for it."""

    num_classes: int
    image_size: int
    """Side of the square images, pixels."""
    channels: int
    num_train: int
    """Training images."""

    @classmethod
    def of(cls, data: "Dataset") -> "ImageSizes":
        """Those of a dataset."""
        return cls(
            num_classes=data.num_classes,
            image_size=data.image_size,
            channels=data.channels,
            num_train=data.num_train,
        )


def cost_tags(study: Study, sizes: ImageSizes | None) -> RunTags:
    """The tags that say what the study's arms cost; what cannot be counted has none.

    An arm has no counts if its model is

    - registered by the user: it would have to be called in this process, which it may end;
    - built with an option that its trials differ in: no one number is right for all of them;
    - not of images, or not to be built for these.

    Counting takes 0.1 s for a small model and up to 1 s for a large one, without memory for weights.

    Args:
        study: The study.
        sizes: Of its dataset; None where a trainable of the user's own has its own data.
    """
    shared = {tags.GPUS: f"{study.pack.gpus * study.pack.workers:g}"}
    if sizes is None:
        return RunTags(study=shared)
    shared[tags.TRAIN_IMAGES] = str(images_of_one_epoch(study, sizes.num_train))
    counted: dict[str, ModelCost | None] = {}
    arms: dict[str, Mapping[str, str]] = {}
    for arm in study.arms:
        if has_own_models(study, arm):
            continue
        if arm.model not in counted:
            counted[arm.model] = _count(study.model_of(arm), sizes)
        cost = counted[arm.model]
        if cost is not None:
            arms[arm.name] = {
                tags.PARAMETERS: str(cost.parameters),
                tags.FLOPS: str(cost.flops),
                tags.ACTIVATIONS: str(cost.activations),
            }
    return RunTags(study=shared, arms=arms)


def images_of_one_epoch(study: Study, num_train: int) -> int:
    """Images that an epoch trains on: whole batches; all of them where trials differ in the size of their batches."""
    if any(name == "batch_size" for _, _, name, _ in study.examples()):
        return num_train
    return num_train // study.recipe.batch_size * study.recipe.batch_size


def has_own_models(study: Study, arm: "Arm") -> bool:
    """Whether hyperparameters of this arm are options of its model, so that each trial may train another one."""
    from trainables.hyperparameters import split_hyperparameters

    values = {name: value for _, of, name, value in study.examples() if of.name == arm.name}
    return bool(split_hyperparameters(study.model_of(arm).base, arm.optimizer, values).model)


def _count(model: ModelDefinition, sizes: ImageSizes) -> "ModelCost | None":
    from trainables.models.cost import named_model_cost
    from trainables.registry import user_model

    if user_model(model.base) is not None:
        return None
    try:
        return named_model_cost(
            model.base,
            num_classes=sizes.num_classes,
            image_size=sizes.image_size,
            in_channels=sizes.channels,
            overrides=model.options,
        )
    except Exception:  # a model of timm's raises what it likes
        logger.info("the cost of %s is not known", model.base, exc_info=True)
        return None
