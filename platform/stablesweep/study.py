"""The study: one question, as a validated value."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainSerializer, WrapValidator, field_validator, model_validator

from dashboards.selection import LENGTH, PEAK, STABILITY
from search_spaces import (
    PAPER_BATCH_SIZE,
    Distribution,
    SearchSpace,
    SpaceError,
    family_of,
    is_distribution,
    named_space,
    paper_centre,
    parse_distribution,
    space_around,
)
from stablesweep.arms import Arm, Value, check_settings, setting_of
from stablesweep.home import NAME_PATTERN
from stablesweep.imports import import_modules
from stablesweep.phases import Phases
from stablesweep.strict import Strict, WithOptions
from trainables.recipes.recipe import Recipe
from trainables.registry import model_names, require_dataset, require_model, require_trainable
from trainables.training.records import PackMode

MODEL_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,79}$"
PAPER_EPOCHS = {PEAK: 400}
"""By phase, the length of training whose best values in the paper count; 50 epochs in all others."""


def _known(require: Callable[[str], None]) -> AfterValidator:
    """Lets a name through that ``require`` does not refuse."""

    def check(name: str) -> str:
        require(name)
        return name

    return AfterValidator(check)


class Dataset(WithOptions):
    """The images to train on: a registered name and the options of its factory."""

    name: Annotated[str, _known(require_dataset)]


class ModelDefinition(WithOptions):
    """A model of the study's own: a known one with other options, those of :func:`trainables.create_model`."""

    base: Annotated[str, _known(require_model)]


class TrainableDefinition(WithOptions):
    """What trains the trials instead of this project's image classifiers: a registered name and its options."""

    name: Annotated[str, _known(require_trainable)]


class Pack(Strict):
    """How trials are grouped and what each group may use. Only ``mode`` and ``workers`` change results (in their last digits)."""

    size: int = Field(default=24, ge=1, le=10_000)
    """At most so many trials of one arm train in lockstep in one worker."""
    spread: bool = True
    """Whether the last packs are made smaller where workers would have nothing to train otherwise."""
    mode: PackMode = "auto"
    """How they train: ``loop``, one after the other on each batch; ``fused``, all at once, where their model can be; ``auto``, the
    loop on a CPU and the faster of both on a GPU. Fused, a result is equal to the loop's but for rounding errors."""
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
    def room(self) -> str:
        """What decides how many trials fit into memory together, as a text to compare."""
        return f"{self.size} trials, {self.cpus:g} CPUs, {self.gpus:g} GPUs, {self.workers} workers, {self.mode}"

    @property
    def decoders(self) -> int:
        """Processes that read and decode images for each worker."""
        return max(0, int(self.cpus) - 1) if self.decode_workers is None else self.decode_workers


def _space_node(value: object, handler: Any) -> object:
    """Read one entry of ``space``: a dimension, or the dimensions of one optimizer or arm (a mapping, or a space's name)."""
    if isinstance(value, str) and "/" in value:
        return dict(named_space(value))
    if isinstance(value, SearchSpace):
        return dict(value)
    if isinstance(value, Mapping) and not is_distribution(value):
        if not value:
            raise SpaceError("a search space needs at least one dimension, e.g. lr: {around: 0.001}")
        return {name: _dimension(name, node) for name, node in value.items()}
    return parse_distribution(value)


def _dimension(name: str, node: object) -> Distribution:
    try:
        return parse_distribution(node)
    except SpaceError as error:
        raise SpaceError(f"{name}: {error}") from error


def _space_config(node: Distribution | Mapping[str, Distribution]) -> object:
    if isinstance(node, Mapping):
        return {name: distribution.to_config() for name, distribution in node.items()}
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
    imports: list[str] = Field(default_factory=list)
    """Modules of the user's own that register models, datasets, optimizers or trainables; imported on the driver and on every worker.
    They are looked for beside the study file, in the working directory, and where Python finds any other."""
    models: dict[Annotated[str, Field(pattern=MODEL_PATTERN)], ModelDefinition] = Field(default_factory=dict)
    """Models of the study's own, by the name that its arms use."""
    arms: list[Arm] = Field(min_length=1)
    """Either a list of ``model/optimizer``, or ``{models: [...], optimizers: [...]}``: every pairing."""
    families: dict[str, list[str]] = Field(default_factory=dict)
    """Models that share a centre where a phase says ``around: family``; by default ViTs, RegNetYs, and each other model by itself."""
    space: dict[str, SpaceNode] = Field(default_factory=dict)
    """What ``search`` and ``stability`` draw from. Dimensions for all arms; under the name of an optimizer or an arm, dimensions
    for those alone."""
    centre: dict[str, Any] = Field(default_factory=dict)
    """A good setting, where no phase ``search`` finds one: hyperparameters for all arms; under the name of an optimizer or an arm, those
    for it alone. Where it is missing, the paper's values for its models at its batch size."""
    phases: Phases
    recipe: Recipe = Recipe()
    dataset: Dataset | None = None
    trainable: TrainableDefinition | None = None
    """What trains the trials where they are no image classifiers; the dataset is then its own."""
    pack: Pack = Pack()

    @model_validator(mode="before")
    @classmethod
    def _import_first(cls, values: Any) -> Any:
        # What the modules register must be known before arms, dataset and trainable are looked up.
        names = values.get("imports") if isinstance(values, Mapping) else None
        if isinstance(names, list):
            try:
                import_modules(names)
            except ValueError as error:
                raise ValueError(f"imports: {error}") from error
        return values

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

    @field_validator("dataset", "trainable", mode="before")
    @classmethod
    def _by_name(cls, given: object) -> object:
        return {"name": given} if isinstance(given, str) else given

    @field_validator("space", mode="before")
    @classmethod
    def _space_object(cls, space: object) -> object:
        return dict(space) if isinstance(space, SearchSpace) else space

    @field_validator("centre")
    @classmethod
    def _centre_holds_values(cls, centre: dict[str, Any]) -> dict[str, Any]:
        check_settings(centre)
        return centre

    @field_validator("models")
    @classmethod
    def _models_are_new(cls, models: dict[str, ModelDefinition]) -> dict[str, ModelDefinition]:
        for name in models:
            if name in model_names():
                raise ValueError(f"{name}: a model has this name already; choose another one")
        return models

    @model_validator(mode="after")
    def _fits_together(self) -> "Study":
        # Here and not on import: the checks need the study, and would make this module twice as long.
        from stablesweep.study_checks import check_study

        check_study(self)
        return self

    def model_of(self, arm: Arm) -> ModelDefinition:
        """What :func:`trainables.create_model` is called with for an arm: a name and options."""
        return self.models.get(arm.model) or ModelDefinition(base=arm.model)

    def dimensions_of(self, arm: Arm) -> dict[str, Distribution]:
        """The dimensions of one arm: shared ones, then its optimizer's, then its own; the later wins. Maybe none."""
        dimensions = {name: node for name, node in self.space.items() if not isinstance(node, Mapping)}
        for place in (arm.optimizer, arm.name):
            node = self.space.get(place)
            if isinstance(node, Mapping):
                dimensions.update(node)
        return dimensions

    def space_of(self, arm: Arm) -> SearchSpace:
        """The space of one arm. Raises SpaceError if the study gives none for it, or the dimensions do not fit each other."""
        return SearchSpace(self.dimensions_of(arm))

    def setting(self, settings: Mapping[str, Any], arm: Arm) -> dict[str, Value]:
        """The hyperparameters of one arm among given ones; a trainable of the user's own may want whole numbers whole."""
        return setting_of(settings, arm, keep_whole=self.trainable is not None)

    def given_centre(self, arm: Arm, phase: str) -> dict[str, Value] | None:
        """The centre of an arm where no search finds it: the study's own, or the paper's; None if neither has one.

        Args:
            arm: The arm.
            phase: The phase that asks. The paper's leaderboard (``peak``) has other values than its other figures.
        """
        if self.phases.search is not None:
            return None
        own = self.setting(self.centre, arm)
        if own or self.trainable is not None:
            return own or None
        if (self.recipe.lr_batch_size or self.recipe.batch_size) != PAPER_BATCH_SIZE:
            return None
        paper = paper_centre(self.model_of(arm).base, arm.optimizer, PAPER_EPOCHS.get(phase, 50))
        return None if paper is None else {**paper}

    def family_of(self, arm: Arm) -> str:
        """The name of the family that an arm's model belongs to."""
        for family, models in self.families.items():
            if arm.model in models:
                return family
        own = None if self.trainable is not None else family_of(self.model_of(arm).base)
        return own or arm.model

    @property
    def draws_around(self) -> str:
        """Where the draws of ``stability`` lie: ``space``, ``arm`` or ``family``."""
        phase = self.phases.stability
        if phase is not None and phase.around is not None:
            return phase.around
        return "arm" if self.phases.search is not None or not self.space else "space"

    def stability_space(self, arm: Arm, centre: Mapping[str, Value] | None) -> SearchSpace:
        """What the draws of ``stability`` are mapped into.

        Args:
            arm: The arm.
            centre: The centre to draw around; None to draw from the study's space.
        """
        dimensions = self.dimensions_of(arm)
        if centre is None:
            return SearchSpace(dimensions)
        return SearchSpace(dimensions).around(centre) if dimensions else space_around(centre)

    @property
    def references(self) -> int:
        """Seeds of each arm's reference run."""
        phase = self.phases.stability
        if phase is None:
            return 0
        if phase.reference is not None:
            return phase.reference
        has_centre = self.phases.search is not None or all(self.given_centre(arm, STABILITY) for arm in self.arms)
        return int(has_centre and self.draws_around != "space")

    def setting_kind(self, phase_name: str) -> str:
        """Where a phase of one setting per arm takes it from: ``given``, ``centre`` or ``best``."""
        at = self.phases.fixed()[phase_name].at
        if isinstance(at, str):
            return at
        if at is not None:
            return "given"
        drawn = self.phases.search is not None or self.phases.stability is not None
        return "best" if phase_name != LENGTH and drawn else "centre"

    def examples(self) -> Iterator[tuple[str, Arm, str, Value]]:
        """Of every hyperparameter that a trial may have: the key that gives it, its arm, its name and some value of it."""
        draws = self.phases.search is not None or (self.phases.stability is not None and self.draws_around == "space")
        for arm in self.arms:
            if draws or (self.phases.stability is not None and self.space):
                yield from (("space", arm, name, value) for name, value in self.space_of(arm).example().items())
            for phase_name in self._phases_at_centres():
                centre = self.given_centre(arm, phase_name) or {}
                yield from (("centre", arm, name, value) for name, value in centre.items())
            for phase_name, phase in self.phases.fixed().items():
                if isinstance(phase.at, dict):
                    values = self.setting(phase.at, arm)
                    yield from ((f"phases.{phase_name}.at", arm, name, value) for name, value in values.items())

    def _phases_at_centres(self) -> Iterator[str]:
        if self.phases.stability is not None and (self.draws_around != "space" or self.references):
            yield STABILITY
        yield from (name for name in self.phases.fixed() if self.setting_kind(name) == "centre")

    def to_config(self) -> dict[str, Any]:
        """The study as plain values; :class:`Study` reads it back."""
        config = self.model_dump(mode="json")
        config["phases"] = {
            name: {key: value for key, value in phase.items() if value is not None}
            for name, phase in config["phases"].items()
            if phase is not None
        }
        config["arms"] = [arm.name for arm in self.arms]
        return {key: value for key, value in config.items() if value is not None}

    def fingerprint(self) -> str:
        """A digest of what all trials share and what changes their results: seed, dataset, recipe, workers of a pack.

        Arms, draws and epochs stand in the ledger, row by row, and models beside it, so they are not part of it; the other
        settings of packs change no result, but for ``mode``, which changes last digits.
        """
        shared: dict[str, Any] = {
            "seed": self.seed,
            "dataset": None if self.dataset is None else self.dataset.model_dump(mode="json"),
            # Without defaults, so that a setting that a later version adds changes no study that does not use it.
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True, exclude={"base"}),
        }
        if self.trainable is not None:
            shared["trainable"] = self.trainable.model_dump(mode="json")
        if self.pack.workers > 1:
            # A sum over two workers is not to the bit the sum over one, and dropout is drawn on each.
            shared["workers"] = self.pack.workers
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:16]
