"""Delta errors and their references: numbers worked out by hand, and scipy's EDF of shifted errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import ecdf

from dashboards.statistics.delta import Reference, delta_edf, reference_error, references_in_words
from dashboards.statistics.edf import arm_edf

MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]
ARM = "vit/sgd"


@pytest.fixture
def drawn(make_rows: MakeRows) -> list[dict[str, Any]]:
    """Six draws after 10 epochs: 12, 10, diverged, 20, 11.5 and one that is lost."""
    return make_rows("stability", ARM, [12.0, 10.0, "diverged", 20.0, 11.5, "lost"], sampler="random")


def test_deltas_are_counted_from_the_mean_of_the_reference_runs(
    make_rows: MakeRows, make_trials: MakeTrials, drawn: list[dict[str, Any]]
) -> None:
    trials = make_trials(drawn, make_rows("reference", ARM, [11.0, 12.0, 13.0]))
    delta = delta_edf(trials, ARM)
    # The standard deviation of 11, 12, 13 is 1.
    source = "mean of 3 reference runs at the centre"
    assert delta.reference == Reference(value=12.0, source=source, n=3, std_error=1 / 3**0.5)
    assert (delta.arm, delta.n, delta.n_completed, delta.n_diverged, delta.n_missing) == (ARM, 6, 4, 1, 1)
    # Two draws ended better than the centre.
    assert delta.errors.tolist() == [-2.0, -0.5, 0.0, 8.0]
    reference = ecdf(np.array([-2.0, -0.5, 0.0, 8.0, 1e9, 1e9])).cdf
    assert [delta(points) for points in (-2.1, -2.0, 0.0, 7.9, 8.0, 1e6)] == pytest.approx(
        reference.evaluate([-2.1, -2.0, 0.0, 7.9, 8.0, 1e6])
    )
    assert [delta.quantile(share) for share in (1 / 6, 0.5, 4 / 6, 5 / 6)] == [-2.0, 0.0, 8.0, math.inf]
    assert delta.quantile_bounds(0.5) == (-0.5, 0.0)
    assert delta.outline(-3.0, 9.0).x.tolist() == [-3.0, -2.0, -0.5, 0.0, 8.0, 9.0]
    np.testing.assert_array_equal(delta.band_upper, arm_edf(trials, ARM).band_upper)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.integers(0, 400).map(lambda quarter: quarter / 4), st.just("diverged")), min_size=1),
    st.integers(0, 400).map(lambda quarter: quarter / 4),
)
def test_equals_scipy_on_shifted_errors(
    make_rows: MakeRows, make_trials: MakeTrials, outcomes: list[float | str], centre: float
) -> None:
    trials = make_trials(make_rows("stability", ARM, outcomes, sampler="sobol"), make_rows("reference", ARM, [centre]))
    delta = delta_edf(trials, ARM)
    shifted = [1e12 if isinstance(outcome, str) else outcome - centre for outcome in outcomes]
    reference = ecdf(np.array(shifted)).cdf
    finite = reference.quantiles < 1e12
    np.testing.assert_array_equal(delta.x, reference.quantiles[finite])
    np.testing.assert_allclose(delta.lower, reference.probabilities[finite], rtol=0, atol=1e-15)


def test_the_lowest_error_stands_in_where_no_reference_run_is(
    make_rows: MakeRows, make_trials: MakeTrials, drawn: list[dict[str, Any]]
) -> None:
    lowest = "lowest error of the sample: no reference run"
    assert reference_error(make_trials(drawn), ARM) == Reference(value=10.0, source=lowest, n=4)
    assert delta_edf(make_trials(drawn), ARM).errors.tolist() == [0.0, 1.5, 2.0, 10.0]
    unlucky = make_trials(drawn, make_rows("reference", ARM, ["diverged", "pending"]))
    assert reference_error(unlucky, ARM) == Reference(value=10.0, source=f"{lowest} completed", n=4)


def test_an_adaptive_trial_is_no_reference(
    make_rows: MakeRows, make_trials: MakeTrials, drawn: list[dict[str, Any]]
) -> None:
    trials = make_trials(drawn, make_rows("search", ARM, [1.0, "pruned"], sampler="tpe"))
    assert reference_error(trials, ARM).value == 10.0


def test_without_any_result_there_is_no_reference_and_still_an_edf(
    make_rows: MakeRows, make_trials: MakeTrials
) -> None:
    trials = make_trials(make_rows("stability", ARM, ["pending", "diverged"], sampler="random"))
    delta = delta_edf(trials, ARM)
    assert (delta.reference.value, delta.reference.n) == (None, 0)
    assert (delta.n, delta.n_completed, delta(100.0)) == (2, 0, 0.0)
    assert references_in_words([delta]) == "vit/sgd (none: no reference run, and no trial of the sample)"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([11.0], Reference(value=11.0, source="one reference run at the centre", n=1)),
        (
            [11.0, "lost", 14.0],
            Reference(
                value=12.5,
                source="mean of the 2 of 3 reference runs at the centre that completed",
                n=2,
                std_error=4.5**0.5 / 2**0.5,
            ),
        ),
    ],
)
def test_only_completed_reference_runs_enter_the_mean(
    make_rows: MakeRows,
    make_trials: MakeTrials,
    drawn: list[dict[str, Any]],
    outcomes: list[float | str],
    expected: Reference,
) -> None:
    assert reference_error(make_trials(drawn, make_rows("reference", ARM, outcomes)), ARM) == expected


def test_the_references_own_noise_moves_the_curve(
    make_rows: MakeRows, make_trials: MakeTrials, drawn: list[dict[str, Any]]
) -> None:
    delta = delta_edf(make_trials(drawn, make_rows("reference", ARM, [11.0, 12.0, 13.0])), ARM)
    # t(0.975, 2 degrees of freedom) = 4.302653, the standard error is 1 / sqrt(3).
    assert delta.reference.half_width() == pytest.approx(4.302653 / 3**0.5, abs=1e-6)
    interval = stats.t.interval(0.9, 2, loc=12.0, scale=stats.sem([11.0, 12.0, 13.0]))
    assert delta.reference.half_width(0.9) == pytest.approx((interval[1] - interval[0]) / 2)
    # Deltas -2, -0.5, 0, 8, +inf and one unknown; 2.48 to either side of 0, then of 6.
    assert delta.share_bounds(0.0) == (0.0, 3 / 6 + 1 / 6)
    assert delta.share_bounds(6.0) == (3 / 6, 4 / 6 + 1 / 6)
    alone = delta_edf(make_trials(drawn, make_rows("reference", ARM, [11.0])), ARM)
    assert (alone.reference.half_width(), alone.share_bounds(4.0)) == (None, None)
    with pytest.raises(ValueError, match="confidence"):
        delta.reference.half_width(1.0)


def test_trials_of_phase_length_count_where_they_train_the_centre_for_as_long(
    make_rows: MakeRows, make_trials: MakeTrials, drawn: list[dict[str, Any]]
) -> None:
    trials = make_trials(
        drawn,
        # Seeds 0 and 1 at the centre; the second was lost.
        make_rows("reference", ARM, [11.0, "lost"]),
        # Seed 0 is the training above, once more; seed 1 is the lost one; seed 2 is a third run.
        make_rows("length", ARM, [11.0, 13.0, 15.0]),
        make_rows("length", ARM, [1.0, 1.0, 1.0], epochs=20),
        # The best setting may be the centre, by chance.
        make_rows("peak", ARM, [2.0, 2.0, 2.0, 2.0]),
        make_rows("reference", "cnn/sgd", [3.0, 3.0, 3.0, 3.0]),
    )
    # 11, 13 and 15: a standard deviation of 2.
    assert reference_error(trials, ARM) == Reference(
        value=13.0, source="mean of 3 reference runs at the centre", n=3, std_error=2 / 3**0.5
    )


def test_reference_runs_of_another_length_do_not_count(
    make_rows: MakeRows, make_trials: MakeTrials, drawn: list[dict[str, Any]]
) -> None:
    trials = make_trials(drawn, make_rows("reference", ARM, [1.0], epochs=20), make_rows("length", ARM, [13.0]))
    # They say what the centre is, though, and a trial of phase length was there for 10 epochs.
    assert reference_error(trials, ARM) == Reference(value=13.0, source="one reference run at the centre", n=1)


def test_a_centre_that_is_not_known_yet_equals_no_setting(
    make_rows: MakeRows, make_trials: MakeTrials, drawn: list[dict[str, Any]]
) -> None:
    trials = make_trials(
        drawn,
        make_rows("reference", ARM, ["pending"], setting={}),
        make_rows("length", ARM, [5.0], setting={}),
        make_rows("peak", ARM, [6.0]),
    )
    source = "lowest error of the sample: no reference run completed"
    assert reference_error(trials, ARM) == Reference(value=10.0, source=source, n=4)


def test_an_unknown_arm_is_named(make_trials: MakeTrials, drawn: list[dict[str, Any]]) -> None:
    for function in (reference_error, delta_edf):
        with pytest.raises(ValueError, match=r"No arm 'cnn/sgd' .* arms that have: vit/sgd\."):
            function(make_trials(drawn), "cnn/sgd")


def test_words_put_arms_with_one_kind_of_reference_together(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    arms = ("a/sgd", "b/sgd", "c/sgd")
    drawn = [row for arm in arms for row in make_rows("stability", arm, [20.0], sampler="random")]
    runs = [row for arm in ("a/sgd", "c/sgd") for row in make_rows("reference", arm, [18.0, 19.0])]
    trials = make_trials(drawn, runs)
    assert references_in_words([delta_edf(trials, arm) for arm in arms]) == (
        "a/sgd 18.5 ± 0.50 %, c/sgd 18.5 ± 0.50 % (mean of 2 reference runs at the centre, ± its standard error); "
        "b/sgd 20.0 % (lowest error of the sample: no reference run)"
    )
