"""How long a study would take, from the speeds that were measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dashboards.selection import SEARCH
from stablesweep.calibration import Calibration, calibrate
from stablesweep.estimate import Estimator, FoundData
from stablesweep.machine import Machine, packs_at_once, this_machine
from stablesweep.packs import TrialPack, compared
from stablesweep.plan import Plan
from stablesweep.study import Pack, Study

if TYPE_CHECKING:
    from rich.console import Console

PACK_START_CPU_S = 24.0
"""CPU seconds that the processes of a crew take to start, about: 12 s of wall clock on two cores. Source: benchmarks/RESULTS.md, the
quickstart in 24 packs instead of 4, when each still started its own: 500 s instead of 212 s, other work beside it."""
PACK_START_S = 10.0
"""The start of one pack, however many cores there are. Source: CONTRIBUTING.md, 10 to 20 s on two cores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """What training is going to take if every trial trains to its last epoch."""

    calibration: Calibration
    worker_s: float
    """Of all packs that could be timed, starts of processes not included."""
    by_arm: Mapping[str, float]
    """The same by arm."""
    trial_epoch_s: Mapping[str, float]
    """By arm: an epoch of one trial with its share of what its pack does for all, the mean over what is to be trained."""
    gpus: float
    """That each worker holds."""
    wall_s: float | None
    """On this machine, from the first start to the last end; None if no pack fits it."""


def measure_times(study: Study, plan: Plan, found: FoundData, console: "Console") -> Times | None:
    """The time of a plan, by training each of its arms for some seconds here; None where there is nothing that could be trained.

    Args:
        study: The plan's study.
        plan: What would be run.
        found: The study's data.
        console: Where progress is shown.
    """
    trials = [trial for pack in plan.packs for trial in pack.trials]
    if found.data is None or plan.uncounted or not trials:
        return None
    calibration = calibrate(study, trials, found.data, console)
    machine = this_machine(gpus=study.pack.gpus > 0)
    return estimate_times(plan.packs, study, Estimator(study, found.data), calibration, machine)


def estimate_times(
    packs: Sequence[TrialPack], study: Study, estimator: Estimator, calibration: Calibration, machine: Machine
) -> Times:
    """The time of the packs that still have something to train.

    Args:
        packs: They.
        study: The study that they are of.
        estimator: Knows how many images each trial takes.
        calibration: The speeds of their arms; packs of an arm without one are left out.
        machine: Where they would train.
    """
    seconds = {
        one.first.key: _pack_seconds(one, estimator, calibration) for one in packs if _is_timed(one, calibration)
    }
    timed = [one for one in packs if one.first.key in seconds]
    least = {one.first.key: _shortest_s(one, study, estimator, calibration) for one in timed}
    by_arm: dict[str, float] = {}
    epochs: dict[str, int] = {}
    for one in timed:
        arm = one.first.arm
        by_arm[arm] = by_arm.get(arm, 0.0) + seconds[one.first.key]
        epochs[arm] = epochs.get(arm, 0) + len(one.trials) * one.first.epochs
    return Times(
        calibration=calibration,
        worker_s=sum(seconds.values()),
        by_arm=by_arm,
        trial_epoch_s={arm: by_arm[arm] / epochs[arm] for arm in by_arm},
        gpus=study.pack.gpus,
        wall_s=_wall_s(timed, seconds, least, study.pack, machine),
    )


def _is_timed(pack: TrialPack, calibration: Calibration) -> bool:
    return pack.first.arm in calibration.speeds


def _pack_seconds(pack: TrialPack, estimator: Estimator, calibration: Calibration) -> float:
    works = [estimator.work(trial) for trial in pack.trials]
    return calibration.speeds[pack.first.arm].pack_seconds([(work.train_images, work.forward_images) for work in works])


def _shortest_s(pack: TrialPack, study: Study, estimator: Estimator, calibration: Calibration) -> float:
    """A pack's time if it is divided as far as it may be."""
    if not study.pack.spread or compared(pack, study):
        return _pack_seconds(pack, estimator, calibration)
    return max(_pack_seconds(replace(pack, trials=(trial,)), estimator, calibration) for trial in pack.trials)


def _wall_s(
    packs: Sequence[TrialPack], seconds: Mapping[str, float], least: Mapping[str, float], pack: Pack, machine: Machine
) -> float | None:
    """At best all workers are busy all the time; at least it takes the longest chain of packs that wait for each other."""
    at_once = packs_at_once(pack, [machine])
    if not at_once or not packs:
        return 0.0 if at_once else None
    # Their processes stay from pack to pack, and there are no more packs than trials.
    crews = min(at_once, sum(len(one.trials) for one in packs) if pack.spread else len(packs))
    starts = max(PACK_START_S, PACK_START_CPU_S * crews / machine.cpus)
    chain = max(_chain_s([one for one in packs if one.first.arm == arm], least) for arm in {p.first.arm for p in packs})
    return starts + max(sum(seconds.values()) / at_once, chain) / pack.workers


def _chain_s(packs: Sequence[TrialPack], seconds: Mapping[str, float]) -> float:
    """Of one arm: the rounds of its search one after the other, then the longest of its other packs."""
    rounds: dict[int | None, float] = {}
    for pack in packs:
        # All that does not belong to a search comes after it.
        step = pack.first.round if pack.first.phase == SEARCH else None
        rounds[step] = max(rounds.get(step, 0.0), seconds[pack.first.key])
    return sum(rounds.values())
