"""Reports of all kinds of studies: tiny, huge, imported, merged, of one phase, with names that do not fit."""

import base64
import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dashboards.figures import edf_figure
from dashboards.figures.compact import compact_json
from dashboards.report.captions import draws_in_words
from dashboards.report.page import render_report, report_figures
from dashboards.statistics.costs import ArmCost
from dashboards.statistics.edf import empirical_distribution
from dashboards.summary import render_summary, summarize
from dashboards.tables import TrialRecord
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]
MakeRows = Callable[..., list[dict[str, Any]]]


def text_of(page: str) -> str:
    bare = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bare)).split())


def figures_of(record: StudyRecord) -> list[str]:
    return list(report_figures(record, summarize(record)))


def test_ten_thousand_trials_fit_into_eight_megabytes(make_record: MakeRecord) -> None:
    arms = [f"vit_{stem}_{size}/{optimizer}" for stem in "cp" for size in (1, 4) for optimizer in ("adamw", "sgd")]
    record = make_record(arms, 1_250)
    assert record.trials.num_rows == 10_000
    page = render_report(record)
    assert len(page.encode()) < 8_000_000
    assert "n = 1250 random draws per arm" in page


def test_compact_json_keeps_every_point() -> None:
    generator = np.random.default_rng(3)
    figure = edf_figure([empirical_distribution(generator.uniform(1, 90, 500), arm="a/sgd")])
    small = json.loads(compact_json(figure))
    for before, after in zip(figure.data, small["data"], strict=True):
        for name in ("x", "y"):
            values = np.frombuffer(base64.b64decode(after[name]["bdata"]), dtype=f"<{after[name]['dtype']}")
            np.testing.assert_allclose(values, before[name], rtol=1e-7)
    assert len(compact_json(figure)) < 0.6 * len(figure.to_json())


def test_compact_json_is_plotlys_with_shorter_numbers() -> None:
    generator = np.random.default_rng(3)
    figure = edf_figure([empirical_distribution(generator.uniform(1, 90, 50), arm="a/sgd")])
    figure.update_layout(meta={"none": float("nan"), "number": np.float64(0.1), "several": (1, 2.5)})
    small, whole = json.loads(compact_json(figure)), json.loads(figure.to_json())
    assert small["layout"] == whole["layout"]
    assert [set(trace) for trace in small["data"]] == [set(trace) for trace in whole["data"]]


def test_compact_json_writes_null_for_what_is_no_number_wherever_it_is() -> None:
    odd = [None, "one", float("nan"), float("inf"), np.float32("nan"), np.float32(2)]
    figure = edf_figure([empirical_distribution(np.array([1.0, 2.0]), arm="a/sgd")])
    figure.data[0].update(customdata=np.array([odd, odd], dtype=object), meta={"one": np.float32("-inf"), "all": odd})
    small, whole = json.loads(compact_json(figure)), json.loads(figure.to_json())
    expected = [None, "one", None, None, None, 2]
    assert small["data"][0]["customdata"] == whole["data"][0]["customdata"] == [expected, expected]
    assert small["data"][0]["meta"] == whole["data"][0]["meta"] == {"one": None, "all": expected}


def test_eighteen_arms_have_a_figure_per_optimizer(make_record: MakeRecord) -> None:
    arms = [f"model{number}/{optimizer}" for number in range(9) for optimizer in ("adamw", "sgd")]
    record = make_record(arms, 4)
    figures = report_figures(record, summarize(record))
    assert list(figures)[:3] == ["edf", "stability-adamw", "stability-sgd"]
    assert {t.legendgroup.rpartition("/")[2] for t in figures["stability-sgd"].data if t.legendgroup} == {"sgd"}
    page = render_report(record)
    # 36 pairs of models under each optimizer, and one pair of optimizers for each of nine models.
    assert "Holm's correction over all 81 pairs" in text_of(page)
    assert "Table of 18 rows" in page


def test_one_arm_has_one_figure_of_everything(make_record: MakeRecord) -> None:
    record = make_record(["vit/sgd"], 8)
    assert figures_of(record)[0] == "stability"
    assert "Holm" not in text_of(render_report(record))


def test_optimizers_whose_names_are_alike_have_files_of_their_own(make_record: MakeRecord) -> None:
    record = make_record([f"{model}/{optimizer}" for model in "mn" for optimizer in ("Sgd!", "sgd")], 4)
    assert figures_of(record)[:3] == ["edf", "stability-sgd", "stability-sgd-2"]


def test_the_papers_order(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    groups = []
    for arm in ("c/adamw", "c/sgd"):
        groups += [make_rows("length", arm, [30.0, 31.0], epochs=epochs) for epochs in (5, 10)]
        groups += [make_rows("peak", arm, [20.0, 21.0], epochs=20)]
        groups += [make_rows("stability", arm, [10.0, 12.0, "diverged"], sampler="random")]
        groups += [make_rows("search", arm, [9.0, "pruned"], sampler="tpe")]
    record = make_phases(*groups)
    assert figures_of(record) == ["length", "optimizers", "stability", "peak", "best-of-n", "divergence"]
    text = text_of(render_report(record))
    order = ["In short", "What shorter training costs", "What another optimizer costs", "Which settings work"]
    order += ["Peak: mean error", "What a budget buys", "Where training diverges", "In numbers", "How it was made"]
    places = [text.index(heading) for heading in order]
    assert places == sorted(places)
    assert "n = 2 seeds per point, 8 trials: 0 diverged (0 %), 0 missing (0 %)" in text
    # Adaptive trials and given settings are counted beside every distribution.
    assert text.count("more trials enter no distribution (8 length, 4 peak, 4 search)") >= 3


def test_published_results_only_on_request(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    record = make_phases(make_rows("peak", "c/adamw", [20.0, 21.0]))
    record = replace(record, costs={"c/adamw": ArmCost(parameters=5_000_000)})
    assert "arXiv:2106.14881" not in text_of(render_report(record))
    assert "Published rows are results of others" in text_of(render_report(record, published=True))


def test_an_import_says_where_it_came_from(make_record: MakeRecord) -> None:
    imported = replace(
        make_record(["a/sgd", "b/sgd"], 6),
        tracking_uri="",
        experiment_id="",
        study_run_id="",
        versions={},
        source="results.csv, 12 rows",
        hardware="8 x V100",
        timing={},
        study_yaml="",
        units=pa.table({"key": pa.array([], pa.string())}),
    )
    text = text_of(render_report(imported))
    assert "Imported from results.csv, 12 rows" in text
    assert "Hardware 8 x V100" in text
    for absent in ("MLflow", "Experiment, study run", "study.yaml", "Where the time went"):
        assert absent not in text
    assert "intervals of lr, weight_decay are not recorded" in text


def test_unpaired_arms_have_their_sentence(make_record: MakeRecord, make_drawn: MakeRecord) -> None:
    errors = [1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0]
    record = make_drawn(errors, {"lr": [0.1 * i for i in range(1, 9)]}, arms=["a/sgd"] * 4 + ["b/sgd"] * 4)
    text = text_of(render_report(record))
    (verdict,) = summarize(record).model_verdicts
    assert verdict.sentence in text
    assert "One pair shares no draws, or too few" in text
    # Of 1, 2, 3, 4 half are reached at 2, which is no midpoint.
    assert verdict.sentence.endswith("medians 2.0 and 12.0 %")
    assert "Medians: the lowest error that half of the arm's draws with a result reach." in text


def test_pruned_trials_and_mixed_lengths_are_said(make_rows: MakeRows, make_phases: MakeRecord) -> None:
    pruned = make_rows("stability", "a/sgd", [10.0, "pruned", "pruned", "failed"], sampler="random", epochs=100)
    short = make_rows("stability", "b/sgd", [12.0, 13.0, 14.0, 15.0], sampler="random", epochs=3)
    summary = summarize(make_phases(pruned, short))
    assert "; 3 without a result (38 %), of them 2 stopped early; trials of 3 and 100 epochs are mixed" in (
        draws_in_words(summary.arms, summary)
    )
    one, other = (draws_in_words([arm], summary) for arm in summary.arms)
    assert one.endswith("3 without a result (75 %), of them 2 stopped early")
    assert other.endswith("0 without a result")
    groups = [make_rows("stability", f"m{n}/sgd", [1.0, 2.0], sampler="random", epochs=n) for n in (1, 3, 9, 27)]
    assert "trials of 1 to 27 epochs are mixed" in text_of(render_report(make_phases(*groups)))


def test_edges_of_the_space_are_warned_of(make_drawn: MakeRecord) -> None:
    units = np.linspace(0, 1, 40)
    record = make_drawn((50 - 40 * units).tolist(), {"lr": (10 ** (units - 3)).tolist()}, {"lr": units.tolist()})
    (warning,) = summarize(record).space.warnings
    assert warning in text_of(render_report(record))
    assert warning in " ".join(render_summary(summarize(record)).split())


@pytest.mark.parametrize("status", ["failed", "diverged", "pending"])
def test_a_study_of_one_outcome_has_only_figures_that_say_something(make_record: MakeRecord, status: str) -> None:
    keys = make_record().trials["key"].to_pylist()
    record = make_record(records={key: TrialRecord(status=status) for key in keys})
    names = figures_of(record)
    assert "stability-adamw" in names
    assert ("divergence" in names) == (status == "diverged")
    assert ("map" in names) == (status == "diverged")
    assert not {"best-of-n", "importance"} & set(names)
