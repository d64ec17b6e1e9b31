"""Markdown tables of what ``lockstep.py`` measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lockstep_cases import CASES, SHUFFLE_ROWS
from lockstep_process import Measured

MEASURED_HEAD = """\
| | trials | images x trials / s | x one process | share of the peak | images x trials / CPU s | {memory} | start |
|---|---|---|---|---|---|---|---|"""
MEMORY_HEAD = {"cuda": "GPU memory, main memory", "cpu": "peak memory"}
COMPILED = ", compiled"
"""What the kind of a compiled pack ends with."""
EPOCHS, EPOCH_IMAGES = 100, 50_000
"""The training over which the time for compiling is spread: CIFAR-10's images, in a long stability study."""
GOALS_HEAD = """\
| goal | measured | |
|---|---|---|"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measurement."""

    case: str
    kind: str
    """``processes``, ``loop`` or ``fused``; the latter two may end with :data:`COMPILED`."""
    trials: int
    """Trained at once: that many processes of one trial each, or a pack of so many."""
    measured: Measured


@dataclass(frozen=True, slots=True)
class Goal:
    """What a case should reach on one H200."""

    case: str
    unit: str
    """``times``: throughput over that of one process per trial. ``share``: of the measured matrix peak."""
    at_least: float
    kind: str | None = None
    """Of a pack of this kind; None: of either."""
    trials: int | None = None
    """Of a pack of this size; None: of any."""

    def sentence(self) -> str:
        """The goal in words."""
        what = f"{self.at_least:g} x one process" if self.unit == "times" else f"{self.at_least:.0%} of the peak"
        which = f", {self.kind}" if self.kind else ""
        return f"{self.case}{which}{f', {self.trials} trials' if self.trials else ''}: at least {what}"


GOALS = (
    *(Goal(case, "times", 8.0) for case in ("micro32", "micro32p", "tiny64", "tiny64p")),
    *(Goal(case, "times", 10.0, "fused", 32) for case in ("micro32", "micro32p")),
    Goal("1gf224jpeg", "times", 5.0),
    *(Goal(case, "share", 0.25) for case in ("1gf224", "1gf224p")),
    *(Goal(case, "share", 0.40) for case in ("4gf224", "4gf224p")),
)


def tables(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """A table for each case, and on a GPU one of the goals.

    Args:
        rows: In the order in which they are shown.
        machine: See :func:`lockstep_process.machine`.
    """
    names = list(dict.fromkeys(row.case for row in rows))
    parts = [_case_table(name, [row for row in rows if row.case == name], machine) for name in names]
    goals = [goal for goal in GOALS if goal.case in names]
    if goals and machine["device"] == "cuda":
        lines = [f"| {goal.sentence()} | {_reached(goal, rows, machine)} |" for goal in goals]
        parts.append("\n".join([GOALS_HEAD, *lines]))
    return "\n\n".join(parts)


def _case_table(name: str, rows: Sequence[Row], machine: dict[str, Any]) -> str:
    case = CASES[name]
    images = "data in memory"
    if case.jpeg:
        images = f"JPEGs in Parquet, decoded while training, windows of {SHUFFLE_ROWS}"
    flops = machine["flops"][name]
    title = (
        f"**{name}**: {case.model}, {case.image_size} px, {case.batch_size} images a batch, {images}; "
        f"{flops / 1e9:.3g} GFLOP to train on one image."
    )
    alone = _alone(rows)
    lines = [_line(row, alone, _share(row, flops, machine)) for row in rows]
    head = MEASURED_HEAD.format(memory=MEMORY_HEAD[machine["device"]])
    return "\n".join([title, "", head, *lines, *_notes(rows), *_compiled(rows)])


def _share(row: Row, flops: float, machine: dict[str, Any]) -> str:
    """Of the measured matrix peak, which on a CPU is that of one process: of several it says nothing."""
    if machine["device"] == "cpu" and row.kind == "processes" and row.trials > 1:
        return ""
    return f"{row.measured.images_trials_per_s * flops / machine['peak']:.1%}"


def _line(row: Row, alone: float | None, share: str) -> str:
    measured, kind = row.measured, row.kind
    if kind == "processes":
        kind = "one process" if row.trials == 1 else "processes side by side"
    if measured.problem:
        return f"| {kind} | {row.trials} | {measured.problem.replace('|', '/')} | | | | | |"
    rate = measured.images_trials_per_s
    times = f"{rate / alone:.2f}" if alone else ""
    memory = _gib(measured.memory_bytes)
    if measured.gpu_bytes:
        memory = f"{_gib(measured.gpu_bytes)}, {memory}"
    per_cpu_s = _per_cpu_s(measured)
    star = "*" if measured.note else ""
    return (
        f"| {kind}{star} | {row.trials} | {rate:,.0f} | {times} | {share} | {per_cpu_s:,.0f} "
        f"| {memory} | {measured.start_s:.1f} s |"
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count else "unknown"


def _per_cpu_s(measured: Measured) -> float:
    return measured.images_trials_per_s * measured.seconds / measured.cpu_s


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = dict.fromkeys(row.measured.note for row in rows if row.measured.note)
    return [f"\n\\* Trained in a loop: {note}." for note in notes]


def _compiled(rows: Sequence[Row]) -> list[str]:
    """A sentence on each compiled pack: what compiling took, and what it is worth with and without that."""
    eager = {(row.kind, row.trials): row.measured for row in rows if not row.measured.problem}
    sentences = []
    for row in rows:
        before = eager.get((row.kind.removesuffix(COMPILED), row.trials))
        if row.kind.endswith(COMPILED) and before and not row.measured.problem:
            share = row.measured.images_trials_per_s / before.images_trials_per_s
            per_cpu_s = _per_cpu_s(row.measured) / _per_cpu_s(before)
            sentences.append(
                f"\n{row.kind}, {row.trials} trials: {row.measured.compile_s:.0f} s of compiling, then {share:.2f} x the "
                f"rate ({per_cpu_s:.2f} x per CPU second); over {EPOCHS} epochs of {EPOCH_IMAGES:,} images "
                f"{_with_compiling(row, before):.2f} x the rate."
            )
    return sentences


def _with_compiling(row: Row, eager: Measured) -> float:
    """How many times as fast as an eager one a compiled pack is, the time for compiling included."""
    work = EPOCHS * EPOCH_IMAGES * row.trials
    return (work / eager.images_trials_per_s) / (row.measured.compile_s + work / row.measured.images_trials_per_s)


def _alone(rows: Sequence[Row]) -> float | None:
    """Images per second of one process that trains one trial."""
    found = [row for row in rows if row.kind == "processes" and row.trials == 1 and not row.measured.problem]
    return found[0].measured.images_trials_per_s if found else None


def _reached(goal: Goal, rows: Sequence[Row], machine: dict[str, Any]) -> str:
    own = [row for row in rows if row.case == goal.case and not row.measured.problem]
    packs = [
        row
        for row in own
        if row.kind == (goal.kind or row.kind)
        and row.kind != "processes"
        and not row.kind.endswith(COMPILED)
        and row.trials == (goal.trials or row.trials)
        and not (goal.kind and row.measured.note)
    ]
    alone = _alone(own)
    if not packs or (goal.unit == "times" and not alone):
        return "unmeasured | "
    best = max(packs, key=lambda row: row.measured.images_trials_per_s)
    rate = best.measured.images_trials_per_s
    value = rate / alone if goal.unit == "times" and alone else rate * machine["flops"][goal.case] / machine["peak"]
    shown = f"{value:.2f} x" if goal.unit == "times" else f"{value:.1%}"
    return f"{shown} ({best.kind}, {best.trials}) | {'reached' if value >= goal.at_least else 'missed'}"
