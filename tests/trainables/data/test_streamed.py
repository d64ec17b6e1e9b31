"""What a streamed dataset reads: the same for any rank, number of processes and first step."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from trainables import Batch, Dataset, RandomCrop, Reading, load_dataset
from trainables.data.imagefolder import FileReader
from trainables.data.parquet import RowGroupReader
from trainables.data.streamed import StreamedDataset

v2: Any = import_module("torchvision.transforms.v2")


@pytest.fixture(params=["imagefolder", "parquet"])
def data(request: pytest.FixtureRequest, image_folder: Path, parquet_folder: Path) -> StreamedDataset:
    path = image_folder if request.param == "imagefolder" else parquet_folder
    options = {} if request.param == "imagefolder" else {"shuffle_rows": 30}
    loaded = load_dataset(request.param, path=str(path), image_size=12, **options)
    assert isinstance(loaded, StreamedDataset)
    return loaded


def train(data: Dataset, crop: RandomCrop | None = None, **reading: Any) -> list[Batch]:
    return list(data.train_batches(Reading(**{"batch_size": 8, **reading}), study_seed=3, epoch=2, crop=crop))


def equal(ours: list[Batch], theirs: list[Batch]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.problems == b.problems
        for a, b in zip(ours, theirs, strict=True)
    )


def test_batches_are_what_the_interface_says(data: StreamedDataset) -> None:
    assert isinstance(data, Dataset)
    assert data.crops_on_read
    batches = train(data)
    assert len(batches) == data.num_train // 8
    for batch in batches:
        assert (batch.images.shape, batch.images.dtype) == ((8, 3, 12, 12), torch.uint8)
        assert (batch.labels.shape, batch.labels.dtype, batch.problems) == ((8,), torch.int64, ())


@pytest.mark.parametrize("crop", [None, RandomCrop()])
def test_decoding_processes_change_no_bit(data: StreamedDataset, crop: RandomCrop | None) -> None:
    here = train(data, crop)
    assert equal(here, train(data, crop, decode_workers=1))
    assert equal(here, train(data, crop, decode_workers=2))
    reading = Reading(batch_size=8)
    other = Reading(batch_size=8, decode_workers=2)
    assert equal(list(data.eval_batches(reading)), list(data.eval_batches(other)))


@pytest.mark.parametrize("world", [2, 4])
def test_the_ranks_together_read_the_one_ranks_steps(data: StreamedDataset, world: int) -> None:
    whole = train(data, RandomCrop())
    parts = [train(data, RandomCrop(), world=world, rank=rank) for rank in range(world)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch.images, torch.cat([part[step].images for part in parts]))
        assert torch.equal(batch.labels, torch.cat([part[step].labels for part in parts]))
    assert {len(part) for part in parts} == {len(whole)}


@pytest.mark.parametrize("world", [1, 2, 8])
def test_evaluation_reads_every_image_once_in_order(data: StreamedDataset, world: int) -> None:
    parts = [list(data.eval_batches(Reading(batch_size=8, world=world, rank=rank))) for rank in range(world)]
    steps = -(-data.num_eval // 8)
    assert {len(part) for part in parts} == {steps}
    labels = torch.cat([part[step].labels for step in range(steps) for part in parts])
    assert labels.tolist() == data.eval.labels.tolist()
    one = list(data.eval_batches(Reading(batch_size=data.num_eval)))
    images = torch.cat([part[step].images for step in range(steps) for part in parts])
    assert torch.equal(images, one[0].images)
    assert sum(len(part[-1].images) for part in parts) == data.num_eval - 8 * (steps - 1)


@pytest.mark.parametrize("first", [1, 3, 4, 99])
def test_starting_at_a_step_is_skipping_the_ones_before(data: StreamedDataset, first: int) -> None:
    assert equal(train(data, RandomCrop())[first:], train(data, RandomCrop(), first_step=first))
    reading = Reading(batch_size=4, first_step=first)
    assert equal(list(data.eval_batches(Reading(batch_size=4)))[first:], list(data.eval_batches(reading)))


def test_what_lies_before_the_first_step_is_not_read(data: StreamedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    for reader in (FileReader, RowGroupReader):
        read = reader.read

        def counted(self: Any, request: Any, read: Any = read) -> Any:
            rows = request.paths if hasattr(request, "paths") else request.rows
            asked.append(len(rows))
            return read(self, request)

        monkeypatch.setattr(reader, "read", counted)
    train(data)
    assert sum(asked) == data.num_train // 8 * 8
    whole = len(asked)
    asked.clear()
    train(data, first_step=data.num_train // 8 - 1)
    assert sum(asked) == 8
    if data.train.group_sizes is not None:
        assert len(asked) < whole


def test_seed_and_epoch_decide_the_order(data: StreamedDataset) -> None:
    def labels(study_seed: int, epoch: int) -> list[int]:
        batches = data.train_batches(Reading(batch_size=8), study_seed=study_seed, epoch=epoch, crop=None)
        return torch.cat([batch.labels for batch in batches]).tolist()

    assert labels(1, 1) == labels(1, 1)
    assert labels(1, 1) != labels(1, 2)
    assert labels(1, 1) != labels(2, 1)


def test_every_row_is_read_once_and_rows_leave_their_places(
    parquet_folder: Path, number_of: Callable[[Any], list[int]]
) -> None:
    data = load_dataset("parquet", path=str(parquet_folder), image_size=8, crop_fraction=1.0, shuffle_rows=30)
    batches = list(data.train_batches(Reading(batch_size=20), study_seed=0, epoch=1, crop=None))
    rows = [number for batch in batches for number in number_of(batch.images)]
    assert sorted(rows) == list(range(100))
    assert [row % 3 for row in rows] == torch.cat([batch.labels for batch in batches]).tolist()
    # 100 places: |rho| beyond 0.35 has odds below 1e-3 for an unrelated order.
    assert abs(stats.spearmanr(range(100), rows).statistic) < 0.35
    assert number_of(next(iter(data.eval_batches(Reading(batch_size=23)))).images) == list(range(200, 223))


def test_the_crop_of_a_sample_depends_on_seed_epoch_and_row_alone(image_folder: Path) -> None:
    data = load_dataset("imagefolder", path=str(image_folder), image_size=12)
    assert isinstance(data, StreamedDataset)

    def images(batch_size: int, epoch: int) -> dict[int, bytes]:
        order = data._train_order(batch_size, 3, epoch)[0].tolist()
        batches = data.train_batches(Reading(batch_size=batch_size), study_seed=3, epoch=epoch, crop=RandomCrop())
        pixels = [image.numpy().tobytes() for batch in batches for image in batch.images]
        return dict(zip(order, pixels, strict=True))

    assert images(4, 1) == images(6, 1)
    other = images(4, 2)
    assert sum(image == other[row] for row, image in images(4, 1).items()) < 4


def test_global_generators_are_left_alone(data: StreamedDataset) -> None:
    torch.manual_seed(1)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    train(data, RandomCrop(), decode_workers=1)
    assert torch.equal(before, torch.get_rng_state())
    assert numpy_before == np.random.get_state()[1].tolist()  # type: ignore[index]


def test_grey_images(image_folder: Path) -> None:
    data = load_dataset("imagefolder", path=str(image_folder), image_size=16, channels=1)
    assert (data.channels, len(data.mean), len(data.std)) == (1, 1, 1)
    batch = next(iter(data.eval_batches(Reading(batch_size=1))))
    with Image.open(min((image_folder / "val/ant").iterdir())) as image:
        theirs = v2.Compose([v2.Grayscale(), v2.Resize(18), v2.CenterCrop(16)])(image.convert("RGB"))
    assert np.array_equal(batch.images[0, 0], np.asarray(theirs))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 0}, "image_size is 0, expected an integer from 1 to 4096"),
        ({"image_size": "224"}, "image_size is '224', expected an integer"),
        ({"channels": 2}, "channels is 2, expected 1 or 3"),
        ({"crop_fraction": 0}, "crop_fraction is 0, expected a number above 0 and at most 1"),
        ({"crop_fraction": 1.1}, "crop_fraction is 1.1"),
        ({"on_bad_sample": "ignore"}, "on_bad_sample is 'ignore', expected 'error' or 'skip'"),
        ({"mean": [0.5]}, r"mean is \(0.5,\), expected one number for each of 3 channels"),
        ({"std": [0.5, 0.0, 1.0]}, "expected one positive number for each of 3 channels"),
        ({"shuffle_rows": 0}, "shuffle_rows is 0"),
    ],
)
def test_bad_options_are_refused(parquet_folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^dataset 'parquet': .*{message}"):
        load_dataset("parquet", path=str(parquet_folder), **changes)
