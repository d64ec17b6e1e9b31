import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainables import Recipe, lr_multiplier


def test_values_worked_out_by_hand() -> None:
    factors = [lr_multiplier(step, total_steps=12, warmup_steps=4, warmup_start=0.2) for step in range(12)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[8] == pytest.approx(0.5)
    assert factors[6] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert factors[11] == pytest.approx((1 + math.cos(7 * math.pi / 8)) / 2)


def test_the_floor_is_where_the_cosine_would_end() -> None:
    middle = lr_multiplier(50, total_steps=100, warmup_steps=0, min_lr_fraction=0.1)
    assert middle == pytest.approx(0.55)
    assert lr_multiplier(999_999, total_steps=1_000_000, warmup_steps=0, min_lr_fraction=0.1) == pytest.approx(0.1)


schedules = st.fixed_dictionaries(
    {
        "total_steps": st.integers(1, 200),
        "warmup_steps": st.integers(0, 250),
        "warmup_start": st.floats(0, 1),
        "min_lr_fraction": st.floats(0, 1),
    }
)


@given(schedules)
def test_it_rises_then_falls_within_its_range(schedule: dict[str, float]) -> None:
    total, warmup = int(schedule["total_steps"]), int(schedule["warmup_steps"])
    factors = [lr_multiplier(step, **schedule) for step in range(total)]  # type: ignore[arg-type]
    assert all(0 <= factor <= 1 for factor in factors)
    rising, falling = factors[: warmup + 1], factors[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    if falling:
        assert falling[0] == 1.0
        assert falling[-1] >= schedule["min_lr_fraction"] * (1 - 1e-12)


@pytest.mark.parametrize("step", [-1, 10])
def test_a_step_outside_training_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match=f"step: got {step}, expected 0 to 9"):
        lr_multiplier(step, total_steps=10, warmup_steps=2)


def test_recipe_defaults() -> None:
    assert Recipe().model_dump() == {
        "batch_size": 64,
        "warmup_epochs": 1.0,
        "warmup_start": 0.1,
        "min_lr_fraction": 0.0,
        "label_smoothing": 0.1,
        "grad_clip": None,
        "explode": 100.0,
    }
    assert all(field.description for field in Recipe.model_fields.values())


@pytest.mark.parametrize(
    "field",
    [
        {"batch_size": 0},
        {"batch_size": "64"},
        {"batch_size": 1.5},
        {"warmup_epochs": -1},
        {"label_smoothing": 1.0},
        {"grad_clip": 0.0},
        {"explode": float("inf")},
        {"momentum": 0.9},
    ],
)
def test_a_bad_recipe_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(field))):
        Recipe.model_validate(field)


def test_a_recipe_takes_whole_numbers_and_is_frozen() -> None:
    recipe = Recipe.model_validate({"warmup_epochs": 2, "grad_clip": 1})
    assert (recipe.warmup_epochs, recipe.grad_clip) == (2.0, 1.0)
    with pytest.raises(ValidationError, match="frozen"):
        recipe.batch_size = 1
