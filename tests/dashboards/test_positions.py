"""Intervals are recovered exactly where coordinates are known, and guessed where they are not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.space.intervals import Interval, inferred, recovered
from dashboards.space.positions import inferred_in_words, positions
from dashboards.tables import unit_positions
from dashboards.tracking.study import StudyRecord
from search_spaces import (
    Choice,
    Conditional,
    IntUniform,
    LogIntUniform,
    LogUniform,
    SearchSpace,
    Uniform,
    around,
    grid_points,
    unit_points,
)

MakeRecord = Callable[..., StudyRecord]


def _drawn(distribution: Any, draws: int = 64, sampler: str = "random") -> tuple[np.ndarray, np.ndarray, bool]:
    points = unit_points(sampler, ["x"], seed=3, draws=draws)
    units = np.array([point["x"] for point in points])
    values = [distribution.from_unit(unit) for unit in units]
    return units, np.array(values, dtype=np.float64), isinstance(values[0], int)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (LogUniform(1e-4, 1e-2), Interval(kind="log", logarithmic=True, low=1e-4, high=1e-2)),
        (around(0.05), Interval(kind="log", logarithmic=True, low=0.00625, high=0.2)),
        (Uniform(0, 0.3), Interval(kind="linear", low=0.0, high=0.3)),
        (Uniform(-2.5, 7), Interval(kind="linear", low=-2.5, high=7.0)),
        (Uniform(0.5, 0.99), Interval(kind="linear", low=0.5, high=0.99)),
        (IntUniform(1, 4), Interval(kind="integer", low=1.0, high=4.0, step=1.0)),
        (IntUniform(16, 64, step=16), Interval(kind="integer", low=16.0, high=64.0, step=16.0)),
        (LogIntUniform(1, 8), Interval(kind="integer", logarithmic=True, low=1.0, high=8.0, step=1.0)),
        (
            LogIntUniform(16, 128, step=16),
            Interval(kind="integer", logarithmic=True, low=16.0, high=128.0, step=16.0),
        ),
        (Choice([0.8, 0.9, 0.99]), Interval(kind="categorical", choices=(0.8, 0.9, 0.99))),
        (Choice([0.99, 0.8, 0.9]), Interval(kind="categorical", choices=(0.8, 0.9, 0.99))),
        (Choice([32, 128, 64]), Interval(kind="categorical", choices=(32.0, 64.0, 128.0))),
    ],
)
@pytest.mark.parametrize("sampler", ["random", "sobol", "halton"])
def test_the_interval_is_recovered(distribution: Any, expected: Interval, sampler: str) -> None:
    units, values, whole = _drawn(distribution, sampler=sampler)
    assert recovered(units, values, whole=whole) == expected


def test_a_linear_scale_with_steps_is_recovered() -> None:
    units, values, whole = _drawn(Uniform(0, 0.3, step=0.05))
    found = recovered(units, values, whole=whole)
    assert found is not None
    assert (found.kind, found.low, found.high) == ("linear", 0.0, 0.3)
    assert found.step == pytest.approx(0.05)


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("distribution", [LogUniform(1e-4, 1e-2), Uniform(0, 1), LogIntUniform(16, 512)])
def test_one_or_two_draws_tell_no_ends(distribution: Any, draws: int) -> None:
    found = recovered(*_drawn(distribution, draws)[:2], whole=False)
    assert found is None if draws == 1 else found is not None and found.low is found.high is found.step is None


def test_what_is_no_known_scale_has_no_ends() -> None:
    units = np.random.default_rng(0).random(50)
    found = recovered(units, units**3, whole=False)
    assert found is not None
    assert (found.low, found.high, found.numeric) == (None, None, True)
    with pytest.raises(ValueError, match="ends are not known"):
        found.unit_of(units)


def test_whole_numbers_of_a_grid() -> None:
    space = SearchSpace(layers=IntUniform(2, 8, step=2))
    points = grid_points(space, {})
    units = np.array([point["layers"] for point in points])
    values = np.array([space.from_unit(point)["layers"] for point in points], dtype=np.float64)
    assert recovered(units, values, whole=True) == Interval(kind="integer", low=2.0, high=8.0, step=2.0)


@given(
    st.floats(1e-6, 1e3),
    st.floats(1.5, 1e4),
    st.booleans(),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=5, max_size=30, unique=True),
)
def test_continuous_ends_reproduce_every_value(low: float, ratio: float, logarithmic: bool, units: list[float]) -> None:
    at = np.array(units)
    if np.ptp(at) < 0.1 or len(np.unique(np.round(at, 4))) < 5:
        at = np.linspace(0.05, 0.9, 7)
    distribution = LogUniform(low, low * ratio) if logarithmic else Uniform(low, low * ratio)
    values = np.array([distribution.from_unit(unit) for unit in at])
    found = recovered(at, values, whole=False)
    assert found is not None
    assert found.low == pytest.approx(low, rel=1e-5)
    assert found.high == pytest.approx(low * ratio, rel=1e-5)
    np.testing.assert_allclose(found.value_of(at), values, rtol=1e-5)
    np.testing.assert_allclose(found.unit_of(values), at, atol=1e-5)


@pytest.mark.parametrize(
    ("interval", "values"),
    [
        (Interval(kind="integer", low=1.0, high=4.0, step=1.0), [1, 2, 3, 4]),
        (Interval(kind="integer", logarithmic=True, low=16.0, high=64.0, step=16.0), [16, 32, 48, 64]),
    ],
)
def test_a_value_with_steps_lies_within_its_cell(interval: Interval, values: list[float]) -> None:
    units = interval.unit_of(np.array(values, dtype=np.float64))
    assert ((units > 0) & (units < 1)).all()
    step = interval.step or 0.0
    low, high = interval.value_of(np.array([0.0, 1.0]))
    assert (low, high) == (values[0] - step / 2, values[-1] + step / 2)
    assert (np.abs(interval.value_of(units) - values) < step / 2).all()


def test_a_guessed_scale() -> None:
    wide, narrow = np.array([1e-3, 1e-2, 0.05]), np.array([1e-3, 1e-2, 0.0499])
    assert inferred(wide, whole=False) == Interval(kind="log", logarithmic=True, low=1e-3, high=0.05, inferred=True)
    found = inferred(narrow, whole=False)
    assert found is not None
    assert (found.kind, found.unit_of(narrow).tolist()) == ("linear", pytest.approx([0, 9 / 48.9, 1]))
    assert inferred(np.array([0.0, 1.0, 100.0]), whole=True) == Interval(
        kind="integer", low=0.0, high=100.0, inferred=True
    )
    assert inferred(np.array([3.0, 3.0]), whole=False) is None
    assert inferred(np.array([]), whole=False) is None


def test_recorded_coordinates_are_used(make_record: MakeRecord, make_ledger: Callable[..., pa.Table]) -> None:
    arms = ["vit_p_micro/adamw", "vit_p_micro/sgd"]
    record = replace(make_record(arms), units=unit_positions(make_ledger(arms, 24)))
    found = positions(record)
    assert found.arm_names == arms
    assert found.names == ("lr", "weight_decay")
    assert found.kinds == {"lr": "log", "weight_decay": "log"}
    assert found.inferred == frozenset()
    assert inferred_in_words(found) == ""
    assert found.keys.tolist() == sorted(record.trials["key"].to_pylist())
    expected = unit_positions(make_ledger(arms, 24))
    np.testing.assert_array_equal(found.units["lr"], expected["lr"].to_numpy())
    np.testing.assert_array_equal(found.values["lr"], record.trials["lr"].to_numpy())
    assert found.intervals["vit_p_micro/sgd", "lr"] == Interval(kind="log", logarithmic=True, low=0.1, high=3.2)
    assert found.intervals["vit_p_micro/adamw", "weight_decay"].low == pytest.approx(0.025)
    failed = [status == "failed" for status in record.trials["status"].to_pylist()]
    assert np.isnan(found.errors).tolist() == failed


def test_without_coordinates_they_come_from_the_values(make_drawn: MakeRecord) -> None:
    found = positions(make_drawn([1, 2, 3], {"lr": [0.01, 0.1, 1.0], "momentum": [0.9, 0.8, 0.85]}))
    assert found.units["lr"].tolist() == pytest.approx([0, 0.5, 1])
    assert found.units["momentum"].tolist() == pytest.approx([1, 0, 0.5])
    assert found.inferred == {"lr", "momentum"}
    assert "lr, momentum" in inferred_in_words(found)


def test_conditions_constants_and_choices(make_drawn: MakeRecord) -> None:
    space = SearchSpace(
        solver=Choice(["sgd", "adam"]),
        momentum=Conditional(Uniform(0.5, 0.99), solver="sgd"),
        nesterov=Choice([True, False]),
        layers=IntUniform(1, 4),
        batch=64,
    )
    points = unit_points("random", list(space), seed=0, draws=40)
    settings = [space.from_unit(point) for point in points]
    names = list(space)
    record = make_drawn(
        [10.0] * 40,
        {name: [setting.get(name) for setting in settings] for name in names},
        {name: [point[name] for point in points] for name in names},
    )
    found = positions(record)
    assert found.names == ("solver", "momentum", "nesterov", "layers")  # batch does not vary
    assert found.kinds == {
        "solver": "categorical",
        "momentum": "linear",
        "nesterov": "categorical",
        "layers": "integer",
    }
    sgd = np.array([setting["solver"] == "sgd" for setting in settings])
    np.testing.assert_array_equal(np.isnan(found.units["momentum"]), ~sgd)
    np.testing.assert_array_equal(found.having("m/sgd", "momentum"), np.flatnonzero(sgd))
    assert set(found.units["solver"]) == {0.25, 0.75}
    assert set(found.units["layers"]) == {0.125, 0.375, 0.625, 0.875}
    assert found.intervals["m/sgd", "nesterov"].choices == (False, True)
    assert found.dimensions("m/sgd") == ["solver", "momentum", "nesterov", "layers"]
    assert found.dimensions("m/sgd", numeric=True) == ["momentum", "layers"]


def test_two_tools_in_one_arm(make_drawn: MakeRecord) -> None:
    units = [0.0, 0.25, 0.5, 0.75]
    lr = [10.0 ** (4 * unit - 4) for unit in units]
    inside = positions(make_drawn([1] * 5, {"lr": [*lr, 0.01]}, {"lr": [*units, None]}))
    assert inside.units["lr"].tolist() == pytest.approx([*units, 0.5])
    assert inside.inferred == frozenset()
    outside = positions(make_drawn([1] * 5, {"lr": [*lr, 10.0]}, {"lr": [*units, None]}))
    assert outside.inferred == {"lr"}
    assert outside.units["lr"].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 1])


def test_adaptive_trials_and_other_phases_stay_out(
    make_drawn: MakeRecord, make_phases: MakeRecord, make_rows: Any
) -> None:
    found = positions(make_drawn([1.0, 2.0], {"lr": [0.1, 0.2]}, sampler="tpe"))
    assert (found.arm_names, found.names, found.errors.tolist()) == ([], (), [])
    rows = make_rows("reference", "m/sgd", [5.0]), make_rows("stability", "m/sgd", [1.0, 2.0, 3.0], sampler="random")
    found = positions(make_phases(*rows))
    assert (found.errors.tolist(), found.draws.tolist()) == ([1, 2, 3], [0, 1, 2])
    assert found.names == ("lr",)


def test_an_unknown_arm_names_those_that_there_are(make_drawn: MakeRecord) -> None:
    found = positions(make_drawn([1.0, 2.0], {"lr": [0.1, 0.2]}))
    with pytest.raises(ValueError, match="No arm 'x' with non-adaptive trials; arms that have: m/sgd"):
        found.dimensions("x")


def test_values_that_are_not_finite_are_none(make_drawn: MakeRecord) -> None:
    found = positions(make_drawn([1, 2, 3, 4], {"lr": [0.1, float("inf"), 0.2, None]}))
    assert np.isnan(found.units["lr"]).tolist() == [False, True, False, True]
