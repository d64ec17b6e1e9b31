"""What a worker is told about its pack: plain values that travel through Ray."""

from dataclasses import dataclass
from typing import Any

from trainables import Member, Recipe, UserEntries


@dataclass(frozen=True, kw_only=True, slots=True)
class PackJob:
    """One pack and everything that is needed to train it."""

    name: str
    members: tuple[Member, ...]
    model: str
    model_options: dict[str, Any]
    """Further keyword arguments of :func:`trainables.create_model`."""
    optimizer: str
    epochs: int
    recipe: Recipe
    dataset: str
    dataset_options: dict[str, Any]
    study_seed: int
    checkpoint_every_s: float
    decode_workers: int
    entries: UserEntries
    """Models and datasets that the user registered."""
