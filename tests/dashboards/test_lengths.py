"""Trials of given settings, by training length: numbers worked out by hand."""

from typing import Any

import pyarrow as pa
import pytest

from dashboards.statistics.lengths import lengths


def trial(
    arm: str, epochs: int, seed: int, error: float | None, status: str = "completed", **changes: Any
) -> dict[str, Any]:
    row = {"phase": "length", "arm": arm, "epochs": epochs, "sampler": "fixed", "seed": seed, "status": status}
    return {**row, "error": error, **changes}


TRIALS = pa.Table.from_pylist(
    [
        trial("b/sgd", 100, 0, 20.0),
        trial("b/sgd", 100, 1, 22.0),
        trial("b/sgd", 50, 0, 30.0),
        trial("b/sgd", 50, 1, 33.0),
        trial("a/sgd", 50, 0, 40.0),
        trial("a/sgd", 100, 0, None, "diverged"),
        trial("a/sgd", 200, 0, None, "lost"),
        trial("a/sgd", 400, 0, 11.0, phase="peak"),
        trial("a/sgd", 50, 0, 1.0, phase="stability", sampler="random"),
    ]
)


def test_errors_by_length() -> None:
    rows = lengths(TRIALS).to_pylist()
    assert [(row["phase"], row["arm"], row["epochs"]) for row in rows] == [
        ("length", "a/sgd", 50),
        ("length", "a/sgd", 100),
        ("length", "a/sgd", 200),
        ("length", "b/sgd", 50),
        ("length", "b/sgd", 100),
        ("peak", "a/sgd", 400),
    ]
    by_key = {(row["arm"], row["epochs"]): row for row in rows}
    short, long = by_key["b/sgd", 50], by_key["b/sgd", 100]
    assert (short["mean_error"], short["lowest_error"], short["highest_error"]) == (31.5, 30.0, 33.0)
    assert (short["gap"], long["gap"]) == (pytest.approx(10.5), 0.0)
    assert (short["n"], short["completed"], short["diverged"], short["missing"]) == (2, 2, 0, 0)


def test_a_gap_to_a_training_without_a_result_is_unknown() -> None:
    by_key = {(row["arm"], row["epochs"]): row for row in lengths(TRIALS).to_pylist()}
    assert by_key["a/sgd", 50]["mean_error"] == 40.0
    assert by_key["a/sgd", 50]["gap"] is None
    assert (by_key["a/sgd", 100]["diverged"], by_key["a/sgd", 100]["mean_error"]) == (1, None)
    assert by_key["a/sgd", 200]["missing"] == 1


def test_a_study_without_given_settings_has_none() -> None:
    assert lengths(TRIALS.slice(8)).num_rows == 0
