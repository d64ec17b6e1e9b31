"""What a search found, and the leaderboard over seeds: numbers worked out by hand."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dashboards.statistics.centres import centres
from dashboards.statistics.peak import peak

MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]


def test_centres(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    ends = [30.0, "diverged", 21.0, "pruned", 21.0, "failed", "lost", "running", "pending", "pruned"]
    trials = make_trials(
        make_rows("search", "vit/sgd", ends, sampler="tpe"),
        make_rows("search", "cnn/adamw", ["pending", "pending"], sampler="tpe", setting={}),
        make_rows("stability", "vit/sgd", [1.0], sampler="random"),
    )
    assert centres(trials).to_pylist() == [
        {
            "arm": "cnn/adamw",
            "model": "cnn",
            "optimizer": "adamw",
            "n": 2,
            "completed": 0,
            "diverged": 0,
            "pruned": 0,
            "failed_or_lost": 0,
            "pending": 2,
            "best_error": None,
            "best_draw": None,
            "lr": None,
            "weight_decay": None,
        },
        {
            "arm": "vit/sgd",
            "model": "vit",
            "optimizer": "sgd",
            "n": 10,
            "completed": 3,
            "diverged": 1,
            "pruned": 2,
            "failed_or_lost": 2,
            "pending": 2,
            # Draws 2 and 4 tie; draw 2 has the learning rate 0.5 * 3.
            "best_error": 21.0,
            "best_draw": 2,
            "lr": 1.5,
            "weight_decay": 0.25,
        },
    ]


def test_ties_go_to_the_lowest_draw_in_any_order(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("search", "vit/sgd", [9.0, 8.0, 8.0], sampler="tpe"))
    for order in ([0, 1, 2], [2, 1, 0], [2, 0, 1]):
        assert centres(trials.take(order))["best_draw"].to_pylist() == [1]


def test_a_study_without_a_search_or_a_peak_has_none(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("stability", "vit/sgd", [1.0], sampler="random"))
    assert (centres(trials).num_rows, peak(trials).num_rows) == (0, 0)
    assert centres(trials).column_names[-2:] == peak(trials).column_names[-2:] == ["lr", "weight_decay"]


def test_peak(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("peak", "a/sgd", [20.0, 22.0, 24.0], epochs=400),
        make_rows("peak", "b/sgd", [21.0, "diverged", 20.0], epochs=400, setting={"lr": 2.0}),
        make_rows("peak", "c/sgd", ["lost", "diverged"], epochs=400),
        make_rows("peak", "a/sgd", [18.0], epochs=100),
        make_rows("length", "a/sgd", [1.0], epochs=400),
    )
    table = peak(trials)
    columns = ["arm", "epochs", "n", "completed", "diverged", "missing", "mean_error", "lowest_error", "highest_error"]
    assert [tuple(row.values()) for row in table.select(columns).to_pylist()] == [
        ("b/sgd", 400, 3, 2, 1, 0, 20.5, 20.0, 21.0),
        ("a/sgd", 400, 3, 3, 0, 0, 22.0, 20.0, 24.0),
        ("c/sgd", 400, 2, 0, 1, 1, None, None, None),
        # A shorter training is another question, however low its error.
        ("a/sgd", 100, 1, 1, 0, 0, 18.0, 18.0, 18.0),
    ]
    assert table["lr"].to_pylist() == [2.0, 0.5, 0.5, 0.5]
    assert table["weight_decay"].to_pylist() == [None, 0.25, 0.25, 0.25]
    assert table["model"].to_pylist() == ["b", "a", "c", "a"]


def test_a_peak_of_unknown_length_comes_last(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("peak", "a/sgd", [9.0]), make_rows("peak", "b/sgd", [1.0], epochs=3))
    place = trials.column_names.index("epochs")
    epochs = [None if row["arm"] == "b/sgd" else row["epochs"] for row in trials.to_pylist()]
    trials = trials.set_column(place, "epochs", pa.array(epochs, pa.int64()))
    assert [row["arm"] for row in peak(trials).to_pylist()] == ["a/sgd", "b/sgd"]
