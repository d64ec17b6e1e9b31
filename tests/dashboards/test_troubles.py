"""Why trials have no result: in the report and on the progress page."""

from collections.abc import Callable
from typing import Any

import plotly.io
import pytest

from dashboards.app.address import Address
from dashboards.app.study import StudyData
from dashboards.app.views import progress
from dashboards.report.page import render_report
from dashboards.report.tables import MAX_REASON, MAX_TROUBLES, _between, trouble_table
from dashboards.tables import TrialRecord
from dashboards.tracking.study import StudyRecord
from dashboards.troubles import troubles, troubles_of

MakeRecord = Callable[..., StudyRecord]
HOSTILE = "ValueError: <script>alert(1)</script>"


@pytest.fixture
def troubled(make_record: MakeRecord) -> StudyRecord:
    """Of 12 trials of two arms 3 failed, 4 were lost, 4 completed and 1 diverged."""
    keys = make_record(["a/sgd", "b/sgd"], 6).trials["key"].to_pylist()
    ends = [("failed", HOSTILE)] * 3 + [("lost", "node-3 went away")] * 4 + [("diverged", "loss is not finite")]
    records = {
        key: TrialRecord(status=status, reason=reason) for key, (status, reason) in zip(keys, ends, strict=False)
    }
    records |= {
        key: TrialRecord(status="completed", error=9.0, best_error=9.0, epochs_done=10) for key in keys[len(ends) :]
    }
    return make_record(["a/sgd", "b/sgd"], 6, records=records)


def test_reasons_are_counted_most_trials_first(troubled: StudyRecord) -> None:
    keys = troubled.trials["key"].to_pylist()
    lost, failed = troubles_of(troubled.trials)
    assert (lost.status, lost.reason, lost.keys) == ("lost", "node-3 went away", tuple(keys[3:7]))
    assert lost.arms == ("a/sgd", "b/sgd")
    assert (failed.status, failed.reason, failed.keys, failed.arms) == ("failed", HOSTILE, tuple(keys[:3]), ("a/sgd",))


def test_a_reason_is_one_line_without_what_a_terminal_obeys() -> None:
    rows = [("k1", "a", "lost", None), ("k2", "a", "lost", "  "), ("k3", "a", "failed", "one\n  two\x1b[2J")]
    unknown, said = troubles(rows)
    assert (unknown.reason, unknown.keys) == ("not recorded", ("k1", "k2"))
    assert said.reason == "one two[2J"


def test_many_and_long_reasons_are_cut_and_counted(make_record: MakeRecord) -> None:
    keys = make_record(["a/sgd"], 60).trials["key"].to_pylist()
    records = {key: TrialRecord(status="failed", reason=f"{number} " + "x" * 999) for number, key in enumerate(keys)}
    shown = trouble_table(make_record(["a/sgd"], 60, records=records).trials)
    assert len(shown.rows) == MAX_TROUBLES
    assert {len(row[1]) for row in shown.rows} == {MAX_REASON}
    assert f"{60 - MAX_TROUBLES} trials with other reasons are in the trials table." in shown.note


def test_the_report_says_what_went_wrong(troubled: StudyRecord) -> None:
    page = render_report(troubled)
    assert "<h2>What went wrong</h2>" in page
    assert "node-3 went away" in page
    assert "ValueError: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert HOSTILE not in page
    assert "run --retry-lost" in page


def test_the_progress_page_says_what_went_wrong(troubled: StudyRecord) -> None:
    shown = plotly.io.json.to_json_plotly(progress.render(StudyData(troubled), Address(study="quickstart"), False))
    assert "What went wrong" in shown
    assert "node-3 went away" in shown


def test_nothing_is_said_where_nothing_went_wrong(make_record: MakeRecord) -> None:
    record = make_record(["a/sgd", "b/sgd"], 6)
    assert "What went wrong" not in render_report(record)
    shown: Any = progress.render(StudyData(record), Address(study="quickstart"), False)
    assert "What went wrong" not in plotly.io.json.to_json_plotly(shown)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 0.0, "0 %"),
        (0.0, 0.004, "<1 %"),
        (0.002, 0.004, "<1 %"),
        (0.0, 0.02, "0–2 %"),
        (0.501, 0.504, "50 %"),
        (0.997, 1.0, ">99 %"),
        (1.0, 1.0, "100 %"),
    ],
)
def test_bounds_of_a_share(low: float, high: float, text: str) -> None:
    assert _between(low, high) == text
