"""A sampler of Optuna that can be led through what an earlier process did. Imports Optuna: import it where needed."""

from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class RecordedSampler(BaseSampler):
    """Asks another sampler, and lets ``decide`` replace what it suggests.

    The other sampler is asked the same way whether its suggestion is taken or not: its generator and what it notes in
    the study (a generation, its place in a sequence) then stand as they stood in the process that made the record. A
    recorded setting that differs becomes a trial like any other, where enqueued or added trials would be unknown to
    CMA-ES and a trial closed as failed would count as visited for exhaustive search.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self.decide: Callable[[str, Any], Any] = _take
        """From a dimension's name and its suggested value to the value that the trial gets."""

    def reseed_rng(self) -> None:
        """As the other sampler."""
        self._sampler.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the other sampler."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What ``decide`` makes of the other sampler's joint suggestion."""
        suggested = self._sampler.sample_relative(study, trial, search_space)
        return {name: self.decide(name, value) for name, value in suggested.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """What ``decide`` makes of the other sampler's suggestion for one dimension."""
        return self.decide(param_name, self._sampler.sample_independent(study, trial, param_name, param_distribution))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the other sampler."""
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the other sampler, without its wish to stop: how many trials there are is the caller's decision."""
        try:
            self._sampler.after_trial(study, trial, state, values)
        except RuntimeError as error:
            # Exhaustive samplers call Study.stop, which raises outside of Study.optimize.
            if "Study.stop" not in str(error):
                raise


def _take(name: str, suggested: Any) -> Any:
    return suggested
