"""Packs: which trials train together."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dashboards.selection import FIXED
from stablesweep.ledger import Trial


@dataclass(frozen=True, slots=True)
class TrialPack:
    """Trials of one arm and phase that one Ray Train worker group trains in lockstep."""

    name: str
    """``phase/arm/pNNN`` with ``~`` for ``/``, of a given setting ``phase/arm/eEPOCHS/pNNN``: a folder name, the same
    whenever the study and pack size are."""
    trials: tuple[Trial, ...]

    @property
    def first(self) -> Trial:
        """Any trial: all have the same arm, phase and epochs."""
        return self.trials[0]


def make_packs(trials: Sequence[Trial], size: int, finished: Collection[str] = ()) -> list[TrialPack]:
    """Partition the ledger by arm and phase, ``size`` trials a pack, then leave out the finished trials.

    The partition is made over the whole ledger, so that a trial keeps its pack when a study is continued.

    Args:
        trials: The ledger's rows, sorted by key.
        size: At most so many trials a pack.
        finished: Keys of trials that need no training any more.

    Returns:
        The packs that still have something to train, those of different arms taking turns.
    """
    by_arm: dict[tuple[str, str, int], list[Trial]] = {}
    # By number: as a text, replicate 10 would come before replicate 2 and move all that follow to other packs.
    for trial in sorted(trials, key=lambda trial: (trial.phase, trial.arm, trial.draw, trial.replicate)):
        by_arm.setdefault((trial.phase, trial.arm, trial.epochs), []).append(trial)
    numbered = [
        (number, TrialPack(_pack_name(group[0], number), tuple(group[start : start + size])))
        for group in by_arm.values()
        for number, start in enumerate(range(0, len(group), size))
    ]
    numbered.sort(key=lambda pair: pair[0])
    left = (TrialPack(pack.name, tuple(t for t in pack.trials if t.key not in finished)) for _, pack in numbered)
    return [pack for pack in left if pack.trials]


def _pack_name(trial: Trial, number: int) -> str:
    # A phase of given settings has several lengths, and a pack has one.
    length = f"/e{trial.epochs}" if trial.sampler == FIXED else ""
    return f"{trial.phase}/{trial.arm}{length}/p{number:03d}".replace("/", "~").replace(":", "~")
