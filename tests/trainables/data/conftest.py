"""Small datasets in the real formats, written by the tests themselves."""

import io
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as pq

from tests.waiting import wait_until

Array = npt.NDArray[np.uint8]
HF_NAMES = ["ant", "bee", "cat"]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def no_process_is_left(grandchildren: Callable[[], set[int]]) -> Iterator[None]:
    """Whatever a test starts: only Python's own fork server and resource tracker may outlive it."""
    yield
    # Torch's loader gives its processes 5 s to leave, then terminates them and does not wait for their end.
    wait_until(lambda: not multiprocessing.active_children() and not grandchildren(), "no process is left")


@pytest.fixture
def grandchildren() -> Callable[[], set[int]]:
    """The live processes that the fork server forked; other tests' Ray has children and grandchildren of its own."""

    def found() -> set[int]:
        parents = {}
        for entry in Path("/proc").iterdir():
            try:
                # The name, in parentheses, may hold blanks; state and parent follow it.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if entry.name.isdigit() and state != "Z":
                parents[int(entry.name)] = int(parent)
        server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        return {child for child, parent in parents.items() if parent == server}

    return found


def smooth(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """A picture whose pixels differ from place to place, without the noise that JPEG destroys."""
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def picture(random: np.random.Generator) -> Callable[[int, int], Image.Image]:
    return lambda width, height: smooth(random, width, height)


@pytest.fixture
def encode() -> Callable[..., bytes]:
    def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=90)
        return buffer.getvalue()

    return encoded


@pytest.fixture
def image_folder(tmp_path: Path, random: np.random.Generator) -> Path:
    """Three classes of 12 training and 5 evaluation images each, PNG and JPEG, of several sizes."""
    root = tmp_path / "folder"
    for split, number in (("train", 12), ("val", 5)):
        for name in ("cat", "ant", "bee"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(number):
                width, height = random.integers(20, 60, 2).tolist()
                suffix = ("png", "jpg", "JPEG")[index % 3]
                smooth(random, width, height).save(folder / f"{name}{index:02d}.{suffix}")
    return root


@pytest.fixture
def write_parquet(encode: Callable[..., bytes], random: np.random.Generator) -> Callable[..., None]:
    """Writes labels, and images whose first row of pixels tells the label and the row, to one file."""

    def write(path: Path, labels: Sequence[int | None], **options: Any) -> None:
        images = options.get("images") or [
            encode(solid(options.get("first", 0) + index)) for index in range(len(labels))
        ]
        column = (
            pa.array(images, pa.binary())
            if options.get("plain")
            else pa.array(
                [
                    None if each is None else {"bytes": each, "path": f"{index}.png"}
                    for index, each in enumerate(images)
                ],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            )
        )
        table = pa.table({"image": column, "label": pa.array(labels, options.get("label_type", pa.int64()))})
        if names := options.get("names"):
            features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=options.get("group", 7))

    return write


def solid(number: int) -> Image.Image:
    """An image of one colour that tells its number."""
    return Image.new("RGB", (8, 8), (number % 251, number // 251, 3))


@pytest.fixture
def number_of() -> Callable[[Any], list[int]]:
    """The numbers that images made by ``solid`` tell."""

    def numbers(images: Any) -> list[int]:
        return [int(image[0, 0, 0]) + 251 * int(image[1, 0, 0]) for image in images]

    return numbers


@pytest.fixture
def parquet_folder(tmp_path: Path, write_parquet: Callable[..., None]) -> Path:
    """100 training rows in three shards of row groups of 7, 23 evaluation rows in two; labels are row % 3."""
    root, first = tmp_path / "hf", 0
    for shard, rows in enumerate((40, 33, 27)):
        labels = [(first + row) % 3 for row in range(rows)]
        write_parquet(root / f"data/train-{shard:05d}-of-00003.parquet", labels, first=first, names=HF_NAMES)
        first += rows
    for shard, rows in enumerate((12, 11)):
        labels = [(shard * 12 + row) % 3 for row in range(rows)]
        name = f"data/validation-{shard:05d}-of-00002.parquet"
        write_parquet(root / name, labels, first=200 + shard * 12, names=HF_NAMES)
    write_parquet(root / "data/test-00000-of-00001.parquet", [-1] * 5, names=HF_NAMES)
    return root
