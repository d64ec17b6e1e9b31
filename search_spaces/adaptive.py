"""Adaptive search: batches of settings asked of one of Optuna's samplers, and told what came of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from search_spaces.distributions import num_values
from search_spaces.optuna_dimension import OptunaDimension
from search_spaces.optuna_samplers import SamplerConfig, make_sampler, quiet_optuna
from search_spaces.space import SearchSpace
from search_spaces.values import HyperparameterValue, SpaceError

if TYPE_CHECKING:
    from optuna import Trial

CHANCE = 100.0
"""The error of a model that is never right, percent: what a diverged trial counts as, at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What came of one asked setting."""

    status: str
    """``completed``, ``diverged``, ``pruned``, ``failed``; anything else, such as ``lost``, counts as failed."""
    error: float | None = None
    """What is minimised, percent; None unless completed. A completed trial without a finite one counts as diverged."""
    curve: tuple[float, ...] = ()
    """The error after each epoch done, percent."""


class AdaptiveSearch:
    """One search by one of Optuna's samplers, in batches, that a new process can take up from its results alone.

    Settings are suggested define-by-run, parents before children, with Optuna's own distributions: asked one at a time
    over an unconditional space this gives the same settings as a plain Optuna loop with this sampler and seed. A
    dimension that Optuna has no exact counterpart of is suggested as a float in [0, 1) and mapped; one with a single
    value is not suggested. Every trial of a batch is asked before any is told.

    Nothing of the sampler is saved. After a restart a new object with the same arguments is led through the record,
    ``ask(n, recorded)`` and ``tell(results)`` for each batch; its sampler is asked the same way as the first one was,
    so that it stands where that one stood and goes on as if nothing had happened. Where it suggests something else than
    was recorded (another version of Optuna, another result) the recorded setting stands and the search goes on.

    Args:
        space: What is searched.
        sampler: A name of :func:`~search_spaces.optuna_samplers.adaptive_sampler_names`, a mapping with such a ``name``
            whose other keys are arguments of the constructor in Optuna, or a sampler of Optuna, which is copied.
        seed: Of the sampler, unless its arguments have one; a sampler object keeps its own.

    Raises:
        SpaceError: If the sampler cannot be made, or cannot search this space.

    Source: own, on Optuna's ask-and-tell interface.
    """

    def __init__(self, space: SearchSpace, sampler: SamplerConfig, *, seed: int) -> None:
        import optuna

        from search_spaces.recorded_sampler import RecordedSampler

        made = make_sampler(sampler, seed=seed)
        self._space = space
        self._dimensions = {name: OptunaDimension.of(name, space.distribution(name)) for name in space.order}
        if isinstance(made, optuna.samplers.BruteForceSampler):
            _require_finite(self._dimensions)
        with quiet_optuna():
            self._sampler = RecordedSampler(made)
            self._study = optuna.create_study(sampler=self._sampler)
        self._asked: list[Trial] = []
        self._worst = CHANCE

    def ask(
        self, count: int, recorded: Sequence[Mapping[str, HyperparameterValue]] | None = None
    ) -> list[dict[str, HyperparameterValue]]:
        """The next batch of settings.

        Args:
            count: How many.
            recorded: The settings of this batch in the order in which they were asked, if it was asked before a
                restart; they come back, and further names in them are ignored.

        Returns:
            For each setting the values of its active dimensions, in the space's own order and of the types that the
            space gives. A finite space may be used up, and genetic samplers keep parents: settings then repeat.

        Raises:
            SpaceError: If the last batch has not been told, ``recorded`` is of another length or not of this space, or
                the sampler fails.
        """
        if self._asked:
            raise SpaceError(f"ask: {len(self._asked)} settings of the last batch have no result; tell them first")
        if recorded is not None and len(recorded) != count:
            raise SpaceError(f"ask: {count} settings asked but {len(recorded)} recorded; give one for each")
        for setting in recorded or ():
            self._require_of_this_space(setting)
        settings = recorded if recorded is not None else [None] * count
        with _sampler_errors():
            return [self._ask_one(setting) for setting in settings]

    def tell(self, results: Sequence[Told]) -> None:
        """Report the results of the last batch, in the order in which it was asked.

        Completed trials count with their error, diverged ones with the largest error told so far and at least
        ``CHANCE``, pruned and failed ones as such; no value that is not finite reaches the sampler.

        Raises:
            SpaceError: If there are more or fewer results than settings in the last batch, or the sampler fails.
        """
        if len(results) != len(self._asked):
            raise SpaceError(f"tell: {len(results)} results for {len(self._asked)} asked settings; give one for each")
        self._worst = max([self._worst, *(error for told in results if (error := _finite_error(told)) is not None)])
        with _sampler_errors():
            for trial, told in zip(self._asked, results, strict=True):
                self._tell_one(trial, told)
        self._asked = []

    def _ask_one(self, recorded: Mapping[str, HyperparameterValue] | None) -> dict[str, HyperparameterValue]:
        self._sampler.decide = _suggested if recorded is None else partial(self._recorded, recorded)
        trial = self._study.ask()
        self._asked.append(trial)
        values: dict[str, HyperparameterValue] = {}
        for name in self._space.order:
            if self._space.is_active(name, values):
                value = self._dimensions[name].suggest(trial)
                # A mapped dimension may miss a recorded float by a rounding error.
                values[name] = value if recorded is None or recorded[name] == value else recorded[name]
        return {name: values[name] for name in self._space if name in values}

    def _recorded(self, setting: Mapping[str, HyperparameterValue], name: str, suggested: Any) -> Any:
        """What Optuna's trial gets: the suggestion if it means the recorded value, else that value in Optuna's terms.

        Several suggestions may map to one value, and the sampler learns from the suggestion.
        """
        dimension = self._dimensions[name]
        if name not in setting or dimension.value(suggested) == setting[name]:
            return suggested
        return dimension.suggestion(setting[name])

    def _require_of_this_space(self, setting: Mapping[str, HyperparameterValue]) -> None:
        values: dict[str, HyperparameterValue] = {}
        for name in self._space.order:
            if self._space.is_active(name, values):
                if name not in setting:
                    raise SpaceError(
                        f"ask: a recorded setting has no {name}; a search goes on in the space it began in"
                    )
                self._dimensions[name].suggestion(setting[name])
                values[name] = setting[name]

    def _tell_one(self, trial: "Trial", told: Told) -> None:
        from optuna.trial import TrialState

        for epoch, error in enumerate(told.curve, start=1):
            if math.isfinite(error):
                trial.report(error, step=epoch)
        if told.status in ("completed", "diverged"):
            final = _finite_error(told)
            self._study.tell(trial, self._worst if final is None else final)
        else:
            self._study.tell(trial, state=TrialState.PRUNED if told.status == "pruned" else TrialState.FAIL)


def _finite_error(told: Told) -> float | None:
    known = told.status == "completed" and told.error is not None and math.isfinite(told.error)
    return told.error if known else None


def _suggested(name: str, suggested: Any) -> Any:
    return suggested


@contextmanager
def _sampler_errors() -> Iterator[None]:
    try:
        with quiet_optuna():
            yield
    except SpaceError:
        raise
    except Exception as error:
        # Optuna keeps most arguments of a sampler unchecked until it needs them.
        raise SpaceError(f"the sampler fails with {type(error).__name__}: {error}; check its arguments") from error


def _require_finite(dimensions: Mapping[str, OptunaDimension]) -> None:
    for name, dimension in dimensions.items():
        if dimension.mapped or num_values(dimension.distribution) is None:
            raise SpaceError(
                f"brute_force: {name} is no list of values for Optuna; write a choice or take another sampler"
            )
