"""The paper's figures of its models, carried with the package. Imports no torch."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

RESOLUTION = 0.1
"""One unit of the last digit that the paper prints, in millions or billions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedModel:
    """One row of the paper's table.

    Source: arXiv:2106.14881v3, Table 2; where the image sizes are from is in ``published.json``.
    """

    parameters_m: float
    """Parameters, millions, with 1000 classes."""
    flops_g: float
    """Multiply-adds of one image, billions."""
    activations_m: float
    """Output elements of convolutions and matrix products of one image, millions."""
    image_size: int
    """Side of the image, pixels, that the flops and activations belong to."""
    minutes_per_epoch: float
    """Minutes of an ImageNet-1k epoch on 8 V100-32GB."""
    batch_size: int
    error_percent: dict[str, float | None]
    """Top-1 error on the validation images of ImageNet-1k; keys ``100 epochs``, ``200 epochs``, ``400 epochs`` and
    ``imagenet-21k`` (pre-trained there); None: not given."""


@cache
def published_models() -> dict[str, PublishedModel]:
    """The rows of the paper's table that are built in here, by our names."""
    text = files("trainables.models").joinpath("published.json").read_text(encoding="utf-8")
    return {name: PublishedModel(**row) for name, row in json.loads(text)["models"].items()}


def difference_percent(counted: float, published: float) -> float:
    """How far a count lies outside the range of numbers that the published figure may be rounded from.

    Args:
        counted: Our count, in the unit of the published figure.
        published: The figure, printed with one decimal.

    Returns:
        Percent of the published figure, with sign; 0 within the rounding.
    """
    beyond = max(0.0, abs(counted - published) - RESOLUTION / 2)
    return 100 * (beyond if counted > published else -beyond) / published if beyond else 0.0
