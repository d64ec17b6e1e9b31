"""The study: one question, as a validated value."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WrapValidator, field_validator, model_validator

from search_spaces import Distribution, SearchSpace, SpaceError, parse_distribution
from trainables.optimizers import require_hyperparameters
from trainables.recipe import Recipe
from trainables.registry import dataset_names, model_names, optimizer_names, require_known

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        validate_default=True,
    )


class Arm(_Strict):
    """A pairing of a model and an optimizer; written ``model/optimizer``."""

    model: str
    optimizer: str

    @property
    def name(self) -> str:
        """``model/optimizer``."""
        return f"{self.model}/{self.optimizer}"

    @field_validator("model")
    @classmethod
    def _model_is_known(cls, model: str) -> str:
        require_known("model", model, model_names())
        return model

    @field_validator("optimizer")
    @classmethod
    def _optimizer_is_known(cls, optimizer: str) -> str:
        require_known("optimizer", optimizer, optimizer_names())
        return optimizer


class Dataset(_Strict):
    """The images to train on: a registered name and the options of its factory."""

    model_config = ConfigDict(extra="allow")
    name: str

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        require_known("dataset", name, dataset_names())
        return name

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of the dataset's factory."""
        return dict(self.model_extra or {})


class Phase(_Strict):
    """Random draws, each trained at full length: what an EDF is made of."""

    draws: int = Field(ge=1, le=1_000_000)
    """Draws per arm."""
    epochs: int = Field(ge=1, le=100_000)
    """Epochs per trial; the schedule spans all of them."""
    sampler: Literal["random"] = "random"


class Phases(_Strict):
    """The phases of a study by name."""

    stability: Phase


class Pack(_Strict):
    """How trials are grouped and what each group may use. Changes no result."""

    size: int = Field(default=24, ge=1, le=10_000)
    """At most so many trials of one arm train in lockstep in one worker."""
    cpus: float = Field(default=1, gt=0)
    """CPUs that Ray reserves for a pack; training uses one thread, so that results do not depend on it."""
    gpus: float = Field(default=0, ge=0)
    """GPUs that Ray reserves for a pack; fractions share one."""
    max_failures: int = Field(default=2, ge=0)
    """So often a pack whose worker died is taken up again from its checkpoint."""
    checkpoint_every_s: float = Field(default=30, ge=0)
    """Seconds between checkpoints of a pack (at the end of an epoch)."""

    @field_validator("gpus")
    @classmethod
    def _gpus_are_whole_or_a_share(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"{gpus:g} GPUs cannot be given; use a share below 1 or a whole number")
        return gpus


def _space_node(value: object, handler: Any) -> object:
    """Read one entry of ``space``: a dimension, or the dimensions of one optimizer or arm."""
    if isinstance(value, SearchSpace | Distribution):
        return value
    if not isinstance(value, Mapping) or (len(value) == 1 and not isinstance(next(iter(value.values())), Mapping)):
        return parse_distribution(value)
    return SearchSpace(value)


def _space_config(node: SearchSpace | Distribution) -> object:
    return node.to_config()


SpaceNode = Annotated[Any, WrapValidator(_space_node), PlainSerializer(_space_config)]


class Study(_Strict):
    """One question: arms, search space, phases, recipe and dataset; one MLflow experiment.

    Raises:
        pydantic.ValidationError: If a key is unknown, a value has the wrong type or makes no sense; see
            :func:`stablesweep.study_file.load_study` for the one-sentence form.
    """

    name: str = Field(pattern=NAME_PATTERN)
    description: str = Field(default="", max_length=4000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    arms: list[Arm] = Field(min_length=1)
    """Either a list of ``model/optimizer``, or ``{models: [...], optimizers: [...]}``: every pairing."""
    space: dict[str, SpaceNode] = Field(min_length=1)
    """Dimensions for all arms; under the name of an optimizer or an arm, dimensions for those alone."""
    phases: Phases
    recipe: Recipe = Recipe()
    dataset: Dataset
    pack: Pack = Pack()

    @field_validator("arms", mode="before")
    @classmethod
    def _expand_arms(cls, arms: object) -> object:
        if isinstance(arms, Mapping) and set(arms) == {"models", "optimizers"}:
            models, optimizers = arms["models"], arms["optimizers"]
            if not isinstance(models, list) or not isinstance(optimizers, list):
                raise ValueError("models and optimizers must be lists, e.g. {models: [vit_c_micro], optimizers: [sgd]}")
            return [{"model": model, "optimizer": optimizer} for model in models for optimizer in optimizers]
        if isinstance(arms, list):
            return [cls._read_arm(arm) for arm in arms]
        raise ValueError("write a list of model/optimizer, or {models: [...], optimizers: [...]}")

    @staticmethod
    def _read_arm(arm: object) -> object:
        if not isinstance(arm, str):
            return arm
        model, slash, optimizer = arm.rpartition("/")
        if not slash:
            raise ValueError(f"{arm!r} is not an arm; write model/optimizer, e.g. vit_c_micro/sgd")
        return {"model": model, "optimizer": optimizer}

    @field_validator("arms")
    @classmethod
    def _arms_are_distinct(cls, arms: list[Arm]) -> list[Arm]:
        names = [arm.name for arm in arms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the arm {name!r} stands {names.count(name)} times; keep it once")
        return arms

    @field_validator("dataset", mode="before")
    @classmethod
    def _dataset_by_name(cls, dataset: object) -> object:
        return {"name": dataset} if isinstance(dataset, str) else dataset

    @field_validator("space", mode="before")
    @classmethod
    def _space_object(cls, space: object) -> object:
        return dict(space) if isinstance(space, SearchSpace) else space

    @model_validator(mode="after")
    def _space_fits_the_arms(self) -> "Study":
        places = {arm.optimizer for arm in self.arms} | {arm.name for arm in self.arms}
        for key, node in self.space.items():
            if isinstance(node, SearchSpace) and key not in places:
                raise ValueError(f"space.{key}: no arm has this optimizer or name; the arms are {self._arm_list()}")
        for arm in self.arms:
            self._check_dimensions(arm)
        self._check_kinds()
        return self

    def _check_kinds(self) -> None:
        """One hyperparameter is one column of the trials table: a number, a text or a truth value in every arm."""
        kinds: dict[str, type] = {}
        for arm in self.arms:
            for name, distribution in self.space_of(arm).items():
                kind = type(distribution.from_unit(0.0))
                kind = float if kind is int else kind
                if kinds.setdefault(name, kind) is not kind:
                    raise ValueError(f"space.{name}: it is {kind.__name__} in {arm.name} and another type before it")

    def _arm_list(self) -> str:
        return ", ".join(arm.name for arm in self.arms)

    def _check_dimensions(self, arm: Arm) -> None:
        try:
            require_hyperparameters(arm.optimizer, dict.fromkeys(self.space_of(arm), 0.0))
        except (SpaceError, ValueError) as error:
            raise ValueError(f"space: for the arm {arm.name}: {error}") from error

    def space_of(self, arm: Arm) -> SearchSpace:
        """The dimensions of one arm: shared ones, then its optimizer's, then its own; the later wins."""
        dimensions = {name: node for name, node in self.space.items() if not isinstance(node, SearchSpace)}
        for place in (arm.optimizer, arm.name):
            node = self.space.get(place)
            if isinstance(node, SearchSpace):
                dimensions.update(node)
        return SearchSpace(dimensions)

    def to_config(self) -> dict[str, Any]:
        """The study as plain values; :class:`Study` reads it back."""
        config = self.model_dump(mode="json")
        config["arms"] = [arm.name for arm in self.arms]
        return config

    def fingerprint(self) -> str:
        """A digest of what all trials share and what changes their results: seed, dataset and recipe.

        Arms, draws and epochs stand in the ledger, row by row, and so are not part of it; packs change no result.
        """
        shared = self.model_dump(mode="json", include={"seed", "dataset", "recipe"})
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:16]
