"""Files in torchvision's own formats, read by torchvision and by us."""

import gzip
import hashlib
import pickle
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainables import ImageData, Reading, UnknownName, load_dataset
from trainables.data.streamed import StreamedDataset

v2: Any = import_module("torchvision.transforms.v2")
datasets: Any = import_module("torchvision.datasets")


@pytest.fixture
def mnist(tmp_path: Path, random: np.random.Generator) -> Path:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for stem, number in (("train", 40), ("t10k", 20)):
        images = random.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        header = b"".join(size.to_bytes(4, "big") for size in (0x0803, number, 28, 28))
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = (np.arange(number) % 10).astype(np.uint8)
        content = b"".join(size.to_bytes(4, "big") for size in (0x0801, number)) + labels.tobytes()
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(content)
        (raw / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    return tmp_path


@pytest.fixture
def cifar(tmp_path: Path, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def put(name: str, content: object) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def images(number: int) -> dict[str, object]:
        return {
            "data": random.integers(0, 256, (number, 3072), dtype=np.uint8),
            "labels": (np.arange(number) % 10).tolist(),
        }

    monkeypatch.setattr(
        datasets.CIFAR10, "train_list", [put("data_batch_1", images(30)), put("data_batch_2", images(20))]
    )
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [put("test_batch", images(10))])
    name, md5 = put("batches.meta", {"label_names": [f"class {i}" for i in range(10)]})
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path


@pytest.fixture
def country211(tmp_path: Path, picture: Callable[..., Image.Image]) -> Path:
    for split, number in (("train", 4), ("valid", 2), ("test", 3)):
        for name in ("AD", "AE", "AF"):
            folder = tmp_path / "country211" / split / name
            folder.mkdir(parents=True)
            for index in range(number):
                picture(30 + index, 24).save(folder / f"{index}.jpg")
    return tmp_path


def equal_to_torchvision(data: ImageData, train: object, test: object) -> None:
    for images, labels, theirs in (
        (data.train_images, data.train_labels, train),
        (data.eval_images, data.eval_labels, test),
    ):
        assert len(images) == len(theirs)  # type: ignore[arg-type]
        for index in range(len(images)):
            image, label = theirs[index]  # type: ignore[index]
            pixels = np.asarray(image)
            expected = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            assert np.array_equal(images[index], expected)
            assert labels[index] == label


def test_mnist_is_held_in_memory(mnist: Path) -> None:
    data = load_dataset("torchvision:MNIST", path=str(mnist))
    assert isinstance(data, ImageData)
    assert (data.name, data.num_classes, data.channels, data.image_size) == ("torchvision:MNIST", 10, 1, 28)
    equal_to_torchvision(data, datasets.MNIST(str(mnist)), datasets.MNIST(str(mnist), train=False))
    assert data.mean[0] == pytest.approx(data.train_images.double().mean().item() / 255)


@pytest.mark.parametrize("size", [None, 32, 20, 48])
def test_cifar_is_held_in_memory_at_any_size(cifar: Path, size: int | None) -> None:
    data = load_dataset("torchvision:CIFAR10", path=str(cifar), image_size=size)
    assert isinstance(data, ImageData)
    assert (data.num_train, data.num_eval, data.num_classes, data.channels) == (50, 10, 10, 3)
    assert data.image_size == (size or 32)
    transform = v2.Resize((size or 32, size or 32), antialias=True)
    train, test = (datasets.CIFAR10(str(cifar), train=train, transform=transform) for train in (True, False))
    equal_to_torchvision(data, train, test)
    assert len(data.mean) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_of_files_is_decoded_on_reading(country211: Path, workers: int) -> None:
    data = load_dataset("torchvision:Country211", path=str(country211), image_size=16)
    assert isinstance(data, StreamedDataset)
    assert (data.num_train, data.num_eval, data.num_classes) == (12, 9, 3)
    transform = v2.Compose([v2.Resize(18, antialias=True), v2.CenterCrop(16)])
    theirs = datasets.Country211(str(country211), split="test", transform=transform)
    batch = next(iter(data.eval_batches(Reading(batch_size=9, decode_workers=workers))))
    for image, label, (expected, number) in zip(batch.images, batch.labels, theirs, strict=True):
        assert np.array_equal(image, np.asarray(expected).transpose(2, 0, 1))
        assert label == number
    assert load_dataset("torchvision:Country211", path=str(country211), eval="valid").num_eval == 6


def test_a_bad_file_of_such_a_set_is_named_by_its_row(country211: Path) -> None:
    (country211 / "country211/test/AE/1.jpg").write_bytes(b"no image")
    where = f"torchvision:Country211 in {country211}, eval, row 4: cannot be read (UnidentifiedImageError"
    data = load_dataset("torchvision:Country211", path=str(country211), image_size=16)
    with pytest.raises(ValueError, match=f"^{re.escape(where)}"):
        list(data.eval_batches(Reading(batch_size=3)))
    data = load_dataset("torchvision:Country211", path=str(country211), image_size=16, on_bad_sample="skip")
    batch = next(iter(data.eval_batches(Reading(batch_size=9, decode_workers=1))))
    assert batch.labels.tolist() == [0, 0, 0, 1, -1, 1, 2, 2, 2]
    assert batch.problems[0].startswith(where)


def test_an_unknown_name_is_hinted_at(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown dataset 'torchvision:CIFAR11'; did you mean 'torchvision:CIFAR10"):
        load_dataset("torchvision:CIFAR11", path=str(tmp_path))
    for name in ("EuroSAT", "VisionDataset", "ImageFolder"):
        with pytest.raises(UnknownName, match=f"unknown dataset 'torchvision:{name}'"):
            load_dataset(f"torchvision:{name}", path=str(tmp_path))
    with pytest.raises(UnknownName, match="unknown option of dataset 'torchvision:MNIST' 'download'"):
        load_dataset("torchvision:MNIST", path=str(tmp_path), download=True)


def test_files_that_are_not_there_are_asked_for_and_never_fetched(tmp_path: Path) -> None:
    for name in ("CIFAR10", "MNIST", "Food101", "SVHN"):
        with pytest.raises(
            ValueError, match=f"^dataset 'torchvision:{name}': its .* cannot be read from {tmp_path}"
        ) as raised:
            load_dataset(f"torchvision:{name}", path=str(tmp_path))
        assert f"put there what torchvision.datasets.{name}(root='{tmp_path}') expects" in str(raised.value)
        assert "\n" not in str(raised.value)
    assert not list(tmp_path.rglob("*.gz"))


def test_damaged_files_are_named(cifar: Path) -> None:
    file = cifar / "cifar-10-batches-py/test_batch"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"its .* split cannot be read from"):
        load_dataset("torchvision:CIFAR10", path=str(cifar))


def test_an_unknown_split_is_told_in_one_sentence(country211: Path) -> None:
    with pytest.raises(ValueError, match=r"its split 'dev' cannot be read from .*'dev'.*test"):
        load_dataset("torchvision:Country211", path=str(country211), eval="dev")


def test_pixels_are_uint8(mnist: Path) -> None:
    batch = next(iter(load_dataset("torchvision:MNIST", path=str(mnist)).eval_batches(Reading(batch_size=5))))
    assert batch.images.dtype == torch.uint8
