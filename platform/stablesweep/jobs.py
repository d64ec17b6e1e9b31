"""From packs to jobs: what Ray is handed, with everything that a worker needs."""

from collections.abc import Callable, Sequence

from dashboards.selection import SEARCH
from stablesweep.checkpoints import Seal
from stablesweep.imports import other_entries, user_modules
from stablesweep.job import PackJob
from stablesweep.outcomes import Outcomes
from stablesweep.packs import TrialPack
from stablesweep.preflight import dataset_options
from stablesweep.schedule import Schedule
from stablesweep.study import Study
from stablesweep.trials import Trial
from trainables import Member

NO_RESULT = "its pack ended without its result"


class JobSource:
    """The packs of a schedule as jobs; a :class:`stablesweep.driver.PackSource`.

    Args:
        study: The study.
        schedule: Says which pack comes next.
        outcomes: What is known of results: pruning compares with them.
        flush: Waits until all messages that were sent have been taken in; False if nobody takes them in any more.
        storage: The study's folder for checkpoints, a path or a URI.
        stored: The packs that have checkpoints there, and the seal of each one's newest.
    """

    def __init__(
        self,
        study: Study,
        schedule: Schedule,
        outcomes: Outcomes,
        flush: Callable[[], bool],
        storage: str,
        stored: Sequence[tuple[str, Seal]],
    ) -> None:
        self._study, self._schedule, self._outcomes, self._flush = study, schedule, outcomes, flush
        self._storage = storage
        self._stored = [(name, frozenset(seal.keys)) for name, seal in stored]
        self._packs: dict[str, TrialPack] = {}
        self._out: set[str] = set()
        self._modules, self._entries = user_modules(study.imports), other_entries()
        self._dataset_options = dataset_options(study)

    def next(self, slots: int) -> PackJob | None:
        """The next pack's job; None while none is ready. So many workers wait for a pack, now or soon."""
        pack = self._schedule.next(slots)
        if pack is None:
            return None
        self._packs[pack.name] = pack
        self._out.add(pack.name)
        return self._job(pack)

    def done(self) -> bool:
        """Whether no pack is left."""
        if not self._out and self._flush():
            # No pack trains and all messages are in: what has no result now would be waited for without end.
            for pack in self._packs.values():
                self._schedule.ended(pack, NO_RESULT)
        return self._schedule.done()

    def ended(self, name: str, reason: str | None, too_large: str | None = None) -> None:
        """Note that a pack has ended, why Ray gave it up if it did, and what it had too little memory for if so."""
        self._out.discard(name)
        if (reason is not None or too_large is not None) and not self._flush():
            # Nobody took in what the pack still said: whether its trials have results is for the next run to find out.
            return
        if too_large is not None:
            self._schedule.too_large(self._packs[name], too_large)
        else:
            self._schedule.ended(self._packs[name], reason)

    def _job(self, pack: TrialPack) -> PackJob:
        study, first = self._study, pack.first
        arm = next(one for one in study.arms if one.name == first.arm)
        model = None if study.trainable is not None else study.model_of(arm)
        search = study.phases.search if first.phase == SEARCH else None
        pruning = None if search is None else search.pruning
        return PackJob(
            name=pack.name,
            members=tuple(
                Member(key=trial.key, seed=trial.seed, hyperparameters=dict(trial.hyperparameters))
                for trial in pack.trials
            ),
            model=arm.model if model is None else model.base,
            model_options={} if model is None else model.options,
            optimizer=arm.optimizer,
            epochs=first.epochs,
            recipe=study.recipe,
            dataset="" if study.dataset is None else study.dataset.name,
            dataset_options=self._dataset_options,
            trainable=None if study.trainable is None else study.trainable.name,
            trainable_options={} if study.trainable is None else study.trainable.options,
            study_seed=study.seed,
            storage=self._storage,
            earlier_packs=self._earlier_packs(pack),
            checkpoint_every_s=study.pack.checkpoint_every_s,
            decode_workers=study.pack.decoders,
            gpus=study.pack.gpus,
            mode=study.pack.mode,
            pruning=pruning,
            earlier=() if pruning is None else self._earlier(pack),
            modules=self._modules,
            entries=self._entries,
        )

    def _earlier_packs(self, pack: TrialPack) -> tuple[str, ...]:
        """The packs whose checkpoints this one can go on from: those it was split from, and those of an earlier run."""
        keys = {trial.key for trial in pack.trials}
        holding = sorted(name for name, held in self._stored if keys <= held)
        return tuple(dict.fromkeys(name for name in (*pack.split_from, *holding) if name != pack.name))

    def _earlier(self, pack: TrialPack) -> tuple[tuple[float, ...], ...]:
        """The curves of the search's trials of earlier rounds, and of those of this round that ended in another session."""
        own = self._schedule.searched(pack.first.arm)
        before = [trial.key for trial in own if _not_after(trial, pack.trials)]
        return tuple(outcome.curve for outcome in self._outcomes.finals(before))


def _not_after(trial: Trial, members: Sequence[Trial]) -> bool:
    return trial.round is not None and members[0].round is not None and trial.round <= members[0].round
