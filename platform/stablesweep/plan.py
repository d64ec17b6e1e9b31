"""What a run would do, without doing anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.edf import dkw_half_width
from dashboards.selection import STABILITY
from dashboards.terminal import text_table
from search_spaces import SearchSpace
from stablesweep.arms import Arm
from stablesweep.centres import known_centre
from stablesweep.home import Home
from stablesweep.ledger import Trial, plan_trials, read_ledger, to_trials, with_settings
from stablesweep.messages import FINAL
from stablesweep.packs import make_packs
from stablesweep.phases import LENGTH, PEAK, REFERENCE, SEARCH
from stablesweep.status import read_states
from stablesweep.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmPlan:
    """One arm in one phase."""

    phase: str
    arm: str
    trials: int
    to_train: int
    packs: int
    epochs: tuple[int, ...]
    epochs_to_train: int
    """Summed over its trials that have no result yet."""
    space: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A study before it runs."""

    study: str
    home: Home
    arms: tuple[ArmPlan, ...]
    pack_size: int


def make_plan(study: Study, home: Home) -> Plan:
    """Count what ``run`` would train, given what the home's record has. Writes nothing."""
    trials = known_trials(study, home)
    finished = {key for key, state in read_states(home, study.name).items() if state.status in FINAL}
    packs = make_packs(trials, study.pack.size, finished, share_batches=study.trainable is None)
    arms = []
    for phase, arm_name in dict.fromkeys((trial.phase, trial.arm) for trial in _in_order(study, trials)):
        arm = next(one for one in study.arms if one.name == arm_name)
        own = [trial for trial in trials if (trial.phase, trial.arm) == (phase, arm_name)]
        arms.append(
            ArmPlan(
                phase=phase,
                arm=arm_name,
                trials=len(own),
                to_train=sum(trial.key not in finished for trial in own),
                packs=sum((pack.first.phase, pack.first.arm) == (phase, arm_name) for pack in packs),
                epochs=tuple(sorted({trial.epochs for trial in own})),
                epochs_to_train=sum(trial.epochs for trial in own if trial.key not in finished),
                space=_settings(study, arm, own[0]),
            )
        )
    return Plan(study=study.name, home=home, arms=tuple(arms), pack_size=study.pack.size)


def known_trials(study: Study, home: Home) -> list[Trial]:
    """The trials of a study, with the settings that the home's ledger has for them. Writes nothing."""
    trials, ledger = plan_trials(study), home.study(study.name).ledger
    return with_settings(trials, to_trials(read_ledger(ledger))) if ledger.exists() else trials


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
        centre = known_centre(study, arm, trial.epochs, study.draws_around)
        return "around the centre" if centre is None else _intervals(study.stability_space(arm, centre))
    return ", ".join(f"{name} {_number(value)}" for name, value in trial.hyperparameters.items())


def _intervals(space: SearchSpace) -> str:
    return ", ".join(f"{name} {_show(config)}" for name, config in space.to_config().items())


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _show(config: dict[str, object]) -> str:
    kind, arguments = next(iter(config.items()))
    values = arguments if isinstance(arguments, list) else [arguments]
    return f"{kind}({', '.join(map(_number, values))})"


def render_plan(plan: Plan) -> str:
    """The plan as text."""
    header = ["phase", "arm", "space or setting", "trials", "to train", "packs", "epochs"]
    rows = [
        [arm.phase, arm.arm, arm.space, str(arm.trials), str(arm.to_train), str(arm.packs), _lengths(arm.epochs)]
        for arm in plan.arms
    ]
    trials, to_train = sum(arm.trials for arm in plan.arms), sum(arm.to_train for arm in plan.arms)
    lines = [
        f"Study {plan.study} in {plan.home.path}",
        "",
        text_table(header, rows, left=3),
        "",
        (
            f"{trials} trials, {to_train} to train in {sum(arm.packs for arm in plan.arms)} packs of at most "
            f"{plan.pack_size}; {sum(arm.epochs_to_train for arm in plan.arms)} epochs of one model."
        ),
    ]
    drawn = [arm.trials for arm in plan.arms if arm.phase == STABILITY]
    if drawn:
        width = 100 * dkw_half_width(min(drawn), 0.95)
        lines.append(f"With {min(drawn)} draws an EDF is known to ± {width:.0f} % (DKW band, 95 %).")
    return "\n".join(lines)


def _lengths(epochs: tuple[int, ...]) -> str:
    return ", ".join(map(str, epochs))
