"""A plan as text for a terminal."""

import textwrap
from collections.abc import Iterator, Sequence

from dashboards.formats import duration
from dashboards.terminal import text_table
from stablesweep.calibration import Calibration, Speed
from stablesweep.estimate import Work
from stablesweep.plan import ArmPlan, Plan
from stablesweep.plan_times import Times

WIDTH = 120
"""Longest line, characters."""
_NAME = 36
"""Longest name of an arm in a table."""
_PETA = 1e15
_UNITS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
_BYTES = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def render_plan(plan: Plan, times: Times | None = None) -> str:
    """The plan, and how long it would take where that was measured, in lines of at most :data:`WIDTH` characters."""
    blocks = [
        f"Study {plan.study} in {plan.home.path}",
        _arm_table(plan),
        _spaces(plan.arms),
        "\n".join(_wrapped(line) for line in _totals(plan)),
        *([_times(plan, times)] if times is not None else []),
        *_remarks(plan),
    ]
    return "\n\n".join(blocks)


def _arm_table(plan: Plan) -> str:
    header = ["phase", "arm", "trials", "to train", "packs", "epochs"]
    counted = not plan.uncounted
    header += ["images", "forward only", "PFLOP", "checkpoint"] if counted else []
    rows = [[*_counts(arm), *(_costs(arm.work, arm.pack_bytes) if counted else [])] for arm in plan.arms]
    total = [
        "all",
        "",
        str(sum(arm.trials for arm in plan.arms)),
        str(sum(arm.to_train for arm in plan.arms)),
        _at_least(len(plan.packs), any(arm.packs_at_least for arm in plan.arms)),
        "",
    ]
    total += _costs(plan.work, None) if counted else []
    return text_table(header, [*rows, total], left=2)


def _counts(arm: ArmPlan) -> list[str]:
    packs = str(arm.packs)
    return [
        arm.phase,
        _short(arm.arm),
        str(arm.trials),
        str(arm.to_train),
        f"≥ {packs}" if arm.packs_at_least else packs,
        _lengths(arm.epochs),
    ]


def _costs(work: Work | None, pack_bytes: int | None) -> list[str]:
    if work is None:
        return ["?", "?", "?", "?"]
    flop = "?" if work.flop is None else _number(work.flop / _PETA)
    images = [_scaled(work.train_images), _scaled(work.forward_images)]
    return [*images, flop, "" if pack_bytes is None else in_bytes(pack_bytes)]


def _spaces(arms: Sequence[ArmPlan]) -> str:
    """What each arm is trained with, arms with the same together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for arm in arms:
        groups.setdefault((arm.phase, arm.space), []).append(arm.arm)
    return "\n".join(_wrapped(f"{phase} of {', '.join(names)}: {space}") for (phase, space), names in groups.items())


def _totals(plan: Plan) -> Iterator[str]:
    least = any(arm.packs_at_least for arm in plan.arms)
    yield (
        f"{sum(arm.trials for arm in plan.arms)} trials, {sum(arm.to_train for arm in plan.arms)} to train in "
        f"{_at_least(len(plan.packs), least)} packs of at most {plan.pack_size}; "
        f"{sum(arm.epochs_to_train for arm in plan.arms)} epochs of one model{', at most' if plan.pruning else ''}."
    )
    if plan.search_rounds:
        yield f"Each arm's search has {plan.search_rounds} rounds, one after the other; the phases that need its centre follow."
    if plan.uncounted:
        yield f"Images, PFLOP and checkpoints are unknown here: {plan.uncounted}."
    else:
        yield (
            "images: trained on; forward only: evaluated, or for batch norm's statistics; PFLOP: two operations a multiply-add, "
            "training three forward passes; checkpoint: of one pack."
        )
        yield from _disk(plan)
    yield f"{plan.mlflow_runs} MLflow runs: the study's, one for each arm in each phase, one for each trial."


def _disk(plan: Plan) -> Iterator[str]:
    if plan.checkpoint_bytes is not None:
        yield (
            f"Checkpoints take at most {in_bytes(plan.checkpoint_bytes)} of their storage while this machine trains (of each pack that "
            "trains two, and a third while it is written)."
        )


def _times(plan: Plan, times: Times) -> str:
    calibration = times.calibration
    rows = [
        [_short(arm), _seconds(times.trial_epoch_s[arm]), _hours(times.by_arm[arm]), _batch(calibration.speeds[arm])]
        for arm in dict.fromkeys(arm.arm for arm in plan.arms)
        if arm in times.by_arm
    ]
    lines = [f"{_short(arm)}: not timed ({reason})." for arm, reason in calibration.failures.items()]
    if rows:
        table = text_table(["measured here", "a trial's epoch", "all of it", "batches timed"], rows)
        lines = [table, *lines, *_total_time(times, calibration)]
    return "\n".join(line if "\n" in line else _wrapped(line) for line in lines)


def _batch(speed: Speed) -> str:
    return f"{speed.batch_size} images"


def _total_time(times: Times, calibration: Calibration) -> Iterator[str]:
    cpu = "one thread of this machine's CPU"
    device = f"one {calibration.device}" if calibration.on_gpu else cpu
    yield f"Training takes about {_hours(times.worker_s)} on {device}."
    if times.gpus and calibration.on_gpu:
        yield f"That is {_number(times.worker_s * times.gpus / 3600)} GPU-hours of {calibration.device}, {times.gpus:g} GPU a worker."
    elif times.gpus:
        yield "The study asks for GPUs and torch finds none here: the times are those of this CPU, and no GPU-hours."
    if times.wall_s is None:
        yield "No pack fits this machine, so that there is no wall-clock time."
    elif not calibration.failures:
        yield f"On this machine, with the start of processes: about {_hours(times.wall_s)}."


def _remarks(plan: Plan) -> Iterator[str]:
    for heading, is_warning in (("Warnings", True), ("Notes", False)):
        texts = [remark.text for remark in plan.remarks if remark.is_warning is is_warning]
        if texts:
            yield "\n".join([heading, *(_wrapped(f"{text}.", "- ") for text in texts)])


def in_bytes(number: float) -> str:
    """``1.2 GiB``: three significant digits, in powers of 1024."""
    return _with_unit(number, _BYTES) or f"{number:.0f} B"


def _scaled(number: float) -> str:
    return _with_unit(number, _UNITS) or f"{number:.0f}"


def _with_unit(number: float, units: Sequence[tuple[str, float]]) -> str:
    return next((f"{_number(number / size)} {unit}" for unit, size in units if number >= size), "")


def _number(number: float) -> str:
    """Three significant digits, never in powers of ten."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}" if number >= 1e-4 or number == 0 else "< 0.0001"


def _seconds(seconds: float) -> str:
    return f"{_number(seconds)} s" if seconds < 10 else duration(seconds)


def _hours(seconds: float) -> str:
    return duration(seconds) if seconds < 100 * 3600 else f"{seconds / 3600:,.0f} h"


def _at_least(number: int, at_least: bool) -> str:
    return f"≥ {number}" if at_least else str(number)


def _lengths(epochs: tuple[int, ...]) -> str:
    return ", ".join(map(str, epochs))


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _wrapped(text: str, bullet: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_on_hyphens=False
    )
