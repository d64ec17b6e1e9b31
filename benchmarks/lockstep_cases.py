"""What ``lockstep.py`` trains: models at image sizes, their images, their members. Imports torch only when asked for data."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trainables import Dataset, ImageData, Member, Recipe

SHUFFLE_ROWS = 1024
"""Of the JPEG dataset: a window of images is decoded before the first one of it is trained on."""
GROUP_ROWS = 128
PHOTOGRAPHS = 64
"""Distinct JPEGs; the rows repeat them, which costs a decoder as much as as many different ones."""
MEMORY_BYTES = {"cuda": 3 * 2**30, "cpu": 2**26}
"""Most that the images in memory take; the time of a measurement ends where they do, as one epoch is timed."""
MOST_IMAGES = 2**18


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A model at an image size, and where its images come from."""

    name: str
    model: str
    image_size: int
    """Pixels."""
    num_classes: int
    batch_size: int
    jpeg: bool = False
    """Whether images are JPEGs in Parquet, decoded and cropped while training; else they are in memory."""

    @property
    def stride(self) -> int:
        """Steps after which the reading is again where it was: a whole window of JPEGs, else any step."""
        return SHUFFLE_ROWS // self.batch_size if self.jpeg else 1

    def steps_ahead(self, decode_workers: int) -> int:
        """Steps whose images so many decoders have ready, at most, when training stands still; whole windows."""
        if not self.jpeg:
            return 0
        groups = SHUFFLE_ROWS // GROUP_ROWS
        # As trainables.data has it: groups of a window or more are read ahead, as many by each process.
        ahead = -(-groups // decode_workers) * decode_workers
        return -(-ahead // groups) * self.stride


def _case(name: str, model: str, image_size: int, batch_size: int, *, jpeg: bool = False) -> Case:
    num_classes = 1000 if image_size == 224 or jpeg else 10
    return Case(
        name=name, model=model, image_size=image_size, num_classes=num_classes, batch_size=batch_size, jpeg=jpeg
    )


CASES = {
    case.name: case
    for case in (
        _case("micro16", "vit_c_micro", 16, 64),
        _case("micro32", "vit_c_micro", 32, 128),
        _case("micro32p", "vit_p_micro", 32, 128),
        _case("tiny64", "vit_c_tiny", 64, 128),
        _case("tiny64p", "vit_p_tiny", 64, 128),
        _case("1gf224", "vit_c_1gf", 224, 256),
        _case("1gf224p", "vit_p_1gf", 224, 256),
        _case("4gf224", "vit_c_4gf", 224, 256),
        _case("4gf224p", "vit_p_4gf", 224, 256),
        _case("micro32jpeg", "vit_c_micro", 32, 128, jpeg=True),
        _case("1gf224jpeg", "vit_c_1gf", 224, 256, jpeg=True),
    )
}
"""By name; those ending in p have the patchify stem, the others the convolutional one."""


def members(number: int) -> "list[Member]":
    """Trials that differ in seed, learning rate and weight decay."""
    from trainables import Member

    lrs, decays = np.geomspace(1e-4, 1e-3, number), np.geomspace(1e-3, 1e-1, number)
    return [
        Member(key=str(at), seed=at, hyperparameters={"lr": float(lrs[at]), "weight_decay": float(decays[at])})
        for at in range(number)
    ]


def recipe(case: Case) -> "Recipe":
    """Plain; JPEGs are also cropped at random on reading, and flipped."""
    from trainables import Recipe

    if case.jpeg:
        return Recipe(batch_size=case.batch_size, crop="random_resized", flip=0.5)
    return Recipe(batch_size=case.batch_size)


def dataset(case: Case, device: str, jpegs: str | None) -> "Dataset":
    """The case's images.

    Args:
        case: What is trained.
        device: ``cpu`` or ``cuda``; a CPU trains on fewer images.
        jpegs: The folder that :func:`write_jpegs` wrote, for a case with JPEGs.
    """
    if case.jpeg:
        from trainables import load_dataset

        return load_dataset(
            "parquet",
            path=jpegs,
            image_size=case.image_size,
            num_classes=case.num_classes,
            shuffle_rows=SHUFFLE_ROWS,
        )
    image_bytes = 3 * case.image_size**2
    return _random_images(case, min(MOST_IMAGES, MEMORY_BYTES[device] // image_bytes))


def _random_images(case: Case, number: int) -> "ImageData":
    import torch

    from trainables import ImageData

    generator = torch.Generator().manual_seed(0)
    # Random pixels, never zeros, on which matrix products are quicker; repeated, since drawing gigabytes takes long.
    shape = (min(number, 1024), 3, case.image_size, case.image_size)
    drawn = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(case.num_classes, (number,), generator=generator)
    return ImageData(
        name="random",
        train_images=drawn.repeat(-(-number // len(drawn)), 1, 1, 1)[:number],
        train_labels=labels,
        eval_images=drawn[:64],
        eval_labels=labels[:64],
        num_classes=case.num_classes,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )


def write_jpegs(folder: Path, rows: int) -> int:
    """A Parquet dataset of photograph-like JPEGs of 500 x 375 pixels; the mean of their sizes, bytes.

    Args:
        folder: Where ``train.parquet``, of ``rows`` rows, and a small ``val.parquet`` go.
        rows: A multiple of the rows of a group.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    random = np.random.default_rng(0)
    photographs = [_photograph(random) for _ in range(PHOTOGRAPHS)]
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    for name, count in (("train", rows), ("val", GROUP_ROWS)):
        # Else the dictionary of values would hold each repeated photograph once.
        with pq.ParquetWriter(folder / f"{name}.parquet", schema, use_dictionary=False, compression="none") as writer:
            for start in range(0, count, GROUP_ROWS):
                images = [photographs[row % PHOTOGRAPHS] for row in range(start, start + GROUP_ROWS)]
                group = pa.table({"image": images, "label": random.integers(1000, size=GROUP_ROWS)}, schema=schema)
                writer.write_table(group, row_group_size=GROUP_ROWS)
    return sum(map(len, photographs)) // PHOTOGRAPHS


def _photograph(random: np.random.Generator) -> bytes:
    """Noise whose strength falls with its frequency, as a photograph's does: about 100 kB as a JPEG."""
    from PIL import Image

    pixels = np.full((375, 500, 3), 128.0)
    for cells in (2, 4, 8, 16, 32, 64, 128):
        coarse = random.integers(256, size=(cells, cells, 3), dtype=np.uint8)
        enlarged = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC), dtype=np.float64)
        pixels += (enlarged - 128.0) * 1.2 / np.sqrt(cells)
    pixels += random.normal(0.0, 16.0, pixels.shape)
    encoded = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()
