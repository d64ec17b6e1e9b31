"""The built-in models: what they cost beside the paper's figures, and how fast they are here."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboards.terminal import text_table
from trainables.models.published import PublishedModel, difference_percent, published_models
from trainables.registry import model_names, require_model

if TYPE_CHECKING:
    from rich.console import Console

    from trainables.models.cost import ModelCost
    from trainables.models.measure import Measurement

REFERENCE_CLASSES = 1000
REFERENCE_SIZE = 224
# The sizes that are our own, for small images: classes, pixels, channels.
_SMALL = {"micro": (10, 32, 1), "tiny": (10, 64, 3)}

_MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSetting:
    """A model and what it is built for in the table."""

    name: str
    num_classes: int
    image_size: int
    """Side of the image, pixels."""
    in_channels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """One model, counted in its setting."""

    setting: ModelSetting
    cost: "ModelCost"
    published: PublishedModel | None
    """The paper's figures, where it has the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredRow:
    """One model, measured on this device in its setting."""

    setting: ModelSetting
    measurement: "Measurement | None"
    failure: str = ""
    """Why there is no measurement."""


def model_settings(names: Sequence[str] = ()) -> list[ModelSetting]:
    """The models of these names as asked, or all of them in the order of their names and sizes.

    The paper's models are built as published; other sizes for 1000 classes and 224 px, ``micro`` and ``tiny`` for 10
    classes of small images.

    Raises:
        UnknownName: If no model has one of the names.
    """
    for name in names:
        require_model(name)
    return [_setting(name) for name in names or sorted(model_names(), key=_by_size)]


def _by_size(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers as numbers: ``vit_c_4gf`` before ``vit_c_18gf``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _setting(name: str) -> ModelSetting:
    published = published_models().get(name)
    default = (REFERENCE_CLASSES, published.image_size if published else REFERENCE_SIZE, 3)
    small = name.rpartition("_")[2] if name.startswith("vit_") else ""
    classes, size, channels = _SMALL.get(small, default)
    return ModelSetting(name=name, num_classes=classes, image_size=size, in_channels=channels)


def count_model(setting: ModelSetting) -> ModelRow:
    """The cost of one model, without memory for its weights.

    Raises:
        ValueError: If the model does not take the images of its setting.
    """
    from trainables.models.cost import named_model_cost

    cost = named_model_cost(
        setting.name,
        num_classes=setting.num_classes,
        image_size=setting.image_size,
        in_channels=setting.in_channels,
    )
    return ModelRow(setting=setting, cost=cost, published=published_models().get(setting.name))


def measure_setting(setting: ModelSetting) -> MeasuredRow:
    """The speed and memory of one model here; a model that does not fit the memory gets a row that says so."""
    from trainables.models.measure import default_device, measure_alone

    try:
        measurement = measure_alone(
            setting.name,
            num_classes=setting.num_classes,
            image_size=setting.image_size,
            in_channels=setting.in_channels,
            device=default_device(),
        )
    except RuntimeError as error:
        return MeasuredRow(setting=setting, measurement=None, failure=str(error).partition("\n")[0])
    return MeasuredRow(setting=setting, measurement=measurement)


def shown_one_by_one(
    settings: Sequence[ModelSetting], doing: str, console: "Console", *, lines: bool
) -> Iterator[ModelSetting]:
    """The settings one by one, with a bar that says which is worked on; in a log file a line for each, if wanted."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=len(settings))
        for number, setting in enumerate(settings, start=1):
            progress.update(task, description=f"{doing} {setting.name}")
            if lines and not console.is_terminal:
                console.print(f"{doing} {setting.name} ({number}/{len(settings)})", highlight=False, markup=False)
            yield setting
            progress.advance(task)


def render_models(rows: Sequence[ModelRow]) -> str:
    """What the models cost, as a text table of at most 120 columns."""
    header = ["model", "parameters", "paper M", "diff %", "flops G", "paper", "diff %", "acts M", "paper", "diff %"]
    table = text_table([*header, "image", "classes"], [_count_cells(row) for row in rows])
    return (
        f"{table}\n\n"
        "flops: multiply-adds of convolutions and matrix products, one image; acts: elements of their outputs.\n"
        "paper: arXiv:2106.14881, Table 2; diff %: how far a count lies outside the rounding of the paper's figure.\n"
        "Any other model of timm is called timm:NAME."
    )


def _count_cells(row: ModelRow) -> list[str]:
    cost, paper = row.cost, row.published
    published = (paper.parameters_m, paper.flops_g, paper.activations_m) if paper else (None, None, None)
    counted = (cost.parameters / 1e6, cost.flops / 1e9, cost.activations / 1e6)
    texts = (f"{cost.parameters:,}", *(f"{count:.3f}" for count in counted[1:]))
    cells = [row.setting.name]
    for text, count, figure in zip(texts, counted, published, strict=True):
        cells += [text, *(("", "") if figure is None else (f"{figure:.1f}", _percent(count, figure)))]
    return [*cells, f"{row.setting.image_size} px", str(row.setting.num_classes)]


def _percent(counted: float, published: float) -> str:
    difference = difference_percent(counted, published)
    return f"{difference:+.2f}" if difference else "0"


def render_measurements(rows: Sequence[MeasuredRow]) -> str:
    """How fast the models are and what memory they take, as a text table, and a line for each that failed."""
    header = ["model", "image", "batch", "training images/s", "inference images/s", "peak memory"]
    devices = sorted({row.measurement.device for row in rows if row.measurement})
    lines = [
        f"On {' and '.join(devices) or 'no device'}, float32; training: forward, backward and a step of AdamW.",
        text_table(header, [_speed_cells(row) for row in rows]),
        *(f"{row.setting.name}: {row.failure}" for row in rows if row.failure),
    ]
    return "\n".join(lines)


def _speed_cells(row: MeasuredRow) -> list[str]:
    name, size = row.setting.name, f"{row.setting.image_size} px"
    measured = row.measurement
    if measured is None:
        return [name, size, "–", "–", "–", "–"]
    memory = "–" if measured.peak_memory_bytes is None else f"{measured.peak_memory_bytes / _MIB:,.0f} MiB"
    return [
        name,
        size,
        str(measured.batch_size),
        f"{measured.train_images_per_s:,.1f}",
        f"{measured.inference_images_per_s:,.1f}",
        memory,
    ]
