"""The arms of a study, and the phases that train them."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from stablesweep.strict import Strict
from trainables.registry import require_optimizer


class Arm(Strict):
    """A pairing of a model and an optimizer; written ``model/optimizer``."""

    model: str
    optimizer: str

    @property
    def name(self) -> str:
        """``model/optimizer``."""
        return f"{self.model}/{self.optimizer}"

    @field_validator("optimizer")
    @classmethod
    def _optimizer_is_known(cls, optimizer: str) -> str:
        require_optimizer(optimizer)
        return optimizer


Value = float | int | str | bool


def _is_hyperparameter(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return name not in ("lr", "weight_decay")
    if isinstance(value, int | float):
        return abs(value) <= 2**53  # also false for NaN
    return isinstance(value, str)


class Phase(Strict):
    """Random draws, each trained at full length: what an EDF is made of."""

    draws: int = Field(ge=1, le=1_000_000)
    """Draws per arm."""
    epochs: int = Field(ge=1, le=100_000)
    """Epochs per trial; the schedule spans all of them."""
    sampler: Literal["random"] = "random"


Epochs = Annotated[int, Field(ge=1, le=100_000)]


class FixedPhase(Strict):
    """One setting per arm, trained at several lengths, with several seeds."""

    epochs: list[Epochs] = Field(min_length=1)
    """Lengths; the schedule of a trial spans its own. A single number will do."""
    seeds: int = Field(default=1, ge=1, le=10_000)
    """Trials per arm and length, which differ in their seed."""
    at: dict[str, Any] = Field(min_length=1)
    """The setting: hyperparameters for all arms; under the name of an optimizer or an arm, those for it alone."""

    @field_validator("at")
    @classmethod
    def _holds_values(cls, at: dict[str, Any]) -> dict[str, Any]:
        for place, node in at.items():
            for name, value in node.items() if isinstance(node, dict) else [(place, node)]:
                if not _is_hyperparameter(name, value):
                    raise ValueError(f"{name}: {value!r} is not a value for it; write a finite number or a text")
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

    def setting(self, arm: Arm) -> dict[str, Value]:
        """The hyperparameters of one arm: shared ones, then its optimizer's, then its own; the later wins."""
        values = {name: value for name, value in self.at.items() if not isinstance(value, dict)}
        for place in (arm.optimizer, arm.name):
            own = self.at.get(place)
            values |= own if isinstance(own, dict) else {}
        # A hyperparameter is one column: 1 and 0.5 are numbers alike.
        return {name: float(value) if type(value) is int else value for name, value in values.items()}


class Phases(Strict):
    """The phases of a study by name; at least one."""

    stability: Phase | None = None
    length: FixedPhase | None = None
    peak: FixedPhase | None = None

    @model_validator(mode="after")
    def _has_one(self) -> "Phases":
        if not self.present():
            raise ValueError("there is none; give stability, length or peak")
        return self

    def present(self) -> dict[str, Phase | FixedPhase]:
        """The phases that the study has, by name."""
        phases = {"stability": self.stability, "length": self.length, "peak": self.peak}
        return {name: phase for name, phase in phases.items() if phase is not None}
