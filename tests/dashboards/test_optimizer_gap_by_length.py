"""The gap of optimizers by training length, and the gap to the longest training: numbers worked out by hand."""

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from scipy import stats

from dashboards.statistics.lengths import lengths
from dashboards.statistics.optimizer_gap import LENGTH_GAP_SCHEMA, optimizer_gap_by_length

MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]

# The 97.5 % quantile of t with 2 degrees of freedom.
T2 = 4.302653


def by_length(trials: pa.Table) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["model"], row["epochs"]): row for row in optimizer_gap_by_length(trials).to_pylist()}


def test_gaps_of_the_same_seeds(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("length", "vit/adamw", [20.0, 22.0, 24.0], epochs=50),
        make_rows("length", "vit/sgd", [25.0, 28.0, 31.0], epochs=50),
        make_rows("length", "vit/sgd", [26.0], epochs=100),
        make_rows("length", "cnn/adamw", [26.0], epochs=50),
        make_rows("stability", "vit/sgd", [1.0], sampler="random", epochs=50),
    )
    table = optimizer_gap_by_length(trials)
    assert table.schema == LENGTH_GAP_SCHEMA
    (row,) = table.to_pylist()
    assert (row["model"], row["epochs"], row["optimizer_a"], row["optimizer_b"]) == ("vit", 50, "adamw", "sgd")
    assert (row["mean_a"], row["mean_b"], row["gap"], row["paired"]) == (22.0, 28.0, 6.0, True)
    # Seed by seed 5, 6 and 7.
    assert row["gap_low"] == pytest.approx(6 - T2 / math.sqrt(3), abs=1e-5)
    assert row["gap_high"] == pytest.approx(6 + T2 / math.sqrt(3), abs=1e-5)
    assert (row["n_a"], row["n_b"], row["diverged_a"], row["missing_b"]) == (3, 3, 0, 0)
    assert (row["phase_a"], row["phase_b"], row["carried_a"]) == ("length", "length", False)


def test_gaps_of_other_numbers_of_seeds(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    a, b = [20.0, 22.0, 24.0], [25.0, 28.0]
    row = by_length(make_trials(make_rows("length", "vit/adamw", a), make_rows("peak", "vit/sgd", b)))["vit", 10]
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (row["gap"], row["paired"], row["phase_b"]) == (4.5, False, "peak")
    assert (row["gap_low"], row["gap_high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_diverged_arms_have_the_best_of_their_shorter_trainings(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        *(
            make_rows("length", "vit/adamw", [error, error], epochs=e)
            for e, error in ((50, 30.0), (100, 27.0), (200, 25.0))
        ),
        make_rows("length", "vit/sgd", [40.0, 42.0], epochs=50),
        make_rows("length", "vit/sgd", [35.0, "diverged"], epochs=100),
        make_rows("length", "vit/sgd", ["diverged", "diverged"], epochs=200),
    )
    rows = by_length(trials)
    assert (rows["vit", 50]["gap"], rows["vit", 50]["carried_b"]) == (11.0, False)
    half = rows["vit", 100]
    # One of two seeds diverged: a mean of the other, and no gap.
    assert (half["mean_b"], half["gap"], half["diverged_b"], half["completed_b"]) == (35.0, None, 1, 1)
    last = rows["vit", 200]
    assert (last["mean_b"], last["gap"], last["carried_b"], last["diverged_b"]) == (35.0, 10.0, True, 2)
    assert (last["gap_low"], last["gap_high"], last["carried_a"]) == (None, None, False)


def test_an_arm_that_never_converged_has_nothing_to_carry(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("length", "vit/adamw", [30.0]), make_rows("length", "vit/sgd", ["diverged"]))
    row = by_length(trials)["vit", 10]
    assert (row["mean_b"], row["gap"], row["carried_b"], row["diverged_b"]) == (None, None, False, 1)


def test_a_missing_seed_is_no_divergence(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        *(make_rows("length", "vit/adamw", [30.0, 31.0], epochs=epochs) for epochs in (50, 100)),
        make_rows("length", "vit/sgd", [33.0, 34.0], epochs=50),
        make_rows("length", "vit/sgd", ["diverged", "lost"], epochs=100),
    )
    row = by_length(trials)["vit", 100]
    assert (row["mean_b"], row["gap"], row["carried_b"], row["missing_b"]) == (None, None, False, 1)


def test_one_training_in_two_phases_counts_once(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("length", "vit/adamw", ["lost", 22.0]),
        make_rows("reference", "vit/adamw", [20.0, 22.0, 24.0]),
        # The tuned setting of the peak is another one.
        make_rows("peak", "vit/adamw", [1.0, 1.0, 1.0], setting={"lr": 9.0}),
        make_rows("reference", "vit/sgd", [30.0, 32.0, 34.0]),
    )
    row = by_length(trials)["vit", 10]
    assert (row["n_a"], row["missing_a"], row["mean_a"], row["phase_a"]) == (3, 0, 22.0, "length")
    assert (row["gap"], row["paired"], row["phase_b"]) == (10.0, True, "reference")


def test_no_given_settings(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("stability", "vit/sgd", [1.0], sampler="random"))
    assert optimizer_gap_by_length(trials).equals(LENGTH_GAP_SCHEMA.empty_table())


def test_the_gap_to_the_longest_training_has_an_interval(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("length", "a/sgd", [20.0, 22.0, 24.0], epochs=400),
        make_rows("length", "a/sgd", [25.0, 28.0, 31.0], epochs=50),
        make_rows("length", "a/sgd", [23.0, 27.0], epochs=100),
        make_rows("length", "a/sgd", [23.0, 27.0, "diverged"], epochs=200),
        make_rows("length", "b/sgd", [30.0], epochs=50),
        make_rows("length", "b/sgd", [20.0], epochs=400),
    )
    rows = {(row["arm"], row["epochs"]): row for row in lengths(trials).to_pylist()}
    found = {key: (row["gap"], row["gap_low"], row["gap_high"]) for key, row in rows.items()}
    half = T2 / math.sqrt(3)
    assert found["a/sgd", 50] == (6.0, pytest.approx(6 - half, abs=1e-5), pytest.approx(6 + half, abs=1e-5))
    expected = stats.ttest_ind([23.0, 27.0], [20.0, 22.0, 24.0], equal_var=False).confidence_interval(0.95)
    assert found["a/sgd", 100] == (3.0, pytest.approx(expected.low), pytest.approx(expected.high))
    assert found["a/sgd", 200] == (None, None, None)
    assert found["a/sgd", 400] == (0.0, 0.0, 0.0)
    assert found["b/sgd", 50] == (10.0, None, None)
    assert rows["a/sgd", 400]["std_error"] == pytest.approx(2 / math.sqrt(3))
    assert rows["b/sgd", 50]["ci_low"] is None
