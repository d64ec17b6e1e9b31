import io
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import fs
from pyarrow import parquet as pq

from trainables import Reading, load_dataset
from trainables.data import parquet
from trainables.data.parquet import ParquetSource
from trainables.data.streamed import StreamedDataset

v2: Any = import_module("torchvision.transforms.v2")


def load(path: Path | str, **options: Any) -> StreamedDataset:
    data = load_dataset("parquet", path=str(path), **{"image_size": 8, **options})
    assert isinstance(data, StreamedDataset)
    return data


def evaluation_numbers(data: StreamedDataset, number_of: Callable[[Any], list[int]]) -> list[int]:
    return number_of(next(iter(data.eval_batches(Reading(batch_size=data.num_eval)))).images)


def test_the_published_layout_is_found(parquet_folder: Path, number_of: Callable[[Any], list[int]]) -> None:
    data = load(parquet_folder)
    assert (data.num_train, data.num_eval, data.num_classes) == (100, 23, 3)
    assert data.train.labels.tolist() == [row % 3 for row in range(100)]
    assert data.train.group_sizes is not None
    assert data.train.group_sizes.tolist() == [7] * 5 + [5] + [7] * 4 + [5] + [7] * 3 + [6]
    assert evaluation_numbers(data, number_of) == list(range(200, 223))


def test_pixels_are_those_of_torchvision(
    tmp_path: Path,
    write_parquet: Callable[..., None],
    encode: Callable[..., bytes],
    picture: Callable[..., Image.Image],
) -> None:
    images = [encode(picture(40 + row, 50), "JPEG") for row in range(9)]
    for name in ("train", "val"):
        write_parquet(tmp_path / f"{name}.parquet", [0, 1, 2] * 3, images=images, group=4)
    batch = next(iter(load(tmp_path, image_size=24).eval_batches(Reading(batch_size=9))))
    transform = v2.Compose([v2.Resize(27, antialias=True), v2.CenterCrop(24)])
    for ours, encoded in zip(batch.images, images, strict=True):
        theirs = transform(Image.open(io.BytesIO(encoded)).convert("RGB"))
        assert np.array_equal(ours, np.asarray(theirs).transpose(2, 0, 1))


def test_names_in_the_metadata_count_the_classes(tmp_path: Path, write_parquet: Callable[..., None]) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 2], names=["a", "b", "c", "d"])
    write_parquet(tmp_path / "val.parquet", [3])
    assert load(tmp_path).num_classes == 4
    assert load(tmp_path, num_classes=9).num_classes == 9


def test_without_names_the_labels_count_the_classes(tmp_path: Path, write_parquet: Callable[..., None]) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1, 2, 1], plain=True, label_type=pa.int16())
    write_parquet(tmp_path / "val.parquet", [2], plain=True, label_type=pa.uint8())
    data = load(tmp_path)
    assert data.num_classes == 3
    assert data.eval.labels.dtype == np.int64


def test_a_gap_in_the_labels_is_named(tmp_path: Path, write_parquet: Callable[..., None]) -> None:
    write_parquet(tmp_path / "train.parquet", [1, 2, 3])
    write_parquet(tmp_path / "val.parquet", [1])
    with pytest.raises(
        ValueError, match=r"no training image has label 0 in .*; number the classes from 0 without gaps"
    ):
        load(tmp_path)
    assert load(tmp_path, num_classes=4).num_classes == 4
    with pytest.raises(ValueError, match="num_classes is 0, expected an integer from 2"):
        load(tmp_path, num_classes=0)


@pytest.mark.parametrize("scheme", ["file://", "subtree"])
def test_a_uri_reads_the_same(
    parquet_folder: Path, scheme: str, number_of: Callable[[Any], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"file://{parquet_folder}"
    if scheme == "subtree":
        # Stands for an object store: paths are relative to a bucket and are none of the local disk.
        bucket = fs.SubTreeFileSystem(str(parquet_folder.parent), fs.LocalFileSystem())
        monkeypatch.setattr(parquet, "file_system", lambda uri: (bucket, parquet_folder.name))
        path = "store://bucket/hf"
    data = load(path)
    assert evaluation_numbers(data, number_of) == list(range(200, 223))
    there = list(data.eval_batches(Reading(batch_size=23, decode_workers=1)))
    assert number_of(there[0].images) == list(range(200, 223))


def test_an_unknown_uri_is_one_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"^dataset 'parquet': path nosuch://x/y: cannot be opened \(ArrowInvalid.*\)$"
    ):
        load("nosuch://x/y")


def test_patterns(parquet_folder: Path) -> None:
    assert load(parquet_folder, train="train-00001*").num_train == 33
    assert load(parquet_folder, train="data/train-0000[01]-*.parquet").num_train == 73
    found = "found data/test-00000-of-00001.parquet, data/train-00000-of-00003.parquet, "
    with pytest.raises(ValueError, match=f"no file in {parquet_folder} matches eval: 'dev\\*'; {found}"):
        load(parquet_folder, eval="dev*")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=f"path {tmp_path / 'none'}: cannot be listed .*give a folder of Parquet files"
    ):
        load(tmp_path / "none")
    with pytest.raises(ValueError, match=r"matches train: .*; found no file at all"):
        load(tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 200, -1])
def test_a_shard_that_was_cut_short_is_named_at_opening(parquet_folder: Path, keep: int) -> None:
    file = parquet_folder / "data/train-00001-of-00003.parquet"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(file))}: cannot be read \\(.*\\); write or fetch the file again"
    ):
        load(parquet_folder)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("bad", ["error", "skip"])
@pytest.mark.parametrize("how", ["cut short", "overwritten", "removed"])
def test_a_shard_that_is_damaged_after_opening_is_named(parquet_folder: Path, workers: int, bad: str, how: str) -> None:
    data = load(parquet_folder, on_bad_sample=bad)
    file = parquet_folder / "data/validation-00001-of-00002.parquet"
    content = file.read_bytes()
    if how == "removed":
        file.unlink()
    else:
        file.write_bytes(content[:100] if how == "cut short" else b"\xff" * len(content))
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}, row 0: cannot be read \\(") as raised:
        list(data.eval_batches(Reading(batch_size=4, decode_workers=workers)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "img"}, "no column 'img'; set image_column to one of image, label"),
        ({"label_column": "fine_label"}, "no column 'fine_label'; set label_column to one of image, label"),
        (
            {"image_column": "label"},
            "column 'label' is int64; expected binary, or a struct with a binary field 'bytes'",
        ),
        ({"label_column": "image"}, "column 'image' is struct<.*>; expected integers"),
    ],
)
def test_a_column_that_does_not_fit_is_named(parquet_folder: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"train-00000-of-00003.parquet: {message}"):
        load(parquet_folder, **options)


def test_files_without_rows(tmp_path: Path, write_parquet: Callable[..., None]) -> None:
    write_parquet(tmp_path / "train-0.parquet", [], images=[])
    write_parquet(tmp_path / "train-1.parquet", [0, 1, 1])
    write_parquet(tmp_path / "val-0.parquet", [], images=[])
    with pytest.raises(ValueError, match=r"val-0.parquet holds no row"):
        load(tmp_path)
    write_parquet(tmp_path / "val-1.parquet", [1])
    data = load(tmp_path)
    assert (data.num_train, data.num_eval) == (3, 1)
    assert isinstance(data.train, ParquetSource)
    assert data.train.request(np.array([0, 2])).where(1) == f"{tmp_path / 'train-1.parquet'}, row 2"
    assert len(list(data.train_batches(Reading(batch_size=3), study_seed=0, epoch=1, crop=None))) == 1


def test_opening_reads_no_image(parquet_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    read = pq.ParquetFile.read

    def noted(self: Any, columns: Any = None, **options: Any) -> Any:
        asked.append(columns)
        return read(self, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read", noted)
    load(parquet_folder)
    assert asked == [["label"]] * 5
