import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainables.recipes.mixing import Mix, TrainBatch, apply_mix, draw_mix, mixed_cross_entropy


def numbered(number: int, side: int = 4) -> torch.Tensor:
    return torch.arange(number, dtype=torch.float32).view(-1, 1, 1, 1).expand(number, 2, side, side).clone()


def test_mixup_blends_neighbours() -> None:
    labels = torch.tensor([3, 1, 4, 1, 5])
    batch = apply_mix(numbered(5), labels, Mix(0.75, None))
    expected = torch.tensor([0.25, 0.75, 2.25, 2.75, 4.0])
    torch.testing.assert_close(batch.images, expected.view(-1, 1, 1, 1).expand_as(batch.images))
    assert batch.partner_labels is not None
    assert batch.own_share is not None
    assert batch.partner_labels.tolist() == [1, 3, 1, 4, 5]
    assert batch.own_share.tolist() == [0.75] * 5


def test_cutmix_replaces_the_box() -> None:
    batch = apply_mix(numbered(4), torch.tensor([0, 1, 2, 3]), Mix(1 - 6 / 16, (1, 3, 0, 3)))
    for at, partner in enumerate([1, 0, 3, 2]):
        expected = torch.full((4, 4), float(at))
        expected[1:3, 0:3] = partner
        assert torch.equal(batch.images[at, 1], expected)


@pytest.mark.parametrize("mix", [Mix(0.3, None), Mix(0.5, (0, 2, 0, 4))])
def test_an_unreadable_sample_is_mixed_into_nothing(mix: Mix) -> None:
    batch = apply_mix(numbered(6), torch.tensor([2, -1, -1, 3, 1, 0]), mix)
    assert batch.own_share is not None
    assert torch.equal(batch.images[:4], numbered(6)[:4])
    assert batch.own_share[:4].tolist() == [1.0] * 4
    assert batch.own_share[4:].tolist() == pytest.approx([mix.share] * 2)
    assert batch.labels.tolist() == [2, -1, -1, 3, 1, 0]
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    loss = mixed_cross_entropy(logits, batch, 0.1)
    readable = [0, 3]
    alone = torch.nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum")(logits[readable], batch.labels[readable])
    mixed = mixed_cross_entropy(logits[4:], part(batch, 4), 0.1) * 2
    torch.testing.assert_close(loss, (alone + mixed) / 6)


def part(batch: TrainBatch, first: int) -> TrainBatch:
    assert batch.partner_labels is not None
    assert batch.own_share is not None
    return TrainBatch(
        images=batch.images[first:],
        labels=batch.labels[first:],
        partner_labels=batch.partner_labels[first:],
        own_share=batch.own_share[first:],
    )


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(2, 7), st.floats(0, 1), st.floats(0, 0.9))
def test_the_loss_is_cross_entropy_with_soft_targets(
    seed: int, number: int, classes: int, share: float, smoothing: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(number, classes, generator=generator)).double().requires_grad_()
    labels = torch.randint(0, classes, (number,), generator=generator)
    batch = apply_mix(numbered(number), labels, Mix(share, None))
    assert batch.partner_labels is not None
    one_hot = [torch.nn.functional.one_hot(each, classes).double() for each in (labels, batch.partner_labels)]
    targets = share * one_hot[0] + (1 - share) * one_hot[1]
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, targets)
    ours = mixed_cross_entropy(logits, batch, smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_mixing_the_loss_is_torchs(smoothing: float) -> None:
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    batch = TrainBatch(images=numbered(8), labels=labels)
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    torch.testing.assert_close(mixed_cross_entropy(logits, batch, smoothing), theirs)
    unreadable = TrainBatch(images=numbered(8), labels=torch.full_like(labels, -1))
    assert float(mixed_cross_entropy(logits, unreadable, smoothing)) == 0.0


def draws(number: int, *, mixup: float, cutmix: float, side: int = 64) -> list[Mix]:
    generator = np.random.default_rng(0)
    return [draw_mix(generator, side, mixup=mixup, cutmix=cutmix) for _ in range(number)]


def test_mixups_share_is_beta_distributed() -> None:
    shares = [mix.share for mix in draws(3000, mixup=0.8, cutmix=0.0)]
    assert stats.kstest(shares, "beta", args=(0.8, 0.8)).pvalue > 0.01


def test_cutmixs_share_is_the_area_outside_its_box() -> None:
    found = draws(3000, mixup=0.0, cutmix=1.0)
    for mix in found:
        assert mix.box is not None
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= 64
        assert 0 <= left <= right <= 64
        assert mix.share == pytest.approx(1 - (bottom - top) * (right - left) / 64**2)
    # A box whose centre is far enough from the border is a square; its side is 64 * sqrt(1 - lambda), lambda uniform.
    sides = [mix.box[1] - mix.box[0] for mix in found if mix.box and mix.box[0] > 0 and mix.box[1] < 64]
    squares = [mix.box[3] - mix.box[2] for mix in found if mix.box and mix.box[2] > 0 and mix.box[3] < 64]
    assert max(sides) < 64
    assert {side % 2 for side in sides} == {0, 1}
    assert stats.ks_2samp(sides, squares).pvalue > 0.01


def test_cutmixs_box_by_monte_carlo() -> None:
    generator = np.random.default_rng(1)
    cut = np.floor(64 * np.sqrt(1 - generator.beta(1, 1, 20_000)))
    overlap = []
    for _ in range(2):
        centre = generator.integers(0, 64, 20_000)
        overlap.append(np.minimum(centre + (cut + 1) // 2, 64) - np.maximum(centre - cut // 2, 0))
    expected = 1 - overlap[0] * overlap[1] / 64**2
    shares = [mix.share for mix in draws(3000, mixup=0.0, cutmix=1.0)]
    assert stats.ks_2samp(shares, expected).pvalue > 0.01


def test_with_both_a_fair_coin_chooses() -> None:
    boxes = sum(mix.box is not None for mix in draws(3000, mixup=0.8, cutmix=1.0))
    assert stats.binomtest(boxes, 3000, 0.5).pvalue > 0.01
    assert all(mix.box is None for mix in draws(100, mixup=0.8, cutmix=0.0))
    assert all(mix.box is not None for mix in draws(100, mixup=0.0, cutmix=1.0))
