"""The EDF against scipy, the band against its closed form and by simulation, the bounds against all completions."""

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import ecdf

from dashboards.statistics.edf import arm_edf, band_in_words, dkw_half_width, empirical_distribution
from dashboards.tables import TrialRecord, build_trials

# A coarse grid, so that equal errors occur.
error_lists = st.lists(st.integers(0, 400).map(lambda quarter: quarter / 4), min_size=1, max_size=40)


@given(error_lists)
def test_equals_scipy(errors: list[float]) -> None:
    edf = empirical_distribution(errors)
    reference = ecdf(np.array(errors)).cdf
    np.testing.assert_array_equal(edf.x, reference.quantiles)
    np.testing.assert_allclose(edf.lower, reference.probabilities, rtol=0, atol=1e-15)
    for error in (*errors, -1.0, 50.1, 1e9):
        assert edf(error) == pytest.approx(float(reference.evaluate(error)), abs=1e-15)


@given(error_lists, st.integers(1, 10))
def test_diverged_trials_are_infinite_errors(errors: list[float], diverged: int) -> None:
    edf = empirical_distribution(errors, diverged=diverged)
    # scipy takes no infinities; a value beyond all others stands in for them.
    reference = ecdf(np.array([*errors, *[1e12] * diverged])).cdf
    finite = reference.quantiles < 1e12
    np.testing.assert_array_equal(edf.x, reference.quantiles[finite])
    np.testing.assert_allclose(edf.lower, reference.probabilities[finite], rtol=0, atol=1e-15)
    assert edf(1e9) == len(errors) / (len(errors) + diverged) < 1
    np.testing.assert_array_equal(edf.lower, edf.upper)


@given(error_lists, st.integers(0, 4), st.data())
def test_bounds_hold_every_completion(errors: list[float], diverged: int, data: st.DataObject) -> None:
    outcome = st.one_of(st.floats(0, 100), st.just(math.inf))
    unknown = data.draw(st.lists(outcome, min_size=1, max_size=6))
    edf = empirical_distribution(errors, diverged=diverged, missing=len(unknown))
    finite = [value for value in unknown if math.isfinite(value)]
    completed = empirical_distribution([*errors, *finite], diverged=diverged + len(unknown) - len(finite))
    truth = np.array([completed(error) for error in edf.x])
    assert (edf.lower <= truth + 1e-15).all()
    assert (truth <= edf.upper + 1e-15).all()
    assert (edf.band_lower <= edf.lower).all()
    assert (edf.upper <= edf.band_upper).all()
    share = data.draw(st.floats(0.01, 1))
    low, high = edf.quantile_bounds(share)
    assert low <= completed.quantile(share) <= high


@given(error_lists, st.integers(0, 5), st.floats(0.001, 1))
def test_quantile_is_the_smallest_error_that_reaches_the_share(
    errors: list[float], diverged: int, share: float
) -> None:
    edf = empirical_distribution(errors, diverged=diverged)
    reached = [error for error in sorted(errors) if edf(error) >= share]
    assert edf.quantile(share) == (reached[0] if reached else math.inf)


def test_quantile_of_every_step_is_that_step() -> None:
    edf = empirical_distribution(range(24))
    assert [edf.quantile(edf(error)) for error in range(24)] == list(range(24))


def test_half_width_has_the_closed_form() -> None:
    # ln(2 / 0.05) = 3.68887945..., / 48 = 0.07685166, root 0.27722.
    assert dkw_half_width(24, 0.95) == pytest.approx(0.2772213, abs=1e-7)
    assert empirical_distribution([1.0] * 64).half_width == pytest.approx(math.sqrt(math.log(40) / 128))
    edf = empirical_distribution([1.0, 2.0, 3.0, 4.0], missing=4, diverged=2)
    width = dkw_half_width(10, 0.95)
    np.testing.assert_allclose(edf.band_lower, np.maximum(np.array([0.1, 0.2, 0.3, 0.4]) - width, 0))
    np.testing.assert_allclose(edf.band_upper, np.minimum(np.array([0.5, 0.6, 0.7, 0.8]) + width, 1))


@pytest.mark.parametrize("n", [5, 24, 100])
def test_band_covers_the_true_distribution(n: int) -> None:
    generator = np.random.default_rng(n)
    runs, covered = 2_000, 0
    for _ in range(runs):
        # F is the identity on [0, 1]; the supremum over all of it is reached at or just before a step.
        edf = empirical_distribution(generator.random(n))
        before = np.concatenate([[0.0], edf.lower[:-1]])
        largest = max(np.abs(edf.lower - edf.x).max(), np.abs(before - edf.x).max())
        covered += bool(largest <= edf.half_width)
    assert covered / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs)


def test_quantile_interval_of_a_median_worked_out_by_hand() -> None:
    # Binomial(10, 1/2): P(B <= 1) = 11 / 1024 = 1.07 %, P(B <= 2) = 56 / 1024 = 5.5 %: the 2nd and the 9th value.
    edf = empirical_distribution(range(1, 11))
    assert edf.quantile_interval(0.5) == (2.0, 9.0)
    assert edf.quantile_interval(0.5, confidence=0.88) == (3.0, 8.0)
    # 0.9 ** 10 = 35 %: nothing is known about how low the lowest tenth goes; 1: nor how high the highest value.
    assert edf.quantile_interval(0.1)[0] == -math.inf
    assert edf.quantile_interval(1.0) == (10.0, math.inf)
    assert empirical_distribution([1.0], diverged=9).quantile_interval(0.5) == (math.inf, math.inf)
    assert empirical_distribution(range(1, 9), missing=2).quantile_interval(0.5) == (-math.inf, math.inf)
    for share, confidence in ((0.0, 0.95), (1.1, 0.95), (0.5, 1.0)):
        with pytest.raises(ValueError, match=r"share|confidence"):
            edf.quantile_interval(share, confidence)


@given(error_lists, st.integers(0, 4), st.lists(st.one_of(st.floats(0, 100), st.just(math.inf)), max_size=6))
def test_quantile_interval_holds_that_of_every_completion(
    errors: list[float], diverged: int, unknown: list[float]
) -> None:
    finite = [value for value in unknown if math.isfinite(value)]
    completed = empirical_distribution([*errors, *finite], diverged=diverged + len(unknown) - len(finite))
    bounds = empirical_distribution(errors, diverged=diverged, missing=len(unknown)).quantile_interval(0.5)
    interval = completed.quantile_interval(0.5)
    assert bounds[0] <= interval[0] <= completed.quantile(0.5) <= interval[1] <= bounds[1]


@pytest.mark.parametrize(("n", "share"), [(8, 0.5), (24, 0.25), (64, 0.5), (64, 0.9)])
def test_quantile_interval_keeps_its_level_whatever_the_distribution(n: int, share: float) -> None:
    generator = np.random.default_rng(n)
    runs = 2_000
    # Skewed, in whole numbers (ties), and with a tenth of the draws diverged.
    samples = {
        "lognormal": generator.lognormal(size=(runs, n)),
        "ties": generator.integers(1, 5, size=(runs, n)).astype(float),
        "diverged": np.where(generator.random((runs, n)) < 0.1, np.inf, generator.random((runs, n))),
    }
    true = {
        "lognormal": float(stats.lognorm.ppf(share, 1.0)),
        "ties": math.ceil(4 * share),
        "diverged": share / 0.9,
    }
    for name, rows in samples.items():
        covered = 0
        for row in rows:
            finite = row[np.isfinite(row)]
            edf = empirical_distribution(finite, diverged=n - len(finite))
            low, high = edf.quantile_interval(share)
            covered += low <= true[name] <= high
        assert covered / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs), name


def test_words_say_what_the_band_is_worth() -> None:
    proven = "the band is proven for independent random draws"
    assert band_in_words(["random", "random"]) == band_in_words([]) == proven
    even = f"{proven}; for Halton and Sobol draws it is not, and is usually wider than needed"
    assert band_in_words({"sobol", "random", "halton"}) == even
    assert band_in_words(["grid"]) == f"{proven}; for a grid it is not, and can be too narrow"
    assert band_in_words(["grid", "csv"]) == (
        f"{proven}; for a grid it is not, and can be too narrow; for draws of csv it is not"
    )


def test_a_grid_can_leave_the_band() -> None:
    # Three points a dimension and three dimensions; the error is the first coordinate: F_n is 1/6 off at 1/6 - 0.
    coordinate = np.repeat([1 / 6, 3 / 6, 5 / 6], 9 * 50)
    edf = empirical_distribution(coordinate)
    assert abs(edf(1 / 6) - 1 / 6) > edf.half_width


def test_outline_has_both_ends_and_the_steps_between() -> None:
    outline = empirical_distribution([10.0, 20.0, 30.0], missing=1).outline(5.0, 25.0)
    assert outline.x.tolist() == [5.0, 10.0, 20.0, 25.0]
    assert outline.lower.tolist() == [0.0, 0.25, 0.5, 0.5]
    assert outline.upper.tolist() == [0.25, 0.5, 0.75, 0.75]
    assert outline.band_upper.tolist()[-1] == 1.0


def test_only_diverged_or_missing_trials() -> None:
    edf = empirical_distribution([], diverged=2, missing=2)
    assert len(edf.x) == 0
    assert edf(100.0) == 0.0
    assert edf.quantile_bounds(0.5) == (-math.inf, math.inf)
    assert edf.quantile_bounds(1.0) == (math.inf, math.inf)
    assert edf.outline(0.0, 100.0).upper.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("errors", "counts", "message"),
    [
        ([], {}, "at least one trial"),
        ([math.nan], {}, "not finite"),
        ([math.inf], {}, "not finite"),
        ([1.0], {"diverged": -1}, "at least 0"),
        ([1.0], {"confidence": 1.0}, "confidence"),
    ],
)
def test_bad_input_is_named(errors: list[float], counts: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        empirical_distribution(errors, **counts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="share"):
        empirical_distribution([1.0]).quantile(0.0)


@pytest.mark.parametrize("sampler", ["random", "sobol", "halton", "grid"])
def test_arm_edf_counts_the_whole_ledger(make_ledger: Callable[..., pa.Table], sampler: str) -> None:
    ledger = make_ledger(["vit/sgd", "vit/adamw"], 6, sampler=sampler)
    statuses = ["completed", "diverged", "failed", "lost", "running"]
    records = {
        f"stability/vit/sgd/{draw:06d}/0": TrialRecord(status=status, error=40.0 if status == "completed" else None)
        for draw, status in enumerate(statuses)
    }
    edf = arm_edf(build_trials(ledger, records), "vit/sgd")
    assert (edf.arm, edf.n, edf.n_completed, edf.n_diverged, edf.n_missing) == ("vit/sgd", 6, 1, 1, 4)
    assert edf(40.0) == 1 / 6


def test_adaptive_samplers_and_other_phases_stay_out(make_ledger: Callable[..., pa.Table]) -> None:
    random = build_trials(make_ledger(["vit/sgd"], 3), {})
    adaptive = build_trials(make_ledger(["vit/sgd", "cnn/sgd"], 5, sampler="tpe"), {})
    search = build_trials(make_ledger(["vit/sgd"], 7, phase="search"), {})
    trials = pa.concat_tables([random, adaptive, search])
    assert arm_edf(trials, "vit/sgd").n == 3
    assert arm_edf(trials, "vit/sgd", phase="search").n == 7
    with pytest.raises(ValueError, match=r"No arm 'cnn/sgd' .* arms that have: vit/sgd\."):
        arm_edf(trials, "cnn/sgd")


@settings(max_examples=20)
@given(error_lists)
def test_order_does_not_matter(errors: list[float]) -> None:
    np.testing.assert_array_equal(
        empirical_distribution(errors).lower, empirical_distribution(list(reversed(errors))).lower
    )
