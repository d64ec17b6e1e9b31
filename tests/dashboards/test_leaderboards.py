"""Ranks, intervals and costs in the leaderboards; hyperparameters with names of their columns."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dashboards.columns import setting_columns
from dashboards.statistics.centres import centres
from dashboards.statistics.costs import ArmCost
from dashboards.statistics.leaderboard import leaderboard
from dashboards.statistics.peak import peak
from dashboards.tables import HYPERPARAMETERS_METADATA, hyperparameters_of

MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]
MakeRecord = Callable[..., Any]

COSTS = {"a/sgd": ArmCost(parameters=5, flops=7, activations=9, images_per_epoch=600, gpus=2)}


def timed(trials: pa.Table, *, seconds: float, epochs_done: int) -> pa.Table:
    for name, value in (("seconds", seconds), ("epochs_done", epochs_done)):
        field = trials.schema.field(name)
        trials = trials.set_column(
            trials.column_names.index(name), field, pa.array([value] * trials.num_rows, field.type)
        )
    return trials


def renamed(trials: pa.Table, names: dict[str, str]) -> pa.Table:
    hyperparameters = [names.get(name, name) for name in hyperparameters_of(trials)]
    trials = trials.rename_columns([names.get(name, name) for name in trials.column_names])
    return trials.replace_schema_metadata({HYPERPARAMETERS_METADATA: json.dumps(hyperparameters)})


def test_peak_ranks_within_a_length(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("peak", "a/sgd", [20.0, 20.1, 20.2], epochs=400),
        make_rows("peak", "b/sgd", [10.0, 10.1, 10.2], epochs=400),
        make_rows("peak", "c/sgd", [30.0], epochs=400),
        make_rows("peak", "d/sgd", ["lost"], epochs=400),
        make_rows("peak", "a/sgd", [35.0, 35.5], epochs=100),
    )
    table = peak(trials)
    ranks = table.select(["arm", "epochs", "rank", "rank_low", "rank_high"]).to_pylist()
    assert [tuple(row.values()) for row in ranks] == [
        ("b/sgd", 400, 1, 1, 2),
        ("a/sgd", 400, 2, 2, 3),
        ("c/sgd", 400, 3, 1, 3),
        ("d/sgd", 400, None, None, None),
        ("a/sgd", 100, 1, 1, 1),
    ]
    first = table.to_pylist()[0]
    assert first["std_error"] == pytest.approx(0.1 / math.sqrt(3))
    assert first["ci_low"] == pytest.approx(10.1 - 4.30265 * 0.1 / math.sqrt(3), abs=1e-5)
    assert table["ci_high"].to_pylist()[2:4] == [None, None]
    assert not any(table["published"].to_pylist())


def test_peak_has_costs(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("peak", "a/sgd", [20.0, 21.0]), make_rows("peak", "b/sgd", [10.0]))
    rows = {row["arm"]: row for row in peak(timed(trials, seconds=1800, epochs_done=3), COSTS).to_pylist()}
    a = rows["a/sgd"]
    assert (a["parameters"], a["flops"], a["activations"]) == (5, 7, 9)
    # Two trials of 1800 s on two GPUs; each has 3 epochs of 600 images.
    assert (a["images_per_s"], a["gpu_hours"], a["compute_hours"]) == (1.0, 2.0, 1.0)
    b = rows["b/sgd"]
    assert (b["parameters"], b["images_per_s"], b["gpu_hours"], b["compute_hours"]) == (None, None, None, 0.5)


def test_published_rows_change_no_rank(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("peak", "a/sgd", [20.0, 20.1, 20.2], epochs=400), make_rows("peak", "b/sgd", [90.0], epochs=5)
    )
    table = peak(trials, published=True)
    ours = table.filter(pa.compute.invert(table["published"]))
    assert ours.equals(peak(trials))
    theirs = table.filter(table["published"])
    assert theirs.num_rows == 57
    assert theirs["rank"].null_count == theirs["n"].null_count == theirs["lr"].null_count == 57
    (row,) = [row for row in theirs.to_pylist() if row["model"] == "vit_c_1gf" and row["epochs"] == 400]
    assert row["arm"] == "vit_c_1gf (arXiv:2106.14881, Table 2)"
    assert (row["mean_error"], row["parameters"], row["flops"]) == (24.7, 4_600_000, 1_100_000_000)
    # Sorted among ours: the longest first, then by error.
    order = [(-row["epochs"], row["mean_error"]) for row in table.to_pylist()]
    assert order == sorted(order)


def test_leaderboard_has_ranges_and_costs(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    errors = np.linspace(10, 80, 30)
    trials = make_trials(
        make_rows("stability", "a/sgd", list(errors), sampler="random"),
        make_rows("stability", "b/sgd", list(errors + 0.5), sampler="random"),
        make_rows("stability", "c/sgd", ["diverged"] * 30, sampler="random"),
        make_rows("search", "b/sgd", [1.0], sampler="tpe"),
    )
    rows = leaderboard(timed(trials, seconds=12, epochs_done=1), costs=COSTS).to_pylist()
    assert [(row["arm"], row["rank"], row["rank_low"], row["rank_high"]) for row in rows] == [
        ("a/sgd", 1, 1, 1),
        ("b/sgd", 2, 2, 2),
        ("c/sgd", None, None, None),
    ]
    # prod (30 - i) / (60 - i): 0.5, 0.246, 0.119, 0.056, 0.026: the fifth lowest of 30 draws.
    assert rows[0]["ci_high"] == pytest.approx(errors[4])
    assert rows[0]["ci_low"] is None
    assert rows[2]["ci_high"] is None
    # 30 draws of 12 s; the trial of the search is not among them.
    assert (rows[0]["gpu_hours"], rows[0]["images_per_s"], rows[1]["gpu_hours"]) == (0.2, 50.0, None)
    assert rows[1]["compute_hours"] == 0.1


def test_the_order_of_trials_changes_nothing(make_record: MakeRecord) -> None:
    trials = make_record().trials
    backwards = trials.take(pa.array(range(trials.num_rows - 1, -1, -1)))
    assert leaderboard(trials).equals(leaderboard(backwards))
    assert leaderboard(trials).equals(leaderboard(trials))


def test_hyperparameters_may_have_names_of_columns(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("stability", "a/sgd", [10.0, 20.0], sampler="random"),
        make_rows("search", "a/sgd", [10.0], sampler="tpe"),
        make_rows("peak", "a/sgd", [10.0]),
    )
    for first, second in (("rank", "n"), ("draws", "best_draw"), ("published", "gpu_hours"), ("lr", "mean_error")):
        same = renamed(trials, {"lr": first, "weight_decay": second})
        for table in (leaderboard(same), centres(same), peak(same)):
            assert len(set(table.column_names)) == len(table.column_names)
            columns = setting_columns(table, [first, second])
            assert table.column_names[-2:] == columns
            assert {column.removeprefix("hyperparameter:") for column in columns} == {first, second}
            assert [table[column].to_pylist() for column in columns] == [[0.5], [0.25]]
    assert leaderboard(renamed(trials, {"lr": "rank"})).column_names[-2] == "hyperparameter:rank"
    assert centres(renamed(trials, {"lr": "rank"})).column_names[-2] == "rank"


def test_tables_without_trials(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("length", "a/sgd", [1.0])).slice(0, 0)
    assert (leaderboard(trials).num_rows, peak(trials).num_rows, centres(trials).num_rows) == (0, 0, 0)
    assert peak(trials, published=True).num_rows == 57
