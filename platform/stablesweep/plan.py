"""What a run would do, without doing anything."""

from dataclasses import dataclass

from dashboards.edf import dkw_half_width
from dashboards.terminal import text_table
from stablesweep.home import Home
from stablesweep.ledger import plan_trials
from stablesweep.messages import FINAL
from stablesweep.packs import make_packs
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
    epochs: int
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
    for phase in type(study.phases).model_fields:
        for arm in study.arms:
            own = [trial for trial in trials if (trial.phase, trial.arm) == (phase, arm.name)]
            arms.append(
                ArmPlan(
                    phase=phase,
                    arm=arm.name,
                    trials=len(own),
                    to_train=sum(trial.key not in finished for trial in own),
                    packs=sum((pack.first.phase, pack.first.arm) == (phase, arm.name) for pack in packs),
                    epochs=own[0].epochs,
                    space=", ".join(
                        f"{name} {_show(config)}" for name, config in study.space_of(arm).to_config().items()
                    ),
                )
            )
    return Plan(study=study.name, home=home, arms=tuple(arms), pack_size=study.pack.size)


def _show(config: dict[str, object]) -> str:
    kind, arguments = next(iter(config.items()))
    values = arguments if isinstance(arguments, list) else [arguments]
    return f"{kind}({', '.join(f'{value:.3g}' if isinstance(value, float) else str(value) for value in values)})"


def render_plan(plan: Plan) -> str:
    """The plan as text."""
    header = ["phase", "arm", "space", "trials", "to train", "packs", "epochs"]
    rows = [
        [arm.phase, arm.arm, arm.space, str(arm.trials), str(arm.to_train), str(arm.packs), str(arm.epochs)]
        for arm in plan.arms
    ]
    trials, to_train = sum(arm.trials for arm in plan.arms), sum(arm.to_train for arm in plan.arms)
    epochs = sum(arm.to_train * arm.epochs for arm in plan.arms)
    narrowest = min(arm.trials for arm in plan.arms)
    return "\n".join(
        [
            f"Study {plan.study} in {plan.home.path}",
            "",
            text_table(header, rows, left=3),
            "",
            (
                f"{trials} trials, {to_train} to train in {sum(arm.packs for arm in plan.arms)} packs of at most "
                f"{plan.pack_size}; {epochs} epochs of one model."
            ),
            f"With {narrowest} draws an EDF is known to ± {100 * dkw_half_width(narrowest, 0.95):.0f} % (DKW band, 95 %).",
        ]
    )
