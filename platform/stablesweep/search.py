"""The adaptive search of one arm: which of its trials come next, with which hyperparameters."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace

from search_spaces import AdaptiveSearch, Told
from stablesweep.arms import Arm
from stablesweep.outcomes import Outcome, Outcomes
from stablesweep.study import Study
from stablesweep.trials import Trial


def search_seed(study_seed: int, arm: str) -> int:
    """The seed of an arm's sampler: 31 bits of a digest of (study seed, arm). Source: own."""
    text = f"stablesweep search seed\0{study_seed}\0{arm}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def told(outcome: Outcome) -> Told:
    """A result as the sampler is told it."""
    return Told(status=outcome.status, error=outcome.error, curve=outcome.curve)


class ArmSearch:
    """Asks an Optuna sampler for a round of trials at a time, and tells it every result of the rounds before.

    A round's suggestions are a function of the study's seed, the arm and the results of earlier rounds. So a search that is
    continued in another process asks and tells again what was asked and told, and goes on as if never interrupted.

    Args:
        study: The study; it has a phase ``search``.
        arm: The arm.
    """

    def __init__(self, study: Study, arm: Arm) -> None:
        self._study, self._arm = study, arm
        self._search: AdaptiveSearch | None = None
        self._asked: list[tuple[str, ...]] = []
        self._told = 0

    def next_round(self, trials: Sequence[Trial], outcomes: Outcomes) -> list[Trial]:
        """The trials of the next round with their hyperparameters; none while results are missing, or when all are settled.

        Args:
            trials: All trials of this search, in order of their draws.
            outcomes: What is known of results.

        Raises:
            SpaceError: If the sampler has no more to suggest, or cannot go on.
        """
        settled = [trial for trial in trials if trial.settled]
        waiting = [trial for trial in trials if not trial.settled and outcomes.final(trial.key) is None]
        if not waiting or not outcomes.all_final(trial.key for trial in settled):
            return []
        search = self._replayed(settled, outcomes)
        members = [trial for trial in waiting if trial.round == waiting[0].round]
        suggested = search.ask(len(members))
        self._asked.append(tuple(trial.key for trial in members))
        return [replace(trial, hyperparameters=values) for trial, values in zip(members, suggested, strict=True)]

    def _replayed(self, settled: Sequence[Trial], outcomes: Outcomes) -> AdaptiveSearch:
        """The sampler, told all results; what an earlier session asked for is asked for again."""
        phase = self._study.phases.search
        assert phase is not None
        if self._search is None:
            seed = search_seed(self._study.seed, self._arm.name)
            self._search = AdaptiveSearch(self._study.space_of(self._arm), phase.sampler, seed=seed)
        here = {key for keys in self._asked for key in keys}
        earlier = itertools.groupby(
            (trial for trial in settled if trial.key not in here), key=lambda trial: trial.round
        )
        for _, group in earlier:
            members = list(group)
            self._search.ask(len(members), recorded=[dict(trial.hyperparameters) for trial in members])
            self._asked.append(tuple(trial.key for trial in members))
            self._tell(outcomes)
        self._tell(outcomes)
        return self._search

    def _tell(self, outcomes: Outcomes) -> None:
        assert self._search is not None
        for keys in self._asked[self._told :]:
            self._search.tell([told(outcome) for outcome in outcomes.finals(keys)])
        self._told = len(self._asked)
