import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainables import Recipe
from trainables.recipes.ema import Ema, average_into, ema_interval, ema_share
from trainables.recipes.presets import IMAGENET_TRAIN


@pytest.mark.parametrize(("epochs", "printed"), [(50, 0.0131), (400, 0.00164)])
def test_the_papers_share_on_imagenet(epochs: int, printed: float) -> None:
    recipe = Recipe.model_validate("paper")
    assert recipe.ema_horizon is not None
    total = epochs * (IMAGENET_TRAIN // recipe.batch_size)
    horizon, every = recipe.ema_horizon, recipe.ema_every
    assert ema_interval(horizon=horizon, every=every, total_steps=total) == 32
    share = ema_share(horizon=horizon, every=every, total_steps=total, step=total // 2, warmup_steps=5)
    assert share == pytest.approx(1e-5 * recipe.batch_size / epochs * 32, rel=2e-3)
    assert share == pytest.approx(printed, rel=3e-3)


@given(st.floats(1e-3, 2), st.integers(1, 100), st.integers(1, 10_000), st.integers(0, 50))
def test_shares_are_shares_and_the_interval_never_exceeds_the_horizon(
    horizon: float, every: int, total: int, step: int
) -> None:
    interval = ema_interval(horizon=horizon, every=every, total_steps=total)
    assert 1 <= interval <= min(every, max(1.0, horizon * total))
    share = ema_share(horizon=horizon, every=interval, total_steps=total, step=step, warmup_steps=0)
    assert 0 < share <= 1
    assert ema_share(horizon=horizon, every=interval, total_steps=total, step=step, warmup_steps=step + 1) == 1.0


def biases(ema: Ema) -> torch.Tensor:
    return ema.model.get_parameter("bias")


def set_to(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_a_known_sequence_follows_its_closed_form() -> None:
    model = nn.Linear(2, 1)
    set_to(model, 0.0)
    ema = Ema(model, horizon=0.25, every=2, total_steps=40, warmup_steps=4)
    values = np.random.default_rng(0).normal(size=40)
    average = 0.0
    for step, value in enumerate(values):
        set_to(model, float(value))
        ema.update(model, step)
        if step < 4:
            average = value
        elif (step + 1) % 2 == 0:
            average += 2 / (0.25 * 40) * (value - average)
        assert float(biases(ema)) == pytest.approx(average, abs=1e-6)


def test_constant_weights_stay_what_they_are() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    ema = Ema(model, horizon=0.1, every=1, total_steps=100, warmup_steps=0)
    for step in range(30):
        ema.update(model, step)
    for ours, theirs in zip(ema.model.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_decay_of_the_first_weights() -> None:
    model = nn.Linear(1, 1)
    set_to(model, 1.0)
    ema = Ema(model, horizon=0.05, every=1, total_steps=200, warmup_steps=0)
    set_to(model, 0.0)
    for step in range(50):
        ema.update(model, step)
    assert float(biases(ema)) == pytest.approx((1 - 1 / 10) ** 50, rel=1e-4)


def test_batch_norm_statistics_are_averaged_and_counts_copied() -> None:
    model = nn.BatchNorm1d(2)
    ema = Ema(model, horizon=0.2, every=1, total_steps=20, warmup_steps=0)
    before = model.running_mean.clone() if model.running_mean is not None else torch.zeros(2)
    model.train()
    model(torch.randn(8, 2, generator=torch.Generator().manual_seed(1)) + 3)
    ema.update(model, 0)
    assert isinstance(ema.model, nn.BatchNorm1d)
    assert ema.model.running_mean is not None
    assert model.running_mean is not None
    torch.testing.assert_close(ema.model.running_mean, before + 0.25 * (model.running_mean - before))
    assert int(ema.model.num_batches_tracked or 0) == 1


def test_a_short_training_is_not_left_with_stale_weights() -> None:
    model = nn.Linear(1, 1)
    set_to(model, 0.0)
    ema = Ema(model, horizon=0.078, every=32, total_steps=20, warmup_steps=2)
    for step in range(20):
        set_to(model, float(step))
        ema.update(model, step)
    # A horizon of 1.56 steps lags 0.56 steps behind weights that grow by 1 a step.
    assert float(biases(ema)) == pytest.approx(19 - 0.56, abs=1e-3)


def test_torchs_own_averaging_agrees() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    ours = Ema(model, horizon=0.1, every=1, total_steps=80, warmup_steps=0)
    decay = torch.optim.swa_utils.get_ema_multi_avg_fn(1 - 1 / 8)  # type: ignore[no-untyped-call]
    theirs = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=decay, use_buffers=True)
    theirs.update_parameters(model)
    generator = torch.Generator().manual_seed(0)
    for step in range(10):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        ours.update(model, step)
        theirs.update_parameters(model)
    for mine, other in zip(ours.model.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_average_is_a_model_of_its_own_and_can_be_continued() -> None:
    model = nn.Linear(2, 2)
    ema = Ema(model, horizon=0.5, every=1, total_steps=10, warmup_steps=0)
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    set_to(model, 4.0)
    ema.update(model, 0)
    other = Ema(nn.Linear(2, 2), horizon=0.5, every=1, total_steps=10, warmup_steps=0)
    other.load_state_dict(ema.state_dict())
    for average in (ema, other):
        average.update(model, 1)
    assert torch.equal(biases(ema), biases(other))


def test_a_share_of_one_copies_exactly() -> None:
    averaged, new = [torch.tensor([0.1, 1e30])], [torch.tensor([1e-20, 0.3])]
    average_into(averaged, new, 1.0)
    assert torch.equal(averaged[0], new[0])
    average_into([], [], 0.5)


@pytest.mark.parametrize(
    ("change", "message"), [({"horizon": 0.0}, "ema_horizon: got 0"), ({"every": 0}, "ema_every: got 0")]
)
def test_numbers_out_of_range_are_refused(change: dict[str, float], message: str) -> None:
    asked = {"horizon": 0.5, "every": 1, "total_steps": 10, "warmup_steps": 0, **change}
    with pytest.raises(ValueError, match=message):
        Ema(nn.Linear(1, 1), **asked)  # type: ignore[arg-type]
