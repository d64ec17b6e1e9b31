"""Packs: which trials train together."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from dashboards.selection import FIXED, SEARCH
from stablesweep.checkpoints import Seal
from stablesweep.trials import Trial
from trainables.hyperparameters import shared_values

if TYPE_CHECKING:
    from stablesweep.study import Study

Group: TypeAlias = tuple[str, str, int, int, str]
"""Phase, arm, epochs, round of a search, digest of the values that shape the batches: equal for all trials of a pack."""


@dataclass(frozen=True, slots=True)
class TrialPack:
    """Trials of one arm and phase that one Ray Train worker group trains in lockstep."""

    name: str
    """``phase/arm/pNNN`` with ``~`` for ``/``; before ``pNNN`` stand ``eEPOCHS`` of a given setting, ``rNNN`` of a round of a search,
    a digest of the values that shape the batches, and ``sSIZE`` where memory allows fewer than the study asks for. A folder name, the same whenever the study and
    pack size are."""
    trials: tuple[Trial, ...]
    split_from: tuple[str, ...] = ()
    """The packs that it is a part of, the last one first."""

    @property
    def first(self) -> Trial:
        """Any trial: all have the same arm, phase and epochs."""
        return self.trials[0]


def compared(pack: TrialPack, study: "Study") -> bool:
    """Whether pruning compares the members of a pack with each other, so that they train together where memory lets them."""
    search = study.phases.search
    return pack.first.phase == SEARCH and search is not None and search.pruning is not None


def make_packs(
    trials: Sequence[Trial],
    size: int,
    finished: Collection[str] = (),
    *,
    share_batches: bool = True,
    at_most: Mapping[str, int] | None = None,
) -> list[TrialPack]:
    """Partition the ledger by arm and phase, ``size`` trials a pack, then leave out the finished trials.

    The partition is made over the whole ledger, so that a trial keeps its pack when a study is continued.

    Args:
        trials: The ledger's rows, sorted by key.
        size: At most so many trials a pack.
        finished: Keys of trials that need no training any more.
        share_batches: Whether the trials of a pack share each batch, so that what shapes batches must be equal in them.
        at_most: By arm, how many trials fit into memory; of all other arms ``size`` do.

    Returns:
        The packs that still have something to train, those of different arms taking turns.
    """
    groups: dict[Group, list[Trial]] = {}
    # By number: as a text, replicate 10 would come before replicate 2 and move all that follow to other packs.
    for trial in sorted(trials, key=lambda trial: (trial.phase, trial.arm, trial.draw, trial.replicate)):
        groups.setdefault(_group(trial, share_batches), []).append(trial)
    sizes = {trial.arm: min(size, (at_most or {}).get(trial.arm, size)) for trial in trials}
    numbered = [
        # Of another size they are other packs, and must not take each other's checkpoints away.
        (
            number,
            TrialPack(_pack_name(key, group[0], number, of if of < size else None), tuple(group[start : start + of])),
        )
        for key, group in groups.items()
        for of in (sizes[group[0].arm],)
        for number, start in enumerate(range(0, len(group), of))
    ]
    numbered.sort(key=lambda pair: pair[0])
    left = (replace(pack, trials=tuple(t for t in pack.trials if t.key not in finished)) for _, pack in numbered)
    return [pack for pack in left if pack.trials]


def split(pack: TrialPack, size: int) -> list[TrialPack]:
    """A pack in parts of at most ``size`` trials, which go on from its checkpoint."""
    return [_part(pack, pack.trials[start : start + size]) for start in range(0, len(pack.trials), size)]


def spread(pack: TrialPack, packs: int, slots: int) -> list[TrialPack]:
    """A pack in parts, so that ``packs`` packs, this one among them, become enough for ``slots`` workers that train side by side."""
    parts = min(-(-slots // packs), len(pack.trials))
    return [pack] if parts <= 1 else split(pack, -(-len(pack.trials) // parts))


def along_checkpoints(pack: TrialPack, stored: Iterable[Seal]) -> list[TrialPack]:
    """A pack divided as it was when it was trained before, so that each trial goes on from where it is furthest.

    Args:
        pack: The pack.
        stored: The seal of each checkpoint that there is, in any order.
    """
    groups: list[tuple[Trial, ...]] = []
    left = pack.trials
    for seal in sorted(stored, key=lambda seal: (-seal.epoch, -seal.step, -len(seal.keys), seal.keys)):
        groups.append(tuple(trial for trial in left if trial.key in seal.keys))
        left = tuple(trial for trial in left if trial.key not in seal.keys)
    parts = [group for group in (*groups, left) if group]
    return [pack] if len(parts) == 1 else [_part(pack, part) for part in parts]


def _part(pack: TrialPack, trials: tuple[Trial, ...]) -> TrialPack:
    # By what is in it: however a pack is divided another time, two parts of one name hold the same trials.
    digest = hashlib.sha256("\n".join(trial.key for trial in trials).encode()).hexdigest()[:8]
    return TrialPack(f"{pack.name}~{len(trials)}of{len(pack.trials)}~{digest}", trials, (pack.name, *pack.split_from))


def _group(trial: Trial, share_batches: bool) -> Group:
    shared = shared_values(trial.optimizer, trial.hyperparameters) if share_batches else ()
    digest = hashlib.sha256(json.dumps(shared).encode()).hexdigest()[:8] if shared else ""
    return trial.phase, trial.arm, trial.epochs, -1 if trial.round is None else trial.round, digest


def _pack_name(group: Group, first: Trial, number: int, size: int | None) -> str:
    phase, arm, epochs, of_search, digest = group
    # A phase of given settings has several lengths, and a pack has one.
    parts = [phase, arm, f"e{epochs}" if first.sampler == FIXED else ""]
    of_size = "" if size is None else f"s{size}"
    return pack_name(*parts, f"r{of_search:03d}" if of_search >= 0 else "", digest, of_size, f"p{number:03d}")


def pack_name(*parts: str) -> str:
    """The parts that are not empty as the name of a folder."""
    return "/".join(part for part in parts if part).replace("/", "~").replace(":", "~")
