"""The tables of what packs achieve: shares of the peak, goals, what compiling is worth. All numbers are worked out by hand."""

from typing import Any

import pytest
from lockstep_process import Measured
from lockstep_tables import GOALS, Row, tables

MACHINE: dict[str, Any] = {"device": "cuda", "peak": 1e15, "flops": {"micro32": 1e9, "1gf224": 5e9}}


def measured(rate: float, **more: Any) -> Measured:
    return Measured(images_trials_per_s=rate, seconds=10.0, cpu_s=20.0, memory_bytes=3 * 2**29, start_s=4.0, **more)


def row(kind: str, trials: int, rate: float, *, case: str = "micro32", **more: Any) -> Row:
    return Row(case=case, kind=kind, trials=trials, measured=measured(rate, **more))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def lines_of(*rows: Row, machine: dict[str, Any] = MACHINE) -> list[list[str]]:
    return [cells(line) for line in tables(rows, machine).splitlines() if line.startswith("| ")]


def reached(*rows: Row) -> dict[str, tuple[str, str]]:
    """What was measured of each goal, and whether that is enough."""
    after = tables(rows, MACHINE).partition("| goal |")[2].splitlines()[2:]
    return {goal: (found, verdict) for goal, found, verdict in map(cells, after)}


def test_a_row_is_set_against_one_process_and_the_peak() -> None:
    _, alone, beside, pack = lines_of(
        row("processes", 1, 20_000.0), row("processes", 4, 30_000.0), row("fused", 32, 250_000.0, note="why"),
        machine={**MACHINE, "device": "cpu"},
    )  # fmt: skip
    assert alone == ["one process", "1", "20,000", "1.00", "2.0%", "10,000", "1.50 GiB", "4.0 s"]
    assert beside == ["processes side by side", "4", "30,000", "1.50", "", "15,000", "1.50 GiB", "4.0 s"]
    assert pack == ["fused*", "32", "250,000", "12.50", "25.0%", "125,000", "1.50 GiB", "4.0 s"]


def test_without_one_process_nothing_is_a_multiple_of_it() -> None:
    problem = Row(case="micro32", kind="processes", trials=1, measured=Measured(problem="no | memory"))
    _, failed, pack = lines_of(problem, row("loop", 8, 50_000.0), machine={**MACHINE, "device": "cpu"})
    assert failed == ["one process", "1", "no / memory", "", "", "", "", ""]
    assert pack[3:5] == ["", "5.0%"]


def test_goals_are_of_the_fastest_pack_and_of_what_they_name() -> None:
    found = reached(row("processes", 1, 1_000.0), row("loop", 8, 9_000.0), row("fused", 32, 9_990.0))
    assert found == {
        "micro32: at least 8 x one process": ("9.99 x (fused, 32)", "reached"),
        "micro32, fused, 32 trials: at least 10 x one process": ("9.99 x (fused, 32)", "missed"),
    }


@pytest.mark.parametrize(("rate", "verdict"), [(10_000.0, "reached"), (9_999.0, "missed")])
def test_a_goal_is_reached_when_it_is_met_exactly(rate: float, verdict: str) -> None:
    found = reached(row("processes", 1, 1_000.0), row("fused", 32, rate))
    assert found["micro32, fused, 32 trials: at least 10 x one process"][1] == verdict


@pytest.mark.parametrize(
    "other",
    [
        row("fused", 16, 99_000.0),
        row("loop", 32, 99_000.0),
        row("fused, compiled", 32, 99_000.0, compile_s=1.0),
        row("fused", 32, 99_000.0, note="it went on in a loop"),
        row("fused", 32, 99_000.0, problem="out of memory"),
        row("processes", 32, 99_000.0),
    ],
    ids=["another size", "a loop", "compiled", "gone on in a loop", "failed", "processes"],
)
def test_a_goal_of_a_fused_pack_of_32_is_not_reached_by_another_one(other: Row) -> None:
    found = reached(row("processes", 1, 1_000.0), other)
    assert found["micro32, fused, 32 trials: at least 10 x one process"] == ("unmeasured", "")


def test_a_multiple_is_unmeasured_without_one_process_and_a_share_is_not() -> None:
    assert set(reached(row("fused", 32, 99_000.0)).values()) == {("unmeasured", "")}
    # 5 GFLOP x 60,000 / s of 1,000 TFLOP / s.
    found = reached(row("loop", 8, 60_000.0, case="1gf224"))
    assert found == {"1gf224: at least 25% of the peak": ("30.0% (loop, 8)", "reached")}


def test_goals_are_those_of_the_cases_that_were_measured_on_a_gpu() -> None:
    rows = [row("fused", 32, 1.0), row("fused", 32, 1.0, case="1gf224")]
    assert len(reached(*rows)) == sum(goal.case in MACHINE["flops"] for goal in GOALS) == 3
    assert "| goal |" not in tables(rows, {**MACHINE, "device": "cpu"})


def test_what_compiling_is_worth() -> None:
    # 100 epochs of 50,000 images of two trials are 10,000,000: 10,000 s at the one rate, 5,000 s after 1,250 s at the other.
    rows = [row("fused", 2, 1_000.0), row("fused, compiled", 2, 2_000.0, compile_s=1_250.0)]
    sentence = (
        "fused, compiled, 2 trials: 1250 s of compiling, then 2.00 x the rate (2.00 x per CPU second); "
        "over 100 epochs of 50,000 images 1.60 x the rate."
    )
    assert sentence in tables(rows, MACHINE)
    assert "of compiling" not in tables(rows[1:], MACHINE)
