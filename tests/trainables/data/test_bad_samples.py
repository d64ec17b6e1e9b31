"""Each kind of bad sample, with on_bad_sample error and skip."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from trainables import UNREADABLE, Batch, Dataset, Reading, load_dataset


def evaluated(data: Dataset, workers: int) -> Batch:
    """All evaluation images in one batch."""
    return next(iter(data.eval_batches(Reading(batch_size=data.num_eval, decode_workers=workers))))


def damage(path: Path, kind: str) -> None:
    if kind == "garbage":
        path.write_bytes(b"this is no image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut short":
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "bad chunk":
        content = bytearray(path.read_bytes())
        content[45] ^= 0xFF
        path.write_bytes(bytes(content))
    else:
        path.unlink()


KINDS = {
    "garbage": "cannot be decoded (UnidentifiedImageError: cannot identify image file <_io.BytesIO object>)",
    "empty": "cannot be decoded (UnidentifiedImageError",
    "cut short": "cannot be decoded (",
    "bad chunk": "cannot be decoded (",
    "missing": "cannot be read (FileNotFoundError",
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named(image_folder: Path, kind: str, workers: int) -> None:
    file = image_folder / "val/bee/bee03.png"
    strict = load_dataset("imagefolder", path=str(image_folder), image_size=8)
    lenient = load_dataset("imagefolder", path=str(image_folder), image_size=8, on_bad_sample="skip")
    whole = evaluated(strict, 0)
    damage(file, kind)
    with pytest.raises(ValueError, match="^" + re.escape(f"{file}: {KINDS[kind]}")) as raised:
        evaluated(strict, workers)
    assert str(raised.value).endswith("; repair or remove it, or set on_bad_sample: skip")
    assert "\n" not in str(raised.value)
    batch = evaluated(lenient, workers)
    bad = 5 + 3
    assert batch.labels.tolist() == [UNREADABLE if i == bad else label for i, label in enumerate(whole.labels.tolist())]
    assert not batch.images[bad].any()
    others = [i for i in range(15) if i != bad]
    assert torch.equal(batch.images[others], whole.images[others])
    assert len(batch.problems) == 1
    assert batch.problems[0].startswith(f"{file}: {KINDS[kind]}")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_in_a_parquet_file_is_named_by_file_and_row(
    tmp_path: Path,
    write_parquet: Callable[..., None],
    encode: Callable[..., bytes],
    workers: int,
) -> None:
    good = encode(Image.new("RGB", (8, 8), (9, 9, 9)))
    for name in ("train-0", "val-0"):
        write_parquet(tmp_path / f"{name}.parquet", [0, 1] * 5, images=[good] * 10, group=4)
    images = [good, good, good, good, good, b"no image", None, good, good, good]
    write_parquet(tmp_path / "val-1.parquet", [0, 1] * 5, images=images, group=4)
    file = tmp_path / "val-1.parquet"
    strict = load_dataset("parquet", path=str(tmp_path), image_size=8)
    with pytest.raises(ValueError, match=re.escape(f"{file}, row 5: cannot be decoded (UnidentifiedImageError")):
        evaluated(strict, workers)
    batch = evaluated(load_dataset("parquet", path=str(tmp_path), image_size=8, on_bad_sample="skip"), workers)
    assert [problem.split(" (")[0] for problem in batch.problems] == [
        f"{file}, row 5: cannot be decoded",
        f"{file}, row 6: cannot be read",
    ]
    assert torch.nonzero(batch.labels == UNREADABLE).flatten().tolist() == [15, 16]
    assert not batch.images[15:17].any()
    assert (batch.images[[*range(15), 17, 18, 19]] == 9).all()


@pytest.mark.parametrize(("label", "shown"), [(None, "null"), (3, "3"), (-1, "-1"), (2**40, str(2**40))])
def test_a_bad_label_is_named_at_opening(
    tmp_path: Path, write_parquet: Callable[..., None], label: int | None, shown: str
) -> None:
    write_parquet(tmp_path / "train-0.parquet", [0, 1, 2, 0])
    write_parquet(tmp_path / "val-0.parquet", [0, 1, label, 2])
    file = tmp_path / "val-0.parquet"
    sentence = f"{file}, row 2: label is {shown}, expected 0 to 2"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}; correct it, or set on_bad_sample: skip$"):
        load_dataset("parquet", path=str(tmp_path), image_size=8)
    data = load_dataset("parquet", path=str(tmp_path), image_size=8, on_bad_sample="skip")
    batch = evaluated(data, 0)
    assert batch.labels.tolist() == [0, 1, UNREADABLE, 2]
    assert batch.problems == (sentence,)
    assert not batch.images[2].any()
    assert batch.images[3].any()


def test_problems_of_each_rank_are_its_own(image_folder: Path) -> None:
    (image_folder / "val/cat/cat04.jpg").write_bytes(b"")
    data = load_dataset("imagefolder", path=str(image_folder), image_size=8, on_bad_sample="skip")
    parts = [list(data.eval_batches(Reading(batch_size=6, world=3, rank=rank))) for rank in range(3)]
    assert [[len(batch.problems) for batch in part] for part in parts] == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert [len(batch.images) for batch in parts[2]] == [2, 2, 0]
