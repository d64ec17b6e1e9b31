"""Which pack comes next: those of settled trials, then those that results make possible. Knows nothing of Ray."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dashboards.selection import SEARCH
from search_spaces import SpaceError
from stablesweep.centres import Setting
from stablesweep.checkpoints import Seal
from stablesweep.messages import Message, TrialEnded, TrialStarted
from stablesweep.outcomes import Outcomes
from stablesweep.packs import TrialPack, along_checkpoints, compared, make_packs, pack_name, split, spread
from stablesweep.search import ArmSearch
from stablesweep.settling import settle
from stablesweep.sources import group_name
from stablesweep.study import Study
from stablesweep.trials import Trial, with_one_type, with_settings


class Schedule:
    """Hands out packs while a study runs.

    Args:
        study: The study.
        trials: The whole ledger; some of its trials may not be settled yet.
        outcomes: What is known of results; it grows while packs train.
        settings: What groups of trials were settled with before, by :func:`stablesweep.sources.group_name`.
        keep: Called with trials that have just been settled, and what their groups were settled with: makes that durable, before any
            of them is handed out.
        give_up: Called with messages about trials that are lost: makes that durable.
        at_most: By arm, how many trials a pack may have, where memory has shown that they do not all fit.
        remember: Called with an arm and the new number of trials that its packs may have: makes that durable.
        stored: The seal of each pack's newest checkpoint.
    """

    def __init__(
        self,
        study: Study,
        trials: Sequence[Trial],
        outcomes: Outcomes,
        *,
        settings: Mapping[str, Setting],
        keep: Callable[[Sequence[Trial], Mapping[str, Setting]], None],
        give_up: Callable[[Sequence[Message]], None],
        at_most: Mapping[str, int] | None = None,
        remember: Callable[[str, int], None] = lambda _arm, _size: None,
        stored: Sequence[Seal] = (),
    ) -> None:
        self._study, self._outcomes, self._settings = study, outcomes, dict(settings)
        self._keep, self._give_up, self._remember = keep, give_up, remember
        self._at_most = dict(at_most or {})
        self._seals: dict[str, list[Seal]] = {}
        for seal in stored:
            for key in seal.keys:
                self._seals.setdefault(key, []).append(seal)
        self._trials = {trial.key: trial for trial in trials}
        self._searches = {arm.name: ArmSearch(study, arm) for arm in study.arms} if study.phases.search else {}
        self._handed_out: set[str] = set()
        self._names: set[str] = set()
        self._begun: set[str] = set()
        self._parts: set[str] = set()
        self._queue: list[TrialPack] = []
        self._enqueue()

    def next(self, slots: int = 1) -> TrialPack | None:
        """The next pack; None while none is ready, and for good once :meth:`done`.

        Args:
            slots: How many workers wait for a pack, now or soon. If there are fewer packs, this one is divided, once.
        """
        self._advance()
        if not self._queue:
            return None
        # A search keeps all that follows it waiting.
        chosen = next((pack for pack in self._queue if pack.first.phase == SEARCH), self._queue[0])
        at = self._queue.index(chosen)
        chosen, *rest = self._spread(chosen, slots)
        self._queue[at : at + 1] = rest
        self._begun.add(chosen.name)
        return chosen

    def _spread(self, pack: TrialPack, slots: int) -> list[TrialPack]:
        if pack.name in self._parts or not self._study.pack.spread or compared(pack, self._study):
            return [pack]
        parts = spread(pack, len(self._queue), slots)
        if len(parts) == 1:
            return [pack]
        parts = [replace(part, name=self._new_name(part.name)) for part in parts]
        self._parts |= {part.name for part in parts}
        return parts

    def done(self) -> bool:
        """Whether no pack is left, and no result can make one ready."""
        # Before anything is settled: a result that comes in meanwhile must be seen to be settled from.
        missing = any(self._outcomes.final(key) is None for key in self._handed_out)
        self._advance()
        return not self._queue and not missing

    def searched(self, arm: str) -> list[Trial]:
        """The trials of an arm's search, in order of their draws."""
        own = [trial for trial in self._trials.values() if trial.phase == SEARCH and trial.arm == arm]
        return sorted(own, key=lambda trial: trial.draw)

    def ended(self, pack: TrialPack, reason: str | None) -> None:
        """Note that a pack has ended; all its messages must have been taken in before.

        Args:
            pack: A pack that was handed out.
            reason: Why Ray gave it up; None if it did not. Its trials without a result are then lost.
        """
        if reason is not None:
            missing = [trial for trial in pack.trials if self._outcomes.final(trial.key) is None]
            self._lose({trial.key: reason for trial in missing}, pack.name)

    def too_large(self, pack: TrialPack, reason: str) -> None:
        """Note that a pack did not fit into memory; all its messages must have been taken in before.

        Its trials without a result train again in packs of half as many, and so do all later packs of the arm. A trial that does not
        fit alone is lost.

        Args:
            pack: A pack that was handed out.
            reason: What ran out, one line.
        """
        arm, size = pack.first.arm, -(-len(pack.trials) // 2)
        left = replace(pack, trials=tuple(t for t in pack.trials if self._outcomes.final(t.key) is None))
        if len(pack.trials) == 1:
            self._lose({t.key: f"out of memory although it trained alone ({reason})" for t in left.trials}, pack.name)
            return
        if size < self._at_most.get(arm, size + 1):
            self._at_most[arm] = size
            self._remember(arm, size)
        queued = [left, *self._queue] if left.trials else self._queue
        self._queue = [part for one in queued for part in self._fitting(one)]

    def _fitting(self, pack: TrialPack) -> list[TrialPack]:
        """The pack, or its parts if it would not fit into memory."""
        size = self._at_most.get(pack.first.arm, len(pack.trials))
        if len(pack.trials) <= size:
            # A pack that ran out of memory and lost members since may fit now; it needs another name to train again.
            return [pack if pack.name not in self._begun else replace(pack, name=self._new_name(pack.name))]
        return [replace(part, name=self._new_name(part.name)) for part in split(pack, size)]

    def _lose(self, reasons: Mapping[str, str], pack: str) -> None:
        messages: list[Message] = []
        for key, reason in reasons.items():
            curve = self._outcomes.curve(key)
            messages.append(TrialStarted(key=key, pack=pack, started=time.time()))
            best = min(curve, default=None)
            messages.append(TrialEnded(key=key, status="lost", reason=reason, best_error=best, epochs_done=len(curve)))
        if messages:
            self._give_up(messages)
            self._outcomes.note(messages)

    def _advance(self) -> None:
        """Settle whatever results make possible, until nothing changes."""
        while self._settle_searches() or self._settle_phases():
            self._enqueue()

    def _settle_searches(self) -> bool:
        settled: list[Trial] = []
        ended: dict[str, str] = {}
        for arm, search in self._searches.items():
            try:
                settled.extend(search.next_round(self.searched(arm), self._outcomes))
            except SpaceError as error:
                left = [trial for trial in self.searched(arm) if not trial.settled]
                ended |= {trial.key: str(error) for trial in left if self._outcomes.final(trial.key) is None}
        self._take(settled, {group_name(SEARCH, trial.arm): {} for trial in settled})
        self._give_up_unsettled(ended)
        return bool(settled or ended)

    def _give_up_unsettled(self, reasons: Mapping[str, str]) -> None:
        for key, reason in reasons.items():
            trial = self._trials[key]
            self._lose({key: reason}, pack_name(trial.phase, trial.arm, "none"))

    def _settle_phases(self) -> bool:
        found = settle(self._study, list(self._trials.values()), self._outcomes, self._settings)
        self._take(found.trials, found.settings)
        self._give_up_unsettled(found.hopeless)
        return bool(found.trials or found.hopeless)

    def _take(self, settled: Sequence[Trial], settings: Mapping[str, Setting]) -> None:
        if settled:
            everyone = with_settings(list(self._trials.values()), settled)
            everyone = with_one_type(self._study, everyone)
            keys = {trial.key for trial in settled}
            self._keep([trial for trial in everyone if trial.key in keys], settings)
            self._trials = {trial.key: trial for trial in everyone}
            self._settings |= settings

    def _enqueue(self) -> None:
        """Queue the packs of trials that are settled, have no result and were not queued before."""
        settled = [trial for trial in self._trials.values() if trial.settled]
        finished = {trial.key for trial in settled if self._outcomes.final(trial.key) is not None}
        share = self._study.trainable is None
        without = finished | self._handed_out
        size = self._study.pack.size
        for pack in make_packs(settled, size, without, share_batches=share, at_most=self._at_most):
            self._handed_out |= {trial.key for trial in pack.trials}
            seals = {seal for trial in pack.trials for seal in self._seals.get(trial.key, ())}
            parts = [pack] if compared(pack, self._study) else along_checkpoints(pack, seals)
            self._queue.extend(replace(part, name=self._new_name(part.name)) for part in parts)

    def _new_name(self, name: str) -> str:
        """``name``, or where a pack of that name was handed out before its last trials were settled, one like it."""
        names = itertools.chain([name], (f"{name}~{number}" for number in itertools.count(2)))
        chosen = next(one for one in names if one not in self._names)
        self._names.add(chosen)
        return chosen
