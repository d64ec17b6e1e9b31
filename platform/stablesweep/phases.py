"""The phases of a study: what each trains, and what it takes from those before it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, field_validator, model_validator

from dashboards.selection import LENGTH, PEAK
from stablesweep.arms import check_settings
from stablesweep.strict import Strict
from trainables.training.pruning import Pruning

Epochs = Annotated[int, Field(ge=1, le=100_000)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]

_BIAS = (
    "a pruned trial has no final error, and which ones are pruned depends on the other draws, so that the EDF would no longer be "
    "that of the space; prune in the phase search"
)


def _sampler_config(sampler: object) -> object:
    """As a study file has it. What only Python can say has no plain form: its name, or its text, says what it was."""
    if isinstance(sampler, Mapping):
        plain = str | int | float | bool | None
        return {name: value if isinstance(value, plain) else repr(value) for name, value in sampler.items()}
    return sampler if isinstance(sampler, str) else type(sampler).__name__


class SearchPhase(Strict):
    """An adaptive search for a good setting of each arm, the centre of the phases that follow."""

    draws: Count
    """Trials per arm."""
    epochs: Epochs
    """Epochs per trial; the schedule spans all of them."""
    sampler: Annotated[Any, PlainSerializer(_sampler_config)] = "tpe"
    """A sampler of Optuna: its name, a mapping of ``name`` and its arguments, or from Python an object."""
    at_once: int = Field(default=4, ge=1, le=10_000)
    """Suggestions that are asked for together, before the results of any of them: they train as one pack."""
    pruning: Pruning | None = None
    """Ends trials early that do badly: ``median``, ``halving``, or a mapping with ``rule``."""

    @field_validator("pruning", mode="before")
    @classmethod
    def _pruning_by_name(cls, pruning: object) -> object:
        return {"rule": pruning} if isinstance(pruning, str) else pruning

    @field_validator("sampler")
    @classmethod
    def _sampler_is_known(cls, sampler: Any) -> Any:
        from search_spaces import require_sampler

        require_sampler(sampler)
        return dict(sampler) if isinstance(sampler, Mapping) else sampler

    @property
    def sampler_name(self) -> str:
        """What the trials table calls the sampler."""
        config = _sampler_config(self.sampler)
        return str(config["name"] if isinstance(config, Mapping) else config)


class StabilityPhase(Strict):
    """Draws that depend on no result, each trained at full length: what an EDF is made of."""

    draws: Count | None = None
    """Draws per arm; of a grid, ``points`` says how many."""
    epochs: Epochs
    """Epochs per trial; the schedule spans all of them."""
    sampler: Literal["random", "sobol", "halton", "grid"] = "random"
    points: Any = None
    """Of a grid: points per dimension, one number for all or one for each."""
    around: Literal["space", "arm", "family"] | None = None
    """Where the draws lie: in the study's space, around the arm's own centre, or around that of its family (arms of related models with
    the same optimizer). By default around the arm's centre if there is a phase ``search`` or no space, else in the space."""
    reference: int | None = Field(default=None, ge=0, le=10_000)
    """Seeds of the reference run, the centre trained as long as the draws; by default 1 where there is a centre."""

    @model_validator(mode="before")
    @classmethod
    def _never_prunes(cls, values: Any) -> Any:
        for key in ("pruning", "pruner", "prune"):
            if isinstance(values, Mapping) and key in values:
                raise ValueError(f"{key} cannot be used in this phase: {_BIAS}")
        return values

    @field_validator("sampler", mode="before")
    @classmethod
    def _never_adapts(cls, sampler: object) -> object:
        from search_spaces import NON_ADAPTIVE, adaptive_sampler_names

        if sampler not in NON_ADAPTIVE and sampler in adaptive_sampler_names():
            raise ValueError(
                f"{sampler!r} chooses draws by the results of others, so that an EDF of them would not be that of the space; use "
                f"{', '.join(NON_ADAPTIVE)} here, and {sampler!r} in the phase search"
            )
        return sampler

    @field_validator("points")
    @classmethod
    def _points_are_counts(cls, points: object) -> object:
        counts = list(points.values()) if isinstance(points, dict) else [] if points is None else [points]
        if any(type(count) is not int or not 1 <= count <= 10_000 for count in counts):
            raise ValueError("write a whole number from 1 to 10000, or a mapping of dimensions to such numbers")
        return points

    @model_validator(mode="after")
    def _has_its_number(self) -> "StabilityPhase":
        grid = self.sampler == "grid"
        if grid and (self.points is None or self.draws is not None):
            raise ValueError("sampler: a grid takes points (per dimension), and no draws; write e.g. points: 8")
        if not grid and (self.draws is None or self.points is not None):
            raise ValueError(f"sampler: {self.sampler!r} takes draws, and no points; write e.g. draws: 64")
        return self


class FixedPhase(Strict):
    """One setting per arm, trained at several lengths, with several seeds."""

    epochs: list[Epochs] = Field(min_length=1)
    """Lengths; the schedule of a trial spans its own. A single number will do."""
    seeds: int = Field(default=1, ge=1, le=10_000)
    """Trials per arm and length, which differ in their seed."""
    at: Any = None
    """The setting: the arm's centre, the best one that an earlier phase found, or hyperparameters for all arms; under the name of
    an optimizer or an arm, those for it alone. By default the centre in ``length``, the best in ``peak``."""

    @field_validator("at")
    @classmethod
    def _holds_values(cls, at: object) -> object:
        if at is None or at in ("centre", "best"):
            return at
        if not isinstance(at, dict) or not at:
            raise ValueError(
                f"{at!r} is no setting; write centre, best, or values, e.g. {{lr: 0.001, weight_decay: 0.1}}"
            )
        check_settings(at)
        return at

    @field_validator("epochs", mode="before")
    @classmethod
    def _one_or_more(cls, epochs: object) -> object:
        return [epochs] if isinstance(epochs, int) else epochs

    @field_validator("epochs")
    @classmethod
    def _are_distinct(cls, epochs: list[int]) -> list[int]:
        if len(set(epochs)) < len(epochs):
            raise ValueError("a length stands twice; keep it once")
        return epochs


class Phases(Strict):
    """The phases of a study by name; at least one. Each feeds those after it."""

    search: SearchPhase | None = None
    stability: StabilityPhase | None = None
    length: FixedPhase | None = None
    peak: FixedPhase | None = None

    @model_validator(mode="after")
    def _has_one(self) -> "Phases":
        if not any((self.search, self.stability, self.length, self.peak)):
            raise ValueError("there is none; give search, stability, length or peak")
        return self

    def fixed(self) -> dict[str, FixedPhase]:
        """The phases of one setting per arm that the study has, by name."""
        phases = {LENGTH: self.length, PEAK: self.peak}
        return {name: phase for name, phase in phases.items() if phase is not None}
