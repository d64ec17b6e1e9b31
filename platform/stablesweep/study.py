"""The study: one question, as a validated value."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, WrapValidator, field_validator, model_validator

from search_spaces import Distribution, SearchSpace, SpaceError, parse_distribution
from stablesweep.phases import Arm, FixedPhase, Phases, Value
from stablesweep.strict import Strict, WithOptions
from trainables.optimizers import require_hyperparameters
from trainables.recipes.recipe import Recipe
from trainables.registry import model_names, require_dataset, require_model

MODEL_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,79}$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class Dataset(WithOptions):
    """The images to train on: a registered name and the options of its factory."""

    name: str

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        require_dataset(name)
        return name


class ModelDefinition(WithOptions):
    """A model of the study's own: a known one with other options, those of :func:`trainables.create_model`."""

    base: str

    @field_validator("base")
    @classmethod
    def _base_is_known(cls, base: str) -> str:
        require_model(base)
        return base


class Pack(Strict):
    """How trials are grouped and what each group may use. Only ``workers`` changes results (in their last digits)."""

    size: int = Field(default=24, ge=1, le=10_000)
    """At most so many trials of one arm train in lockstep in one worker."""
    cpus: float = Field(default=1, gt=0)
    """CPUs that Ray reserves for each worker of a pack; training uses one thread, so that results do not depend on it."""
    gpus: float = Field(default=0, ge=0)
    """GPUs that Ray reserves for each worker of a pack; fractions share one."""
    workers: int = Field(default=1, ge=1, le=10_000)
    """Ray Train workers that train a pack together, each on its part of every batch. One result is that of one number
    of workers: with another number it is equal to rounding errors, and with dropout it is another draw."""
    decode_workers: int | None = Field(default=None, ge=0, le=1000)
    """Processes that read and decode images for each worker; by default its CPUs but one. Data in memory needs none."""
    max_failures: int = Field(default=2, ge=0)
    """So often a pack whose worker died is taken up again from its checkpoint."""
    checkpoint_every_s: float = Field(default=30, ge=0)
    """Seconds between checkpoints of a pack, taken between two steps; 0: at the end of every epoch."""

    @field_validator("gpus")
    @classmethod
    def _gpus_are_whole_or_a_share(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"{gpus:g} GPUs cannot be given; use a share below 1 or a whole number")
        return gpus

    @property
    def decoders(self) -> int:
        """Processes that read and decode images for each worker."""
        return max(0, int(self.cpus) - 1) if self.decode_workers is None else self.decode_workers


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


class Study(Strict):
    """One question: arms, search space, phases, recipe and dataset; one MLflow experiment.

    Raises:
        pydantic.ValidationError: If a key is unknown, a value has the wrong type or makes no sense; see
            :func:`stablesweep.study_file.load_study` for the one-sentence form.
    """

    name: str = Field(pattern=NAME_PATTERN)
    description: str = Field(default="", max_length=4000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    models: dict[Annotated[str, Field(pattern=MODEL_PATTERN)], ModelDefinition] = Field(default_factory=dict)
    """Models of the study's own, by the name that its arms use."""
    arms: list[Arm] = Field(min_length=1)
    """Either a list of ``model/optimizer``, or ``{models: [...], optimizers: [...]}``: every pairing."""
    space: dict[str, SpaceNode] = Field(default_factory=dict)
    """Of the phase ``stability``. Dimensions for all arms; under the name of an optimizer or an arm, dimensions for those alone."""
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

    @field_validator("models")
    @classmethod
    def _models_are_new(cls, models: dict[str, ModelDefinition]) -> dict[str, ModelDefinition]:
        for name in models:
            if name in model_names():
                raise ValueError(f"{name}: a model has this name already; choose another one")
        return models

    @model_validator(mode="after")
    def _fits_the_arms(self) -> "Study":
        for arm in self.arms:
            if arm.model not in self.models:
                require_model(arm.model)
        for name, phase in self.phases.present().items():
            if isinstance(phase, FixedPhase):
                self._check_places(f"phases.{name}.at", phase.at, dict)
                for arm in self.arms:
                    self._check_names(f"phases.{name}.at", arm, phase.setting(arm))
        if self.phases.stability is not None:
            if not self.space:
                raise ValueError("space: this key is missing; add it, the phase stability draws from it")
            for arm in self.arms:
                self._check_names("space", arm, self._space_names(arm))
        self._check_places("space", self.space, SearchSpace)
        self._check_kinds()
        return self

    def _check_places(self, key: str, nodes: Mapping[str, object], inner: type) -> None:
        places = {arm.optimizer for arm in self.arms} | {arm.name for arm in self.arms}
        for name, node in nodes.items():
            if isinstance(node, inner) and name not in places:
                arms = ", ".join(arm.name for arm in self.arms)
                raise ValueError(f"{key}.{name}: no arm has this optimizer or name; the arms are {arms}")

    def _check_kinds(self) -> None:
        """One hyperparameter is one column of the trials table: a number, a text or a truth value in every arm."""
        words = {float: "a number", int: "a number", str: "a text", bool: "a truth value"}
        first: dict[str, tuple[str, str]] = {}
        for arm in self.arms:
            for place, name, example in self._examples(arm):
                kind = words[type(example)]
                before, where = first.setdefault(name, (kind, arm.name))
                if before != kind:
                    raise ValueError(
                        f"{place}.{name}: it is {kind} for {arm.name} and {before} for {where}; use one kind"
                    )

    def _examples(self, arm: Arm) -> Iterator[tuple[str, str, object]]:
        if self.phases.stability is not None:
            for name, distribution in self.space_of(arm).items():
                yield "space", name, distribution.from_unit(0.0)
        for phase_name, phase in self.phases.present().items():
            if isinstance(phase, FixedPhase):
                yield from ((f"phases.{phase_name}.at", name, value) for name, value in phase.setting(arm).items())

    def _space_names(self, arm: Arm) -> dict[str, Value]:
        try:
            return dict.fromkeys(self.space_of(arm), 0.0)
        except SpaceError as error:
            raise ValueError(f"space: for the arm {arm.name}: {error}") from error

    @staticmethod
    def _check_names(key: str, arm: Arm, values: Mapping[str, Value]) -> None:
        try:
            require_hyperparameters(arm.optimizer, values)
        except ValueError as error:
            raise ValueError(f"{key}: for the arm {arm.name}: {error}") from error

    def model_of(self, arm: Arm) -> ModelDefinition:
        """What :func:`trainables.create_model` is called with for an arm: a name and options."""
        return self.models.get(arm.model) or ModelDefinition(base=arm.model)

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
        config["phases"] = {name: phase for name, phase in config["phases"].items() if phase is not None}
        config["arms"] = [arm.name for arm in self.arms]
        return config

    def fingerprint(self) -> str:
        """A digest of what all trials share and what changes their results: seed, dataset, recipe, workers of a pack.

        Arms, draws and epochs stand in the ledger, row by row, and models beside it, so they are not part of it; the other
        settings of packs change no result.
        """
        shared = {
            "seed": self.seed,
            "dataset": self.dataset.model_dump(mode="json"),
            # Without defaults, so that a setting that a later version adds changes no study that does not use it.
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True, exclude={"base"}),
        }
        if self.pack.workers > 1:
            # A sum over two workers is not to the bit the sum over one, and dropout is drawn on each.
            shared["workers"] = self.pack.workers
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:16]
