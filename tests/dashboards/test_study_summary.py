"""The terminal's summary: what it says, how wide it is, and that nothing breaks on unfinished studies."""

from collections.abc import Callable

import numpy as np
import pytest

from dashboards.formats import bounded, duration, percent, setting, share
from dashboards.statistics.edf import empirical_distribution
from dashboards.summary import render_summary, summarize
from dashboards.tables import TrialRecord
from dashboards.terminal import text_edf, text_table
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]


def test_summary_holds_the_answers(make_record: MakeRecord) -> None:
    record = make_record()
    summary = summarize(record)
    assert [arm.arm for arm in summary.arms] == sorted(set(record.trials["arm"].to_pylist()))
    for arm in summary.arms:
        rows = [row for row in record.trials.to_pylist() if row["arm"] == arm.arm]
        errors = [row["error"] for row in rows if row["status"] == "completed"]
        assert arm.edf.n == len(rows) == 24
        assert arm.best == min(errors)
        assert arm.edf.n_diverged == sum(row["status"] == "diverged" for row in rows)
        assert arm.edf.n_missing == sum(row["status"] == "failed" for row in rows)
    assert len(summary.model_verdicts) == len(summary.optimizer_verdicts) == 2
    assert summary.timing == record.timing


def test_text_says_everything_within_its_width(make_record: MakeRecord) -> None:
    record = make_record()
    summary = summarize(record)
    text = render_summary(summary)
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[0] == "Study quickstart"
    flat = " ".join(text.split())
    for verdict in (*summary.model_verdicts, *summary.optimizer_verdicts):
        assert verdict.sentence in flat
    for activity in record.timing:
        assert activity in text
    assert "training 1 min 36 s" in flat
    assert "optimistic" in text
    assert "± 28 percentage points" in text
    best = summary.leaderboard.to_pylist()[0]
    assert f"1 {best['arm']} {percent(best['best_error'])} lr {setting(best['lr'])}" in flat


def test_long_names_keep_the_width(make_record: MakeRecord) -> None:
    arms = [f"{'m' * 60}{number}/{'o' * 30}{kind}" for number in range(3) for kind in "ab"]
    text = render_summary(summarize(make_record(arms, 3, study="s" * 40)))
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("status", ["pending", "failed", "diverged", "pruned", "running"])
def test_a_study_without_any_result(make_record: MakeRecord, status: str) -> None:
    keys = make_record().trials["key"].to_pylist()
    text = render_summary(summarize(make_record(records={key: TrialRecord(status=status) for key in keys})))
    assert "No completed trial yet" in text


def test_a_study_of_adaptive_trials_only(make_record: MakeRecord) -> None:
    summary = summarize(make_record(sampler="tpe"))
    assert (summary.arms, summary.n_other) == ((), 96)
    assert "No trial of a non-adaptive sampler in phase stability" in render_summary(summary)


def test_text_edf_rises_with_the_edf() -> None:
    edf = empirical_distribution([1.0, 2.0, 3.0, 4.0], diverged=4)
    assert text_edf(edf, 0.0, 5.0, 5) == "▁▂▃▄▄"
    assert text_edf(empirical_distribution([1.0, 2.0]), 0.0, 4.0, 4) == "▄███"
    assert text_edf(empirical_distribution(np.arange(1000.0)), -10.0, 999.0, 2)[-1] == "█"
    assert text_edf(empirical_distribution(np.arange(1000.0)), -10.0, -5.0, 3) == "   "


def test_text_table_aligns_numbers_to_the_right() -> None:
    assert text_table(["a", "n"], [["x", "1"], ["long", "100"]]) == "a       n\nx       1\nlong  100"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(-3.14), "−3.1"),
        (percent(float("inf")), "∞"),
        (percent(None), "–"),
        (bounded(1.0, 1.0), "1.0"),
        (bounded(float("-inf"), 3.0), "≤ 3.0"),
        (bounded(2.0, float("inf")), "≥ 2.0"),
        (bounded(float("-inf"), float("inf")), "unknown"),
        (bounded(float("inf"), float("inf")), "∞"),
        (duration(9.96), "10.0 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(185.0), "3 min 05 s"),
        (duration(7_800.0), "2 h 10 min"),
        (setting(0.00123456), "0.00123"),
        (setting(True), "True"),
        (setting(None), "–"),
        (share(0.0), "0 %"),
        (share(0.004), "<1 %"),
        (share(0.005), "<1 %"),
        (share(0.006), "1 %"),
        (share(0.994), "99 %"),
        (share(0.995), ">99 %"),
        (share(0.997), ">99 %"),
        (share(1.0), "100 %"),
    ],
)
def test_formats(text: str, expected: str) -> None:
    assert text == expected
