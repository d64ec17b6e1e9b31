"""What a run would do, without doing anything."""

from dataclasses import dataclass

from dashboards.edf import dkw_half_width
from dashboards.selection import STABILITY
from dashboards.terminal import text_table
from stablesweep.home import Home
from stablesweep.ledger import plan_trials
from stablesweep.messages import FINAL
from stablesweep.packs import make_packs
from stablesweep.phases import Arm, FixedPhase, Phase
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
    trials = plan_trials(study)
    finished = {key for key, state in read_states(home, study.name).items() if state.status in FINAL}
    packs = make_packs(trials, study.pack.size, finished)
    arms = []
    for name, phase in study.phases.present().items():
        for arm in study.arms:
            own = [trial for trial in trials if (trial.phase, trial.arm) == (name, arm.name)]
            arms.append(
                ArmPlan(
                    phase=name,
                    arm=arm.name,
                    trials=len(own),
                    to_train=sum(trial.key not in finished for trial in own),
                    packs=sum((pack.first.phase, pack.first.arm) == (name, arm.name) for pack in packs),
                    epochs=tuple(sorted({trial.epochs for trial in own})),
                    epochs_to_train=sum(trial.epochs for trial in own if trial.key not in finished),
                    space=_settings(study, arm, phase),
                )
            )
    return Plan(study=study.name, home=home, arms=tuple(arms), pack_size=study.pack.size)


def _settings(study: Study, arm: Arm, phase: Phase | FixedPhase) -> str:
    """What the arm is trained with: intervals, or the one setting."""
    if isinstance(phase, FixedPhase):
        return ", ".join(f"{name} {_number(value)}" for name, value in phase.setting(arm).items())
    return ", ".join(f"{name} {_show(config)}" for name, config in study.space_of(arm).to_config().items())


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
