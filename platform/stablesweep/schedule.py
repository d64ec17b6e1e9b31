"""Which pack comes next: those of settled trials, then those that results make possible. Knows nothing of Ray."""

import time
from collections.abc import Callable, Sequence

from dashboards.selection import SEARCH
from stablesweep.ledger import Trial
from stablesweep.messages import Message, TrialEnded, TrialStarted
from stablesweep.outcomes import Outcomes
from stablesweep.packs import TrialPack, make_packs
from stablesweep.search import ArmSearch
from stablesweep.settling import settle
from stablesweep.study import Study


class Schedule:
    """Hands out packs while a study runs.

    Args:
        study: The study.
        trials: The whole ledger; some of its trials may not be settled yet.
        outcomes: What is known of results; it grows while packs train.
        keep: Called with trials that have just been settled: makes that durable, before any of them is handed out.
        give_up: Called with messages about trials that can never be settled.
    """

    def __init__(
        self,
        study: Study,
        trials: Sequence[Trial],
        outcomes: Outcomes,
        *,
        keep: Callable[[Sequence[Trial]], None],
        give_up: Callable[[Sequence[Message]], None],
    ) -> None:
        self._study, self._outcomes = study, outcomes
        self._keep, self._give_up = keep, give_up
        self._trials = {trial.key: trial for trial in trials}
        self._searches = {arm.name: ArmSearch(study, arm) for arm in study.arms} if study.phases.search else {}
        self._handed_out: set[str] = set()
        self._queue: list[TrialPack] = []
        self._enqueue()

    def next(self) -> TrialPack | None:
        """The next pack; None while none is ready, and for good once :meth:`done`."""
        self._advance()
        if not self._queue:
            return None
        # A search keeps all that follows it waiting.
        chosen = next((pack for pack in self._queue if pack.first.phase == SEARCH), self._queue[0])
        self._queue.remove(chosen)
        return chosen

    def done(self) -> bool:
        """Whether no pack is left, and no result can make one ready."""
        self._advance()
        missing = (key for key in self._handed_out if self._outcomes.final(key) is None)
        return not self._queue and not any(missing)

    def searched(self, arm: str) -> list[Trial]:
        """The trials of an arm's search, in order of their draws."""
        own = [trial for trial in self._trials.values() if trial.phase == SEARCH and trial.arm == arm]
        return sorted(own, key=lambda trial: trial.draw)

    def ended(self, pack: TrialPack, reason: str | None) -> None:
        """Note that a pack has ended.

        Args:
            pack: A pack that was handed out.
            reason: Why Ray gave it up; None if it did not. Its trials without a result are then lost.
        """
        if reason is not None:
            missing = [trial.key for trial in pack.trials if self._outcomes.final(trial.key) is None]
            self._outcomes.note([TrialEnded(key=key, status="lost", reason=reason) for key in missing])

    def _advance(self) -> None:
        """Settle whatever results make possible, until nothing changes."""
        while self._settle_searches() or self._settle_phases():
            self._enqueue()

    def _settle_searches(self) -> bool:
        settled: list[Trial] = []
        for arm, search in self._searches.items():
            settled.extend(search.next_round(self.searched(arm), self._outcomes))
        self._take(settled)
        return bool(settled)

    def _settle_phases(self) -> bool:
        found = settle(self._study, list(self._trials.values()), self._outcomes)
        self._take(found.trials)
        messages: list[Message] = []
        for key, reason in found.hopeless.items():
            trial = self._trials[key]
            pack = f"{trial.phase}~{trial.arm}~none".replace("/", "~").replace(":", "~")
            messages.append(TrialStarted(key=key, pack=pack, started=time.time()))
            messages.append(TrialEnded(key=key, status="failed", reason=reason))
        if messages:
            self._give_up(messages)
            self._outcomes.note(messages)
        return bool(found.trials or messages)

    def _take(self, settled: Sequence[Trial]) -> None:
        if settled:
            self._keep(settled)
            self._trials |= {trial.key: trial for trial in settled}

    def _enqueue(self) -> None:
        """Queue the packs of trials that are settled, have no result and were not queued before."""
        settled = [trial for trial in self._trials.values() if trial.settled]
        finished = {trial.key for trial in settled if self._outcomes.final(trial.key) is not None}
        share = self._study.trainable is None
        for pack in make_packs(settled, self._study.pack.size, finished | self._handed_out, share_batches=share):
            self._handed_out |= {trial.key for trial in pack.trials}
            self._queue.append(pack)
