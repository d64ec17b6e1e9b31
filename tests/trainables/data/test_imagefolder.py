import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables import Reading, load_dataset
from trainables.data.streamed import StreamedDataset

v2: Any = import_module("torchvision.transforms.v2")
datasets: Any = import_module("torchvision.datasets")


def test_it_reads_what_torchvision_reads(image_folder: Path) -> None:
    (image_folder / "val/cat/deeper").mkdir()
    shutil.copy(image_folder / "val/ant/ant00.png", image_folder / "val/cat/deeper/x.PNG")
    (image_folder / "val/cat/notes.txt").write_text("no image")
    data = load_dataset("imagefolder", path=str(image_folder), image_size=16)
    transform = v2.Compose([v2.Resize(18, antialias=True), v2.CenterCrop(16)])
    theirs = datasets.ImageFolder(str(image_folder / "val"), transform=transform)
    batch = next(iter(data.eval_batches(Reading(batch_size=len(theirs)))))
    assert (data.num_eval, data.num_train, data.num_classes) == (16, 36, 3)
    ours = sorted(
        (int(label), image.numpy().tobytes()) for image, label in zip(batch.images, batch.labels, strict=True)
    )
    expected = [(label, np.asarray(image).transpose(2, 0, 1).tobytes()) for image, label in theirs]
    assert ours == sorted(expected)
    assert isinstance(data, StreamedDataset)
    assert data.mean == (0.485, 0.456, 0.406)


def test_a_class_that_evaluation_lacks_keeps_its_number(image_folder: Path) -> None:
    shutil.rmtree(image_folder / "val/bee")
    data = load_dataset("imagefolder", path=str(image_folder), image_size=8)
    batch = next(iter(data.eval_batches(Reading(batch_size=10))))
    assert torch.unique(batch.labels).tolist() == [0, 2]


def test_other_split_names(image_folder: Path) -> None:
    (image_folder / "val").rename(image_folder / "test")
    assert load_dataset("imagefolder", path=str(image_folder), eval="test").num_eval == 15
    missing = (
        f"dataset 'imagefolder': folder {image_folder / 'val'} does not exist; it should hold one folder of images"
    )
    with pytest.raises(ValueError, match=re.escape(missing)):
        load_dataset("imagefolder", path=str(image_folder))


def test_an_unknown_class_in_evaluation_is_named(image_folder: Path) -> None:
    (image_folder / "val/dog").mkdir()
    shutil.copy(image_folder / "val/ant/ant00.png", image_folder / "val/dog")
    with pytest.raises(
        ValueError, match=re.escape(f"{image_folder / 'val/dog'} is a class that {image_folder / 'train'}")
    ):
        load_dataset("imagefolder", path=str(image_folder))


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_class_is_named(image_folder: Path, split: str) -> None:
    folder = image_folder / split / "bee"
    for file in folder.iterdir():
        file.unlink()
    (folder / "readme.txt").write_text("nothing here")
    with pytest.raises(ValueError, match=re.escape(f"class folder {folder} holds no image; add some (.jpg, ")):
        load_dataset("imagefolder", path=str(image_folder))


def test_a_split_without_classes_is_named(image_folder: Path) -> None:
    shutil.rmtree(image_folder / "train")
    (image_folder / "train").mkdir()
    with pytest.raises(ValueError, match=re.escape(f"folder {image_folder / 'train'} holds no folder")):
        load_dataset("imagefolder", path=str(image_folder))
