"""What a worker is told about its pack: plain values that travel through Ray."""

from dataclasses import dataclass
from typing import Any

from stablesweep.imports import UserModules
from trainables import Member, PackMode, Recipe, UserEntries
from trainables.training.pruning import Pruning


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
    """Empty if a trainable of the user's own trains the pack."""
    dataset_options: dict[str, Any]
    trainable: str | None
    """The user's own; None for this project's image classifiers."""
    trainable_options: dict[str, Any]
    study_seed: int
    storage: str
    """The study's folder for checkpoints, a path or a URI; every node sees it."""
    earlier_packs: tuple[str, ...]
    """Other packs whose checkpoints hold all these members: the trials were divided in another way then."""
    checkpoint_every_s: float
    decode_workers: int
    gpus: float
    """Reserved for each worker."""
    mode: PackMode
    pruning: Pruning | None
    earlier: tuple[tuple[float, ...], ...]
    """For pruning: the error curves of the arm's trials that ended before, see :class:`stablesweep.outcomes.Outcome`."""
    modules: UserModules
    """What to import first."""
    entries: UserEntries
    """What the user registered elsewhere."""
