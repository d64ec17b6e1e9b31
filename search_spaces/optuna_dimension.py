"""One dimension in Optuna's terms: how a trial is asked for it, and what a suggestion means in ours."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search_spaces.conversion import optuna_distribution
from search_spaces.distributions import Distribution, Uniform, num_values
from search_spaces.values import HyperparameterValue, SpaceError, is_number, same

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

_BELOW_ONE = 1 - 2.0**-53
_CELLS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class OptunaDimension:
    """A dimension as a search sees it."""

    name: str
    distribution: Distribution
    optuna: "BaseDistribution | None"
    """Optuna's counterpart; None where there is a single value, which is not suggested."""
    mapped: bool
    """Whether the counterpart is the unit interval, and suggestions are mapped by ``distribution.from_unit``."""

    @classmethod
    def of(cls, name: str, distribution: Distribution) -> "OptunaDimension":
        """The dimension with Optuna's exact counterpart of ``distribution`` if there is one, else the unit interval."""
        from optuna.distributions import FloatDistribution

        if num_values(distribution) == 1:
            return cls(name=name, distribution=distribution, optuna=None, mapped=False)
        try:
            return cls(name=name, distribution=distribution, optuna=optuna_distribution(distribution), mapped=False)
        except SpaceError:
            unit = FloatDistribution(0.0, _BELOW_ONE)
            return cls(name=name, distribution=distribution, optuna=unit, mapped=True)

    def suggest(self, trial: "Trial") -> HyperparameterValue:
        """The value that ``trial`` suggests, of the type that the distribution gives."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        match self.optuna:
            case FloatDistribution(low=low, high=high, log=log, step=step):
                return self.value(trial.suggest_float(self.name, low, high, log=log, step=step))
            case IntDistribution(low=low, high=high, log=log, step=step):
                return self.value(trial.suggest_int(self.name, low, high, log=log, step=step))
            case CategoricalDistribution(choices=choices):
                return self.value(trial.suggest_categorical(self.name, choices))
        return self.distribution.from_unit(0.0)

    def value(self, suggested: Any) -> HyperparameterValue:
        """What a suggestion means."""
        if self.mapped:
            return self.distribution.from_unit(suggested)
        if isinstance(self.distribution, Uniform) and self.distribution.step is not None:
            # Optuna's steps are off by rounding errors: 0.15000000000000002 for 0.15.
            return self.distribution.value_at(round((suggested - self.distribution.low) / self.distribution.step))
        # A sampler of the user's may give numpy's floats, which no YAML or JSON writer takes.
        return float(suggested) if isinstance(suggested, float) else suggested

    def suggestion(self, value: HyperparameterValue) -> Any:
        """A suggestion that means ``value``, as nearly as doubles allow.

        Raises:
            SpaceError: If the dimension cannot have ``value``.
        """
        found = self._unit_of(value) if self.mapped else self._own(value)
        if found is None:
            raise SpaceError(
                f"{self.name}: the recorded {value!r} is not in this space; give the space it was drawn in"
            )
        return found

    def _own(self, value: HyperparameterValue) -> HyperparameterValue | None:
        """``value`` if Optuna's counterpart has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        match self.optuna:
            case CategoricalDistribution(choices=choices):
                known = any(same(value, choice) for choice in choices)
            case FloatDistribution(low=low, high=high) | IntDistribution(low=low, high=high):
                known = is_number(value) and low <= value <= high
            case _:
                known = same(value, self.distribution.from_unit(0.0))
        return value if known else None

    def _unit_of(self, value: HyperparameterValue) -> float | None:
        """A unit that maps to ``value``: by bisection for numbers, which never decrease, else by trying many."""
        if is_number(value) and is_number(self.distribution.from_unit(0.0)):
            unit = self._bisected(value)
            if math.isclose(float(self.distribution.from_unit(unit)), value, rel_tol=1e-9, abs_tol=1e-12):
                return unit
        centres = ((i + 0.5) / _CELLS for i in range(_CELLS))
        return next((unit for unit in centres if same(self.distribution.from_unit(unit), value)), None)

    def _bisected(self, value: float) -> float:
        low, high = 0.0, _BELOW_ONE
        while (middle := (low + high) / 2) not in (low, high):
            low, high = (middle, high) if float(self.distribution.from_unit(middle)) < value else (low, middle)
        return low if self.distribution.from_unit(low) == value else high
