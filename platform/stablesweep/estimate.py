"""What training costs before anything is trained: images, floating-point operations, bytes of checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search_spaces import HyperparameterValue
from stablesweep.arms import Arm
from stablesweep.errors import short
from stablesweep.preflight import dataset_options, settings_to_try
from stablesweep.study import Study
from stablesweep.trials import Trial

if TYPE_CHECKING:
    import torch

    from trainables import Dataset, Recipe

TRAINING_FORWARDS = 3
"""A training step costs as much as this many forward passes: the backward pass makes two products where the forward made one."""
FLOP_PER_MULTIPLY_ADD = 2
MODELS_COUNTED = 8
"""Where trials differ in the model's options, so many different settings of an arm are counted, and the rest taken as their mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundData:
    """The study's dataset as far as it can be read on this machine."""

    data: "Dataset | None"
    missing: str = ""
    """Why there is none, a sentence without its full stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What some trials take if each trains to its last epoch."""

    train_images: float
    """Images that are trained on: forward, backward and step."""
    forward_images: float
    """Images that only pass forward: those of the evaluation, and those that batch norm's statistics are computed anew on."""
    flop: float | None
    """Floating-point operations, two a multiply-add, a training image as three forward passes; None: a model cannot be counted."""

    def __add__(self, other: "Work") -> "Work":
        known = self.flop is not None and other.flop is not None
        return Work(
            train_images=self.train_images + other.train_images,
            forward_images=self.forward_images + other.forward_images,
            flop=(self.flop or 0.0) + (other.flop or 0.0) if known else None,
        )


NO_WORK = Work(train_images=0.0, forward_images=0.0, flop=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSize:
    """One model, as it is built for the study's data."""

    flops: float
    """Multiply-adds of one forward pass of one image."""
    parameter_bytes: int
    """Of what is trained."""
    state_bytes: int
    """Of all that a checkpoint keeps of it: parameters and buffers."""
    has_batch_norm: bool


def find_data(study: Study) -> FoundData:
    """The study's dataset, or the sentence that says why it cannot be read here."""
    if study.dataset is None:
        assert study.trainable is not None
        return FoundData(data=None, missing=f"the trainable {study.trainable.name!r} has its own data and models")
    from trainables import load_dataset

    try:
        return FoundData(data=load_dataset(study.dataset.name, **dataset_options(study)))
    except (ValueError, TypeError, OSError) as error:
        return FoundData(data=None, missing=short(error, None))


class Estimator:
    """The work and the checkpoints of a study's trials.

    A trial whose setting is not known yet counts as the mean over corners of its arm's space.

    Args:
        study: A study of image classifiers.
        data: Its dataset.
    """

    def __init__(self, study: Study, data: "Dataset") -> None:
        self._study, self._data = study, data
        self._models: dict[str, dict[str, ModelSize | None]] = {}
        self._works: dict[tuple[str, int, str], Work] = {}
        self._typical: dict[str, list[dict[str, HyperparameterValue]]] = {}

    def work(self, trial: Trial) -> Work:
        """What one trial takes from its first epoch to its last."""
        arm = self._arm(trial.arm)
        settings = [dict(trial.hyperparameters)] if trial.settled else self.typical_settings(arm)
        works = [self._work(arm, trial.epochs, values) for values in settings]
        total = sum(works, NO_WORK)
        return Work(
            train_images=total.train_images / len(works),
            forward_images=total.forward_images / len(works),
            flop=None if total.flop is None else total.flop / len(works),
        )

    def member_bytes(self, trial: Trial) -> int | None:
        """What a checkpoint keeps of one trial: weights, optimizer and average; None if they cannot be built.

        The optimizer's part is its parameters' size times what the optimizer keeps of a matrix of 64 x 64, which is exact where it keeps
        as much of every number.
        """
        arm = self._arm(trial.arm)
        values = dict(trial.hyperparameters) if trial.settled else self.typical_settings(arm)[0]
        size = self._size(arm, self._split(arm, values).model)
        if size is None:
            return None
        share = optimizer_share(arm.optimizer, self._split(arm, values).optimizer)
        if share is None:
            return None
        averaged = self._recipe(arm, values).ema_horizon is not None
        return round(size.state_bytes * (2 if averaged else 1) + size.parameter_bytes * share)

    def typical_settings(self, arm: Arm) -> list[dict[str, HyperparameterValue]]:
        """Settings that stand for all that the arm may be trained with."""
        if arm.name not in self._typical:
            self._typical[arm.name] = list(settings_to_try(self._study, arm))
        return self._typical[arm.name]

    def _arm(self, name: str) -> Arm:
        return next(arm for arm in self._study.arms if arm.name == name)

    def _work(self, arm: Arm, epochs: int, values: Mapping[str, HyperparameterValue]) -> Work:
        recipe, options = self._recipe(arm, values), self._split(arm, values).model
        key = (arm.name, epochs, f"{recipe.batch_size} {recipe.precise_batch_norm} {recipe.ema_horizon} {options!r}")
        if key not in self._works:
            self._works[key] = self._counted(epochs, recipe, self._size(arm, options))
        return self._works[key]

    def _counted(self, epochs: int, recipe: "Recipe", size: ModelSize | None) -> Work:
        steps, batch = self._data.num_train // recipe.batch_size, recipe.batch_size
        forward = self._data.num_eval
        if size is not None and size.has_batch_norm:
            models = 1 if recipe.ema_horizon is None else 2
            forward += models * batch * min(-(-recipe.precise_batch_norm // batch), steps)
        train_images, forward_images = float(epochs * steps * batch), float(epochs * forward)
        flop = None
        if size is not None:
            passes = TRAINING_FORWARDS * train_images + forward_images
            flop = FLOP_PER_MULTIPLY_ADD * size.flops * passes
        return Work(train_images=train_images, forward_images=forward_images, flop=flop)

    def _size(self, arm: Arm, options: Mapping[str, HyperparameterValue]) -> ModelSize | None:
        counted, key = self._models.setdefault(arm.model, {}), repr(sorted(options.items()))
        if key in counted:
            return counted[key]
        known = [size for size in counted.values() if size is not None]
        if len(counted) >= MODELS_COUNTED and known:
            return _mean_size(known)
        model = self._study.model_of(arm)
        counted[key] = model_size(model.base, self._data, {**model.options, **options})
        return counted[key]

    def _recipe(self, arm: Arm, values: Mapping[str, HyperparameterValue]) -> "Recipe":
        from trainables.hyperparameters import recipe_for

        return recipe_for(self._study.recipe, arm.optimizer, values)

    def _split(self, arm: Arm, values: Mapping[str, HyperparameterValue]) -> Any:
        from trainables.hyperparameters import split_hyperparameters

        return split_hyperparameters(self._study.model_of(arm).base, arm.optimizer, values)


def _mean_size(sizes: Sequence[ModelSize]) -> ModelSize:
    return ModelSize(
        flops=sum(size.flops for size in sizes) / len(sizes),
        parameter_bytes=sum(size.parameter_bytes for size in sizes) // len(sizes),
        state_bytes=sum(size.state_bytes for size in sizes) // len(sizes),
        has_batch_norm=any(size.has_batch_norm for size in sizes),
    )


def model_size(name: str, data: "Dataset", options: Mapping[str, Any]) -> ModelSize | None:
    """The size of a model as it is built for a dataset; None if it cannot be built for it.

    It is built without memory for its weights; a user's model that needs real tensors is built on the CPU.
    """
    import torch

    from trainables.registry import user_model

    devices = ("meta", "cpu") if user_model(name) is not None else ("meta",)
    with torch.random.fork_rng(devices=[]):
        for device in devices:
            try:
                return _size_on(device, name, data, options)
            except Exception:  # noqa: BLE001, S112 - whatever a user's model raises; `run` says what
                continue
    return None


def _size_on(device: str, name: str, data: "Dataset", options: Mapping[str, Any]) -> ModelSize:
    import torch

    from trainables.models.cost import model_cost
    from trainables.models.create import create_model
    from trainables.training.batch_norm import batch_norms

    with torch.device(device):
        model = create_model(
            name, num_classes=data.num_classes, image_size=data.image_size, in_channels=data.channels, **options
        )
    return ModelSize(
        flops=model_cost(model, image_size=data.image_size, in_channels=data.channels).flops,
        parameter_bytes=sum(tensor_bytes(parameter) for parameter in model.parameters() if parameter.requires_grad),
        state_bytes=tensor_bytes(model.state_dict()),
        has_batch_norm=bool(batch_norms(model)),
    )


def optimizer_share(name: str, hyperparameters: Mapping[str, HyperparameterValue]) -> float | None:
    """Bytes that an optimizer keeps for each byte of a matrix that it trains, after a step: 2 for AdamW, 1 for SGD with momentum.

    None if it refuses these hyperparameters, or a matrix.
    """
    import torch

    from trainables import create_optimizer

    # The initial weights of a real one would be drawn from the global generator.
    layer = torch.nn.Linear(64, 64, bias=False, device="meta")
    layer.weight = torch.nn.Parameter(torch.ones(64, 64))
    layer.weight.grad = torch.ones_like(layer.weight)
    try:
        optimizer = create_optimizer(name, layer, hyperparameters)
        optimizer.step()
    except (ValueError, TypeError, RuntimeError):
        return None
    # A count of steps is one number of each tensor, whatever its size.
    return tensor_bytes(optimizer.state_dict(), at_least=64) / tensor_bytes(layer.weight)


def tensor_bytes(value: "torch.Tensor | object", at_least: int = 0) -> int:
    """The bytes of all tensors in a nested state, those of fewer elements than ``at_least`` left out."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size() if value.numel() >= at_least else 0
    if isinstance(value, Mapping):
        return sum(tensor_bytes(item, at_least) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(tensor_bytes(item, at_least) for item in value)
    return 0
