from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from trainables import ImageData, batch_order, load_dataset
from trainables.data import digits
from trainables.data.memory import channel_statistics


def load(**options: Any) -> ImageData:
    data = load_dataset("digits", **options)
    assert isinstance(data, ImageData)
    return data


def rows(images: torch.Tensor, labels: torch.Tensor) -> list[bytes]:
    flat = images.flatten(1).numpy()
    return [row.tobytes() + bytes([label]) for row, label in zip(flat, labels.tolist(), strict=True)]


def test_the_split_is_all_of_scikit_learns_digits_and_each_once() -> None:
    data = load(image_size=8)
    bunch = load_digits()
    expected = torch.from_numpy(np.round(bunch.images * 255 / 16).astype(np.uint8))
    ours = rows(data.train_images, data.train_labels) + rows(data.eval_images, data.eval_labels)
    assert sorted(ours) == sorted(rows(expected, torch.from_numpy(bunch.target)))
    assert len(set(ours)) == 1797  # no two originals are equal, so the split is disjoint


def test_reading_through_scikit_learn_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = load(image_size=8)
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    through = load(image_size=8)
    assert torch.equal(direct.train_images, through.train_images)
    assert torch.equal(direct.eval_labels, through.eval_labels)


def test_facts() -> None:
    data = load()
    assert (data.name, data.num_classes, data.image_size, data.channels) == ("digits", 10, 32, 1)
    assert data.train_images.shape == (1437, 1, 32, 32)
    assert data.eval_images.shape == (360, 1, 32, 32)
    assert torch.bincount(data.eval_labels).tolist() == [36] * 10
    assert torch.bincount(data.train_labels).min() >= 174 - 36
    assert torch.equal(data.eval_images, load().eval_images)


def test_the_split_does_not_depend_on_the_size_or_the_global_seed() -> None:
    torch.manual_seed(1)
    first = load(image_size=8)
    torch.manual_seed(2)
    assert torch.equal(first.train_labels, load(image_size=16).train_labels)


def test_enlarging_is_bilinear() -> None:
    small, large = load(image_size=8), load(image_size=32)
    grid = (np.arange(32) + 0.5) / 4 - 0.5
    weights = np.stack([np.interp(grid, np.arange(8), unit) for unit in np.eye(8)], axis=1)
    originals = small.train_images[:20, 0].numpy().astype(float)
    expected = weights @ originals @ weights.T
    # The originals here are rounded already, so the last grey level may differ.
    assert np.abs(large.train_images[:20, 0].numpy() - expected).max() <= 1.0


def test_mean_and_std_normalise_the_training_images() -> None:
    data = load()
    pixels = (data.train_images.double() / 255 - data.mean[0]) / data.std[0]
    assert pixels.mean().item() == pytest.approx(0, abs=1e-9)
    assert pixels.std(correction=0).item() == pytest.approx(1, abs=1e-9)


def test_channel_statistics_per_channel() -> None:
    images = torch.tensor([[0, 255], [51, 51]], dtype=torch.uint8).view(1, 2, 1, 2)
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((0.5, 0.2))
    assert std == pytest.approx((0.5, 0.0))


@pytest.mark.parametrize("size", [7, 513, 32.0, "32", True])
def test_a_bad_image_size_is_refused(size: Any) -> None:
    with pytest.raises(
        ValueError, match=f"dataset 'digits': image_size is {size!r}, expected an integer from 8 to 512"
    ):
        load_dataset("digits", image_size=size)


def test_batch_order_is_a_function_of_seed_and_epoch() -> None:
    order = batch_order(100, 16, study_seed=3, epoch=2)
    assert (order.shape, order.dtype) == ((6, 16), torch.int64)
    assert len(set(order.flatten().tolist())) == 96
    assert set(order.flatten().tolist()) <= set(range(100))
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert torch.equal(order, batch_order(100, 16, study_seed=3, epoch=2))
    assert torch.equal(before, torch.get_rng_state())
    others = [batch_order(100, 16, study_seed=s, epoch=e) for s, e in ((2, 3), (3, 1), (3, 3), (4, 2))]
    assert not any(torch.equal(order, other) for other in others)


def test_bad_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: got 11, expected 1 to 10"):
        batch_order(10, 11, study_seed=0, epoch=1)
    with pytest.raises(ValueError, match="study seed: got -1"):
        batch_order(10, 5, study_seed=-1, epoch=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": torch.zeros(4, 1, 8, 8)}, "train images are torch.float32"),
        ({"eval_images": torch.zeros(4, 1, 8, 6, dtype=torch.uint8)}, r"eval images are .*\(4, 1, 8, 6\)"),
        ({"train_labels": torch.tensor([0, 1, 2])}, "labels are torch.int64 of shape"),
        ({"train_labels": torch.tensor([0, 1, 2, 3])}, "train labels run from 0 to 3; expected 0 to 2"),
        ({"eval_images": torch.zeros(4, 1, 4, 4, dtype=torch.uint8)}, "make them equal"),
        ({"mean": (0.5, 0.5)}, "one mean and one positive std"),
        ({"std": (0.0,)}, "one mean and one positive std"),
        ({"num_classes": 1}, "num_classes is 1"),
    ],
)
def test_data_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    images, labels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 2, 0])
    fields: dict[str, Any] = {
        "name": "bad",
        "train_images": images,
        "train_labels": labels,
        "eval_images": images,
        "eval_labels": labels,
        "num_classes": 3,
        "mean": (0.5,),
        "std": (0.5,),
    }
    assert ImageData(**fields).image_size == 8
    with pytest.raises(ValueError, match=f"dataset 'bad': .*{message}"):
        ImageData(**{**fields, **changes})
