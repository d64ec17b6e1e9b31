"""What is worth knowing about the packs of a study before it runs, see :mod:`stablesweep.plan_remarks`."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from dashboards.selection import SEARCH, STABILITY
from search_spaces import Constant, Distribution, num_values
from stablesweep.arms import Arm
from stablesweep.packs import TrialPack, make_packs
from stablesweep.study import Study
from stablesweep.trials import Trial


def batch_shaping(study: Study, arm: Arm) -> dict[str, Distribution]:
    """The dimensions of an arm that say which batches are made: trials with different values cannot share a pack."""
    if study.trainable is not None:
        return {}
    from trainables.hyperparameters import SHARED_FIELDS
    from trainables.optimizers import optimizer_hyperparameters

    shared = SHARED_FIELDS - optimizer_hyperparameters(arm.optimizer)
    dimensions = study.dimensions_of(arm)
    return {name: node for name, node in dimensions.items() if name in shared and not isinstance(node, Constant)}


def splits_unknown(study: Study, arm: Arm, trials: Sequence[Trial]) -> bool:
    """Whether some of an arm's trials will get different values of what shapes batches, nobody knows which."""
    drawn = any(not trial.settled and trial.phase in (SEARCH, STABILITY) for trial in trials)
    return drawn and bool(batch_shaping(study, arm))


def splitting_warnings(study: Study, trials: Sequence[Trial], packs: Sequence[TrialPack]) -> Iterator[str]:
    """Of dimensions that keep trials from training together; for the arguments see :func:`stablesweep.plan_remarks.remarks`."""
    dimensions = {name: node for arm in study.arms for name, node in batch_shaping(study, arm).items()}
    drawing = study.phases.search is not None or study.phases.stability is not None
    if not dimensions or not drawing:
        return
    keys = {trial.key for pack in packs for trial in pack.trials}
    finished = [trial.key for trial in trials if trial.key not in keys]
    without = len(make_packs(trials, study.pack.size, finished, share_batches=False))
    unknown = any(splits_unknown(study, arm, [t for t in trials if t.arm == arm.name]) for arm in study.arms)
    single = [name for name, node in dimensions.items() if num_values(node) is None]
    if single:
        effect = "nearly every trial is a pack of its own"
    elif unknown:
        effect = "packs are split further as soon as the values are known"
    else:
        effect = f"there are {len(packs)} packs where there could be {without}"
    yield (
        f"space: trials that differ in {listed(sorted(single or dimensions))} cannot share their batches, so that {effect}; fix it in the "
        "recipe, or give it few values"
    )


def size_warnings(study: Study, packs: Sequence[TrialPack], at_once: int) -> Iterator[str]:
    """Of a size of packs that costs time; for the arguments see :func:`stablesweep.plan_remarks.remarks`."""
    groups = _stability_groups(study, packs)
    size, count = study.pack.size, max(groups.values(), default=0)
    left_over, small = count % size, sum(of % size > 0 for of in groups.values())
    # Fewer last packs than workers would be divided even if they were full.
    divided = study.pack.spread and small < at_once
    # A pack prepares all batches anew, for however few trials; for as many as half a pack it is worth it.
    if count > size and 0 < left_over <= size / 4 and not divided:
        better = math.ceil(count / (count // size))
        yield (
            f"pack.size: {size} leaves {left_over} of an arm's {count} trials to a pack of their own, which reads and augments all "
            f"batches for these alone; --set pack.size={better} leaves none"
        )
    if packs and len(packs) < at_once and not study.phases.search and not study.pack.spread:
        smaller = _filling_size(packs, at_once)
        if smaller is not None:
            yield (
                f"pack.size: {size} makes {len(packs)} packs, and this machine can train {at_once} at the same time; "
                f"--set pack.size={smaller} or pack.spread=true uses it"
            )


def _stability_groups(study: Study, packs: Sequence[TrialPack]) -> Counter[str]:
    """Trials by arm that could share batches in ``stability``; none where what shapes batches splits them."""
    groups: Counter[str] = Counter()
    for pack in packs:
        if pack.trials[-1].phase == STABILITY:
            groups[pack.first.arm] += len(pack.trials)
    shared = study.trainable is None and not any(batch_shaping(study, arm) for arm in study.arms)
    return groups if shared else Counter()


def _filling_size(packs: Sequence[TrialPack], at_once: int) -> int | None:
    """The largest size smaller than that of every pack with at least as many packs as can train; None if there is none."""
    counts = [len(pack.trials) for pack in packs]
    sizes = (size for size in range(max(counts) - 1, 0, -1) if sum(-(-n // size) for n in counts) >= at_once)
    return next(sizes, 1 if max(counts) > 1 else None)


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
