"""What a run would do, without doing anything."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dashboards.selection import LENGTH, PEAK, REFERENCE, SEARCH, STABILITY
from search_spaces import SearchSpace
from stablesweep.arms import Arm
from stablesweep.centres import known_centre
from stablesweep.checkpoints import KEEP
from stablesweep.estimate import NO_WORK, Estimator, FoundData, Work, find_data
from stablesweep.home import Home
from stablesweep.ledger import read_ledger, to_trials
from stablesweep.machine import packs_at_once, this_machine
from stablesweep.messages import FINAL
from stablesweep.pack_remarks import splits_unknown
from stablesweep.packs import TrialPack, make_packs
from stablesweep.plan_remarks import Remark, remarks
from stablesweep.status import read_pack_sizes, read_states
from stablesweep.study import Study
from stablesweep.trials import Trial, plan_trials, with_settings


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmPlan:
    """One arm in one phase."""

    phase: str
    arm: str
    trials: int
    to_train: int
    packs: int
    """Packs that train here."""
    packs_at_least: bool
    """Whether there may be more: settings that follow from results decide which trials can share batches."""
    epochs: tuple[int, ...]
    epochs_to_train: int
    """Summed over its trials that have no result yet; one that was interrupted counts whole."""
    space: str
    work: Work | None
    """Of its trials that have no result yet; None where it cannot be known."""
    pack_bytes: int | None
    """The largest checkpoint of one of its packs; None where it cannot be known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A study before it runs."""

    study: str
    home: Home
    arms: tuple[ArmPlan, ...]
    packs: tuple[TrialPack, ...]
    """All that still have something to train; those of settings that follow from results as far as they are known."""
    pack_size: int
    search_rounds: int
    """Rounds of suggestions of each arm's search, one after the other; 0 without one."""
    pruning: bool
    """Whether the search ends trials before their last epoch."""
    uncounted: str
    """Why images, operations and checkpoints are unknown; empty if they are not."""
    packs_at_once: int
    """How many packs this machine could train at the same time."""
    checkpoint_bytes: int | None
    """The most that checkpoints take while this machine trains: of every pack that trains, the two that are kept and the one that is
    written. None where it cannot be known."""
    mlflow_runs: int
    """One of the study, one of each arm in each phase, one of each trial; those that are there included."""
    remarks: tuple[Remark, ...]

    @property
    def work(self) -> Work | None:
        """What is left to do in all arms; None where it cannot be known."""
        known = [arm.work for arm in self.arms if arm.work is not None]
        return sum(known, NO_WORK) if len(known) == len(self.arms) else None


def make_plan(study: Study, home: Home, found: FoundData | None = None) -> Plan:
    """What ``run`` would do, given what the home's record has. Writes nothing.

    Args:
        study: The study.
        home: Where it would be kept.
        found: Its data, if that was looked for before.

    Raises:
        LedgerError: If the home's ledger of this study is damaged.
    """
    trials = known_trials(study, home)
    finished = {key for key, state in read_states(home, study.name).items() if state.status in FINAL}
    packs = planned_packs(study, trials, finished, read_pack_sizes(home, study))
    found = found or find_data(study)
    works, sizes, uncounted = _costs(study, trials, packs, finished, found)
    at_once = packs_at_once(study.pack, [this_machine(gpus=study.pack.gpus > 0)])
    arms = tuple(
        _arm_plan(study, phase, arm, trials, packs, finished, works, sizes)
        for phase, arm in dict.fromkeys((trial.phase, trial.arm) for trial in _in_order(study, trials))
    )
    search = study.phases.search
    return Plan(
        study=study.name,
        home=home,
        arms=arms,
        packs=tuple(packs),
        pack_size=study.pack.size,
        search_rounds=0 if search is None else -(-search.draws // search.at_once),
        pruning=search is not None and search.pruning is not None,
        uncounted=uncounted,
        packs_at_once=at_once,
        checkpoint_bytes=_most_bytes(list(sizes.values()), at_once),
        mlflow_runs=1 + len(arms) + len(trials),
        remarks=tuple(remarks(study, trials, packs, at_once=at_once, data=found.data)),
    )


def known_trials(study: Study, home: Home) -> list[Trial]:
    """The trials of a study, with the settings that the home's ledger has for them. Writes nothing."""
    trials, ledger = plan_trials(study), home.study(study.name).ledger
    return with_settings(trials, to_trials(read_ledger(ledger))) if ledger.exists() else trials


def planned_packs(
    study: Study, trials: Sequence[Trial], finished: Collection[str] = (), at_most: Mapping[str, int] | None = None
) -> list[TrialPack]:
    """The packs that ``run`` would train: those of settled trials, and those of trials that it will settle.

    Trials that are settled together train together, so that of the others there are as many as if they were settled now, or more where
    their settings will differ in what shapes batches.
    """
    settled = [trial for trial in trials if trial.settled]
    waiting = [trial for trial in trials if not trial.settled]
    share = study.trainable is None
    return [
        *make_packs(settled, study.pack.size, finished, share_batches=share, at_most=at_most),
        *make_packs(waiting, study.pack.size, finished, share_batches=share, at_most=at_most),
    ]


def _costs(
    study: Study, trials: Sequence[Trial], packs: Sequence[TrialPack], finished: Collection[str], found: FoundData
) -> tuple[dict[str, Work], dict[str, int | None], str]:
    """The work of the trials to train by key, the checkpoints of the packs by the key of their first trial, and why there is neither."""
    if found.data is None:
        return {}, {}, found.missing
    estimator = Estimator(study, found.data)
    left = [trial for trial in trials if trial.key not in finished]
    try:
        works = {trial.key: estimator.work(trial) for trial in left}
        sizes = {pack.first.key: _pack_bytes(pack, estimator) for pack in packs}
    except ValueError as error:
        return {}, {}, str(error).rstrip(".")
    return works, sizes, ""


def _pack_bytes(pack: TrialPack, estimator: Estimator) -> int | None:
    member = estimator.member_bytes(pack.first)
    return None if member is None else member * len(pack.trials)


def _most_bytes(sizes: Sequence[int | None], at_once: int) -> int | None:
    """The largest packs may train side by side; the oldest checkpoint goes when the next one is there."""
    known = sorted((size for size in sizes if size is not None), reverse=True)
    return (KEEP + 1) * sum(known[:at_once]) if known and len(known) == len(sizes) and at_once else None


def _arm_plan(
    study: Study,
    phase: str,
    arm_name: str,
    trials: Sequence[Trial],
    packs: Sequence[TrialPack],
    finished: Collection[str],
    works: dict[str, Work],
    sizes: dict[str, int | None],
) -> ArmPlan:
    arm = next(one for one in study.arms if one.name == arm_name)
    own = [trial for trial in trials if (trial.phase, trial.arm) == (phase, arm_name)]
    left = [trial for trial in own if trial.key not in finished]
    own_packs = [pack for pack in packs if (_phase_of(pack), pack.first.arm) == (phase, arm_name)]
    known = [size for pack in own_packs if (size := sizes.get(pack.first.key)) is not None]
    return ArmPlan(
        phase=phase,
        arm=arm_name,
        trials=len(own),
        to_train=len(left),
        packs=len(own_packs),
        packs_at_least=splits_unknown(study, arm, left),
        epochs=tuple(sorted({trial.epochs for trial in own})),
        epochs_to_train=sum(trial.epochs for trial in left),
        space=_settings(study, arm, own[0]),
        work=sum((works[trial.key] for trial in left), NO_WORK) if all(trial.key in works for trial in left) else None,
        pack_bytes=max(known) if known and len(known) == len(own_packs) else None,
    )


def _phase_of(pack: TrialPack) -> str:
    phases = {trial.phase for trial in pack.trials}
    return STABILITY if STABILITY in phases else pack.first.phase


def _in_order(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """By phase, in the order in which they feed each other, then by arm as the study lists them."""
    phases = (SEARCH, REFERENCE, STABILITY, LENGTH, PEAK)
    arms = [arm.name for arm in study.arms]
    return sorted(trials, key=lambda trial: (phases.index(trial.phase), arms.index(trial.arm)))


def _settings(study: Study, arm: Arm, trial: Trial) -> str:
    """What the arm is trained with: intervals, the one setting, or where it will come from."""
    if trial.phase == SEARCH or (trial.phase == STABILITY and study.draws_around == "space"):
        return _intervals(study.space_of(arm))
    if not trial.settled:
        best = trial.phase in study.phases.fixed() and study.setting_kind(trial.phase) == "best"
        return "the best setting found" if best else "around the centre" if trial.phase == STABILITY else "the centre"
    if trial.phase == STABILITY and study.phases.stability is not None:
        centre = known_centre(study, arm, STABILITY, study.draws_around)
        return "around the centre" if centre is None else _intervals(study.stability_space(arm, centre))
    return ", ".join(f"{name} {_number(value)}" for name, value in trial.hyperparameters.items())


def _intervals(space: SearchSpace) -> str:
    return ", ".join(f"{name} {_show(config)}" for name, config in space.to_config().items())


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _show(config: dict[str, object]) -> str:
    kind, arguments = next(iter(config.items()))
    values = arguments if isinstance(arguments, list) else [arguments]
    step = f" step {_number(config['step'])}" if "step" in config else ""
    return f"{kind}({', '.join(map(_number, values))}){step}{' if active' if 'when' in config else ''}"
