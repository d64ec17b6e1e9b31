import math
from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables import lr_multiplier


def cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def test_values_worked_out_by_hand() -> None:
    factors = [lr_multiplier(step, total_steps=12, warmup_steps=4, warmup_start=0.2) for step in range(12)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[8] == pytest.approx(0.5)
    assert factors[6] == pytest.approx(cosine(1 / 4))
    assert factors[11] == pytest.approx(cosine(7 / 8))


def test_the_floor_is_where_the_cosine_would_end() -> None:
    middle = lr_multiplier(50, total_steps=100, warmup_steps=0, min_lr_fraction=0.1)
    assert middle == pytest.approx(0.55)
    assert lr_multiplier(999_999, total_steps=1_000_000, warmup_steps=0, min_lr_fraction=0.1) == pytest.approx(0.1)


def test_the_papers_public_code_over_50_epochs() -> None:
    steps, rising = 625, {0: 0.1, 1: 0.28, 2: 0.46, 3: 0.64, 4: 0.82}
    for step in range(0, 50 * steps, 317):
        epoch = step // steps
        expected = rising.get(epoch, 1.0) * (0.995 * cosine(epoch / 50) + 0.005)
        found = lr_multiplier(
            step,
            total_steps=50 * steps,
            warmup_steps=5 * steps,
            warmup_start=0.1,
            min_lr_fraction=0.005,
            warmup="over_cosine",
            steps_per_epoch=steps,
        )
        assert found == pytest.approx(expected, rel=1e-12)


def test_timms_scheduler_with_a_warm_up_before_the_cosine() -> None:
    timm_scheduler: Any = import_module("timm.scheduler")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    theirs = timm_scheduler.CosineLRScheduler(
        optimizer, t_initial=25, lr_min=0.2, warmup_t=5, warmup_lr_init=0.5, warmup_prefix=True
    )
    for step in range(30):
        theirs.step(step)
        ours = lr_multiplier(step, total_steps=30, warmup_steps=5, warmup_start=0.25, min_lr_fraction=0.1)
        assert 2.0 * ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


schedules = st.fixed_dictionaries(
    {
        "total_steps": st.integers(1, 200),
        "warmup_steps": st.integers(0, 250),
        "warmup_start": st.floats(0, 1),
        "min_lr_fraction": st.floats(0, 1),
    }
)


@given(schedules)
def test_it_rises_then_falls_within_its_range(schedule: dict[str, Any]) -> None:
    total, warmup = schedule["total_steps"], schedule["warmup_steps"]
    factors = [lr_multiplier(step, **schedule) for step in range(total)]
    assert all(0 <= factor <= 1 for factor in factors)
    rising, falling = factors[: warmup + 1], factors[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    if falling:
        assert falling[0] == 1.0
        assert falling[-1] >= schedule["min_lr_fraction"] * (1 - 1e-12)


@given(schedules)
def test_a_warm_up_over_the_cosine_is_their_product(schedule: dict[str, Any]) -> None:
    without = {**schedule, "warmup_steps": 0}
    flat = {**schedule, "min_lr_fraction": 1.0}
    for step in range(schedule["total_steps"]):
        product = lr_multiplier(step, **without) * lr_multiplier(step, **flat)
        assert lr_multiplier(step, **schedule, warmup="over_cosine") == pytest.approx(product, rel=1e-12)


@given(schedules, st.integers(1, 60), st.sampled_from(["before_cosine", "over_cosine"]))
def test_a_rate_held_for_an_epoch_is_that_of_its_first_step(schedule: dict[str, Any], length: int, warmup: Any) -> None:
    for step in range(schedule["total_steps"]):
        held = lr_multiplier(step, **schedule, warmup=warmup, steps_per_epoch=length)
        assert held == lr_multiplier(step // length * length, **schedule, warmup=warmup)


@pytest.mark.parametrize("step", [-1, 10])
def test_a_step_outside_training_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match=f"step: got {step}, expected 0 to 9"):
        lr_multiplier(step, total_steps=10, warmup_steps=2)


def test_an_epoch_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="steps_per_epoch: got 0, expected 1 or more"):
        lr_multiplier(3, total_steps=10, warmup_steps=2, steps_per_epoch=0)
