import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from trainables import ImageData, load_dataset
from trainables.data import synthetic
from trainables.data.patterns import SHAPES, TEXTURES


def load(**options: Any) -> ImageData:
    data = load_dataset("synthetic", **{"image_size": 32, "num_train": 320, "num_eval": 160, **options})
    assert isinstance(data, ImageData)
    return data


def test_facts() -> None:
    data = load()
    assert (data.num_classes, data.channels, data.image_size, data.num_train, data.num_eval) == (16, 3, 32, 320, 160)
    assert torch.bincount(data.train_labels).tolist() == [20] * 16
    assert torch.bincount(data.eval_labels).tolist() == [10] * 16
    assert data.train_labels[:16].tolist() != sorted(data.train_labels[:16].tolist())
    assert load(shapes=5, textures=2).num_classes == 10


def test_the_bytes_are_the_same_everywhere() -> None:
    data = load(num_train=256, num_eval=16)
    digest = hashlib.sha256(data.train_images.numpy().tobytes() + data.train_labels.numpy().tobytes()).hexdigest()
    assert digest == DIGEST


def test_global_seeds_change_nothing() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    first = load()
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(first.train_images, load().train_images)


def test_training_and_evaluation_share_no_image() -> None:
    data = load()
    train = {image.numpy().tobytes() for image in data.train_images}
    assert len(train) == 320
    assert not train & {image.numpy().tobytes() for image in data.eval_images}


def test_the_evaluation_images_do_not_depend_on_the_number_of_training_images() -> None:
    assert torch.equal(load(num_train=320).eval_images, load(num_train=400).eval_images)


def test_noise_has_the_asked_for_deviation() -> None:
    noise = synthetic._noise(np.random.RandomState(0), (200, 3, 16, 16))
    assert noise.dtype == np.float32
    # 153,600 draws: five standard errors are 5 / sqrt(N) for the mean and 5 / sqrt(2 N) for the deviation.
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * noise.size)
    plain, noisy = load(noise=0.0, num_train=1), load(noise=0.1, num_train=1)
    assert not torch.equal(plain.train_images, noisy.train_images)


def test_neither_colour_nor_brightness_tells_the_class() -> None:
    data = load(num_train=1600, num_eval=1600)

    def means(images: torch.Tensor) -> torch.Tensor:
        return images.double().mean(dim=(2, 3))

    centres = torch.stack([means(data.train_images[data.train_labels == label]).mean(dim=0) for label in range(16)])
    nearest = torch.cdist(means(data.eval_images), centres).argmin(dim=1)
    right = (nearest == data.eval_labels).double().mean().item()
    # Chance is 1/16; three standard deviations of 1,600 guesses are 0.018, and a large shape shows a little.
    assert right < 0.12


def test_the_shapes_have_about_the_same_area_and_fit() -> None:
    grid = np.linspace(-1.5, 1.5, 601, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    areas = []
    for shape in SHAPES:
        inside = shape(x, y) > 0
        assert shape(x, y).dtype == np.float32
        areas.append(inside.sum() * 0.005**2)
        assert np.hypot(x, y)[inside].max() < 1.25
    assert min(areas) > 1.7
    assert max(areas) < 2.6


def test_textures_are_balanced_and_float32() -> None:
    grid = np.linspace(-6, 6, 600, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    for texture in TEXTURES:
        values = texture(x, y)
        assert values.dtype == np.float32
        assert 0.3 < (values > 0).mean() < 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 8}, "image_size is 8, expected an integer from 16 to 512"),
        ({"shapes": 6}, "shapes is 6, expected an integer from 2 to 5"),
        ({"textures": 1}, "textures is 1, expected an integer from 2 to 4"),
        ({"num_train": 0}, "num_train is 0"),
        ({"noise": -0.1}, "noise is -0.1, expected a number from 0 to 1"),
        ({"distractor": "0.3"}, "distractor is '0.3', expected a number from 0 to 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"dataset 'synthetic': {message}"):
        load(**options)


DIGEST = "8e0206f1b2a94f2401df5224e3bb84879facc8a8b049190be860abd4909ab941"
"""Of the first 256 training images at 32 px and their labels: a change of the task's definition changes it."""
