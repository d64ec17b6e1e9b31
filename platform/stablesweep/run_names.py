"""What MLflow's pages call the runs of a study."""

from dashboards.selection import FIXED
from stablesweep.trials import Trial

MAX_LENGTH = 250
"""MLflow's databases hold no longer name."""


def arm_run_name(phase: str, arm: str) -> str:
    """``vit_c/sgd · stability``. What tells a run from those beside it comes first: MLflow's table shows some 15 letters."""
    return _named(f"{{}} · {phase}", arm)


def trial_run_name(trial: Trial) -> str:
    """``draw 007 · vit_c/sgd``, or ``50 epochs · seed 1 · vit_c/sgd`` where the setting is given."""
    if trial.sampler == FIXED:
        return _named(f"{trial.epochs} epochs · seed {trial.replicate} · {{}}", trial.arm)
    return _named(f"draw {trial.draw:03d} · {{}}", trial.arm)


def _named(pattern: str, arm: str) -> str:
    """The pattern with the arm in it, without its middle if it is too long: the optimizer stands at its end."""
    room = MAX_LENGTH - len(pattern.format(""))
    if len(arm) > room:
        head = (room - 1) // 2
        arm = f"{arm[:head]}…{arm[len(arm) - (room - 1 - head) :]}"
    return pattern.format(arm)
