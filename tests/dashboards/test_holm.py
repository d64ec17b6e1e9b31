"""Holm's correction: numbers worked out by hand, and its definition as a step-down test."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.statistics.holm import holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_numbers_worked_out_by_hand() -> None:
    # 4 * 0.005 = 0.02; 3 * 0.01 = 0.03; 2 * 0.03 = 0.06; 1 * 0.04 = 0.04, but no less than the one before.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.4, 0.6, 0.9]), [1.0, 1.0, 1.0])
    np.testing.assert_allclose(holm([0.02, 0.02]), [0.04, 0.04])
    assert holm([0.03]).tolist() == [0.03]
    assert holm([]).tolist() == []


def test_a_test_that_was_not_made_does_not_count() -> None:
    adjusted = holm([math.nan, 0.01, math.nan, 0.02])
    np.testing.assert_allclose(adjusted[[1, 3]], [0.02, 0.02])
    assert np.isnan(adjusted[[0, 2]]).all()


@given(p_values, st.floats(0.001, 0.5))
def test_rejects_what_the_step_down_test_rejects(values: list[float], alpha: float) -> None:
    rejected = np.zeros(len(values), dtype=bool)
    for step, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if values[place] * (len(values) - step) > alpha:
            break
        rejected[place] = True
    np.testing.assert_array_equal(holm(values) <= alpha, rejected)


@given(p_values)
def test_order_holds_and_no_p_value_falls(values: list[float]) -> None:
    adjusted = holm(values)
    assert (adjusted >= np.array(values)).all()
    assert (adjusted <= np.minimum(np.array(values) * len(values), 1.0)).all()
    np.testing.assert_array_equal(holm(values[::-1]), adjusted[::-1])
    assert (np.diff(adjusted[np.argsort(values)]) >= 0).all()


@pytest.mark.parametrize("value", [-0.1, 1.5, math.inf])
def test_what_is_no_probability_is_named(value: float) -> None:
    with pytest.raises(ValueError, match=f"got {value}, expected values between 0 and 1"):
        holm([0.5, value])
