"""Search, reference, length and peak in the terminal's summary and in the report, alone and together."""

import html
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from dashboards.figures.points import scatter_points
from dashboards.formats import share
from dashboards.report.page import render_report
from dashboards.selection import other_trials
from dashboards.statistics.compare import compare
from dashboards.statistics.convergence import convergence
from dashboards.statistics.edf import arm_edf
from dashboards.summary import render_summary, summarize
from dashboards.tables import CURVES_SCHEMA, TrialRecord
from dashboards.tracking.study import StudyRecord

MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]
MakeRecord = Callable[..., StudyRecord]

ARMS = ("vit_c/adamw", "vit_p/adamw")
SEARCH_TITLE = "Search: the best setting found per arm (adaptive, not part of any EDF)"


def shown(record: StudyRecord) -> str:
    """The report's text without markup, scripts and styles, in one line."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", render_report(record), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def text(record: StudyRecord) -> str:
    """The terminal's summary in one line; it never is wider than 100 characters."""
    summary = render_summary(summarize(record))
    assert max(map(len, summary.splitlines())) <= 100
    return " ".join(summary.split())


def of_both(make: Callable[[str], Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for arm in ARMS for row in make(arm)]


def test_only_a_search(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    ends = [30.0, "diverged", 21.0, "pruned", "failed", "pending"]
    record = make_phases(
        make_rows("search", ARMS[0], ends, sampler="tpe"),
        make_rows("search", ARMS[1], ["pending", "pending"], sampler="tpe", setting={}),
    )
    assert (summarize(record).arms, summarize(record).others) == ((), {"search": 8})
    for page in (text(record), shown(record)):
        assert SEARCH_TITLE in page
        assert "No trial of a non-adaptive sampler" not in page
    assert (
        "- vit_c/adamw: 21.0 % with lr 1.5, weight_decay 0.25 (draw 2 of 6 trials: 2 completed, 1 diverged, 1 pruned, "
        "1 failed or lost, 1 not finished)."
    ) in text(record)
    assert "- vit_p/adamw: no completed trial (2 trials: 2 not finished)." in text(record)
    page = shown(record)
    assert "2 arms · 8 trials · 2 completed, 1 diverged, 1 pruned, 4 without a result" in page
    assert "vit_c/adamw 21.0 1.5 0.25 2 6 2 1 1 1 1" in page
    assert "vit_p/adamw – – – – 2 0 0 0 0 2" in page
    assert "failed not recorded vit_c/adamw search/vit_c/adamw/000004/0 1" in page
    for absent in ("How the errors are distributed", "Peak", "training length", "random draws"):
        assert absent not in page


def test_only_lengths(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    record = make_phases(make_rows("length", ARMS[0], [20.0, 22.0], epochs=5), make_rows("length", ARMS[0], [18.0]))
    assert "vit_c/adamw length 5 2 0 21.0 3.0" in text(record)
    page = shown(record)
    assert "Error by training length" in page
    assert "vit_c/adamw length 5 2 2 0 0 21.0 [8.3, 33.7] 20.0 22.0 3.0" in page
    for absent in ("Search:", "Peak", "How the errors are distributed"):
        assert absent not in page + text(record)


def test_only_a_peak(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    record = make_phases(make_rows("peak", ARMS[0], [20.0, "lost", 23.0]), make_rows("peak", ARMS[1], [19.0]))
    assert "vit_p/adamw 1 10 1 0 0 19.0 – vit_c/adamw 2 10 3 0 1 21.5 [2.4, 40.6]" in text(record)
    assert "- vit_c/adamw, 10 epochs: lr 0.5, weight_decay 0.25" in text(record)
    page = shown(record)
    assert "Peak: mean error over several seeds" in page
    assert "vit_p/adamw 1 (1–2) 10 1 1 0 0 19.0 – 19.0 19.0 0.5 0.25" in page
    assert "vit_c/adamw 2 (1–2) 10 3 2 0 1 21.5 [2.4, 40.6] 20.0 23.0 0.5 0.25" in page
    assert summarize(record).lengths.num_rows == 0
    for absent in ("Search:", "training length", "How the errors are distributed"):
        assert absent not in page + text(record)


def test_only_references(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    record = make_phases(make_rows("reference", ARMS[0], [20.0, 22.0]))
    assert "Reference runs at each arm's centre" in shown(record)
    assert "vit_c/adamw reference 10 2 0 21.0 0.0" in text(record)


def test_all_phases_of_a_study(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    record = make_phases(
        of_both(lambda arm: make_rows("stability", arm, [10.0, 14.0, "diverged", 30.0], sampler="random")),
        of_both(lambda arm: make_rows("search", arm, [11.0, "pruned"], sampler="tpe")),
        make_rows("reference", ARMS[0], [12.0, 13.0]),
        of_both(lambda arm: make_rows("length", arm, [40.0], epochs=5)),
        of_both(lambda arm: make_rows("peak", arm, [9.0, 8.0], epochs=20)),
    )
    summary = summarize(record)
    others = "12 more trials enter no distribution (2 length, 4 peak, 2 reference, 4 search)"
    references = (
        "vit_c/adamw 12.5 ± 0.50 % (one kind); vit_p/adamw 10.0 % (lowest error of the sample: no reference run)"
    ).replace("one kind", "mean of 2 reference runs at the centre, ± its standard error")
    assert [(arm.edf.n, arm.delta.n) for arm in summary.arms] == [(4, 4), (4, 4)]
    assert summary.n_other == 12
    for page in (text(record), shown(record)):
        assert others in page
        assert references in page
        assert SEARCH_TITLE in page
    # From 12.5 %: -2.5, 1.5 and 17.5; from 10 %: 0, 4 and 20. The median is the second of four.
    # Areas up to 10 points: (10 + 8.5) / 40 and (10 + 6) / 40.
    assert "vit_c/adamw 12.5 1.5 25 % 50 % 50 % 0.46 vit_p/adamw 10.0 4.0 25 % 25 % 50 % 0.40" in text(record)
    for arm in summary.arms:
        (near,) = [item for item in arm.steepness.within if item.margin == 4.0]
        low, high = near.interval
        assert f"{share(near.lower)} [{100 * low:.0f}, {100 * high:.0f}]" in shown(record)
    assert "2 arms · 20 trials · 16 completed, 2 diverged, 2 pruned" in shown(record)


def test_an_arm_has_one_colour_in_every_table(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    # The arm that sorts first is only searched: the others must not move up.
    record = make_phases(
        make_rows("search", "a/sgd", [9.0], sampler="tpe"),
        make_rows("stability", "b/sgd", [10.0], sampler="random"),
        make_rows("peak", "b/sgd", [9.0]),
    )
    dots = re.findall(r'style="background: (#\w+)"></span>([^<]+)</td>', render_report(record))
    assert set(dots) == {("#0072B2", "a/sgd"), ("#D55E00", "b/sgd")}


def test_long_names_keep_the_width(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    arm = f"{'m' * 60}/{'o' * 30}"
    record = make_phases(
        make_rows("stability", arm, [10.0, "lost"], sampler="random"),
        make_rows("search", arm, [11.0, "pruned"], sampler="tpe"),
        make_rows("reference", arm, [100.0] * 12, epochs=100_000),
        make_rows("peak", arm, [100.0] * 12, epochs=100_000),
    )
    assert "mmm" in text(record)


def test_one_other_trial_is_singular(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    record = make_phases(
        make_rows("stability", ARMS[0], [10.0], sampler="random"), make_rows("reference", ARMS[0], [9.0])
    )
    assert "1 more trial enters no distribution (1 reference)" in text(record)


def test_adaptive_trials_of_the_phase_itself_are_told_apart(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("stability", ARMS[0], [1.0, 2.0], sampler="random"),
        make_rows("stability", ARMS[1], [1.0, 2.0, 3.0], sampler="tpe"),
        make_rows("length", ARMS[0], [1.0]),
    )
    assert other_trials(trials) == {"length": 1, "stability, adaptive": 3}


def test_a_pruned_trial_enters_no_statistic(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("stability", ARMS[0], [10.0, 20.0], sampler="random"),
        make_rows("stability", ARMS[1], [11.0, 21.0], sampler="random"),
        make_rows("search", ARMS[0], ["pruned", 5.0], sampler="tpe"),
    )
    assert arm_edf(trials, ARMS[0]).errors.tolist() == [10.0, 20.0]
    assert arm_edf(trials, ARMS[0]).n == 2
    comparison = compare(trials, *ARMS)
    assert (comparison.n_pairs, comparison.n_missing, comparison.wins_a) == (2, 0, 2)
    curves = pa.Table.from_pylist(
        [
            {"key": f"{phase}/{ARMS[0]}/000000/0", "epoch": 1, "train_loss": 1.0, "error": error}
            for phase, error in (("stability", 50.0), ("search", 90.0))
        ],
        schema=CURVES_SCHEMA,
    )
    assert convergence(trials, curves).select(["n", "error_median"]).to_pylist() == [{"n": 1, "error_median": 50.0}]


def test_a_pruned_trial_has_no_final_error() -> None:
    assert TrialRecord(status="pruned", best_error=30.0, epochs_done=3, reason="behind the median").error is None
    with pytest.raises(ValueError, match=r"got 12\.0 for a pruned trial"):
        TrialRecord(status="pruned", error=12.0)


def test_settings_that_are_not_known_yet_break_nothing(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    unknown = [
        make_rows(phase, arm, ["pending", "pending"], sampler=sampler, setting={})
        for phase, sampler in (("search", "tpe"), ("stability", "random"), ("reference", "fixed"), ("peak", "fixed"))
        for arm in ARMS
    ]
    record = make_phases(*unknown)
    assert scatter_points(record.trials).draws.tolist() == []
    assert "No completed trial yet" in text(record)
    assert "2 arms · 16 trials · 0 completed, 16 without a result" in shown(record)


def test_columns_of_unknown_settings_may_have_no_type_yet(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    record = make_phases(make_rows("stability", ARMS[0], ["pending"], sampler="random", setting={}))
    place = record.trials.column_names.index("lr")
    typeless = record.trials.set_column(place, pa.field("lr", pa.null()), pa.nulls(1))
    assert [panel.title for panel in scatter_points(typeless).panels] == ["weight_decay"]
