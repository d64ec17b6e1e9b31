import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables import Dataset, ImageData, Reading, UnknownName, load_dataset, register_dataset
from trainables.data.loading import absolute_options
from trainables.registry import BUILTIN_DATASETS, require_dataset


def test_a_missing_option_is_named() -> None:
    for name in ("imagefolder", "parquet", "torchvision:CIFAR10"):
        with pytest.raises(
            ValueError, match=f"^dataset '{name}': option 'path' is missing; add it to the dataset's options"
        ):
            load_dataset(name)


def test_an_unknown_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownName, match="unknown option of dataset 'parquet' 'shuffle_row'; did you mean 'shuffle_rows'"
    ):
        load_dataset("parquet", path=str(tmp_path), shuffle_row=3)


def test_names() -> None:
    for name in (*BUILTIN_DATASETS, "torchvision:CIFAR10"):
        require_dataset(name)
    with pytest.raises(UnknownName, match="unknown dataset 'imagefodler'; did you mean 'imagefolder'"):
        require_dataset("imagefodler")
    with pytest.raises(UnknownName, match=r"known: .*torchvision:NAME"):
        require_dataset("CIFAR10")


def test_asking_for_a_name_imports_neither_torch_nor_torchvision() -> None:
    code = (
        "import sys; from trainables.registry import require_dataset; require_dataset('torchvision:MNIST'); "
        "require_dataset('parquet'); print(sorted({'torch', 'torchvision', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert absolute_options("parquet", {"path": "data", "image_size": 8}) == {
        "path": str(tmp_path / "data"),
        "image_size": 8,
    }
    assert absolute_options("imagefolder", {"path": "~/x"}) == {"path": "/home/somebody/x"}
    for unchanged in ({"path": "s3://bucket/x"}, {"path": "/a/b"}, {"path": 3}, {}):
        assert absolute_options("torchvision:MNIST", unchanged) == unchanged


class Own:
    """Two images, three steps: the least that the interface asks for."""

    name, num_classes, image_size, channels, num_train, num_eval = "own", 2, 4, 1, 6, 2
    mean, std, crops_on_read = (0.5,), (0.25,), False

    def __init__(self, path: str) -> None:
        self.path = path

    def train_batches(self, reading: Reading, *, study_seed: int, epoch: int, crop: Any) -> Any:
        return iter(())

    def eval_batches(self, reading: Reading) -> Any:
        return iter(())


def test_a_dataset_of_ones_own() -> None:
    register_dataset("own", Own)
    data = load_dataset("own", path="data")
    assert isinstance(data, Own)
    assert isinstance(data, Dataset)
    assert absolute_options("own", {"path": "data"}) == {"path": "data"}
    register_dataset("wrong", lambda: 3)
    with pytest.raises(TypeError, match=r"its factory returned int, expected a trainables.Dataset"):
        load_dataset("wrong")


def test_a_streamed_dataset_can_be_sent_to_another_process(image_folder: Path, parquet_folder: Path) -> None:
    for name, path in (("imagefolder", image_folder), ("parquet", parquet_folder)):
        data = load_dataset(name, path=str(path), image_size=8)
        again = pickle.loads(pickle.dumps(data))
        ours, theirs = (next(iter(each.eval_batches(Reading(batch_size=4)))) for each in (data, again))
        assert torch.equal(ours.images, theirs.images)


def test_the_rank_of_data_in_memory() -> None:
    images = torch.arange(24, dtype=torch.uint8).view(24, 1, 1, 1)
    labels = torch.arange(24) % 2
    data = ImageData(
        name="numbers",
        train_images=images,
        train_labels=labels,
        eval_images=images[:10],
        eval_labels=labels[:10],
        num_classes=2,
        mean=(0.5,),
        std=(0.5,),
    )
    readings = [Reading(batch_size=6, world=3, rank=rank, first_step=1) for rank in range(3)]
    whole = list(data.train_batches(Reading(batch_size=6), study_seed=1, epoch=1, crop=None))[1:]
    parts = [list(data.train_batches(reading, study_seed=1, epoch=1, crop=None)) for reading in readings]
    for step, batch in enumerate(whole):
        assert torch.equal(batch.images, torch.cat([part[step].images for part in parts]))
    shares = [[len(batch.labels) for batch in data.eval_batches(reading)] for reading in readings]
    assert shares == [[2], [2], [0]]
