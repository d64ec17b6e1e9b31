"""What a study trains: stems, models, optimizers, recipes, datasets, the lockstep training loop, trainables of your own.

Importing this package is cheap: torch, timm and pydantic are loaded when a name that needs them is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.custom.lanes import one_at_a_time
    from trainables.custom.pack import CustomPack
    from trainables.custom.protocol import Metrics, Trainable, TrainingContext
    from trainables.data.dataset import UNREADABLE, Batch, Dataset, RandomCrop, Reading
    from trainables.data.loading import load_dataset
    from trainables.data.memory import ImageData
    from trainables.data.order import batch_order
    from trainables.data.streamed import StreamedDataset
    from trainables.models.create import create_model
    from trainables.models.vit_specs import VIT_SPECS, VitSpec
    from trainables.optimizers import OPTIMIZERS, create_optimizer, optimizer_hyperparameters
    from trainables.recipes.recipe import Recipe
    from trainables.recipes.schedule import lr_multiplier
    from trainables.registry import (
        UnknownName,
        UserEntries,
        dataset_names,
        install,
        model_names,
        optimizer_names,
        register_dataset,
        register_model,
        register_optimizer,
        register_trainable,
        trainable_names,
        user_entries,
    )
    from trainables.training.failures import MemberFailedAlone
    from trainables.training.fused.pack import FusedPack
    from trainables.training.lockstep import LockstepPack
    from trainables.training.modes import create_pack
    from trainables.training.ranks import Ranks
    from trainables.training.records import Member, MemberEpoch, MemberResult, PackMode, PackWay

__all__ = [
    "OPTIMIZERS",
    "UNREADABLE",
    "VIT_SPECS",
    "Batch",
    "CustomPack",
    "Dataset",
    "FusedPack",
    "ImageData",
    "LockstepPack",
    "Member",
    "MemberEpoch",
    "MemberFailedAlone",
    "MemberResult",
    "Metrics",
    "PackMode",
    "PackWay",
    "RandomCrop",
    "Ranks",
    "Reading",
    "Recipe",
    "StreamedDataset",
    "Trainable",
    "TrainingContext",
    "UnknownName",
    "UserEntries",
    "VitSpec",
    "batch_order",
    "create_model",
    "create_optimizer",
    "create_pack",
    "dataset_names",
    "install",
    "load_dataset",
    "lr_multiplier",
    "model_names",
    "one_at_a_time",
    "optimizer_hyperparameters",
    "optimizer_names",
    "register_dataset",
    "register_model",
    "register_optimizer",
    "register_trainable",
    "trainable_names",
    "user_entries",
]

_MODULES = {
    "custom.lanes": ("one_at_a_time",),
    "custom.pack": ("CustomPack",),
    "custom.protocol": ("Metrics", "Trainable", "TrainingContext"),
    "data.dataset": ("UNREADABLE", "Batch", "Dataset", "RandomCrop", "Reading"),
    "data.loading": ("load_dataset",),
    "data.memory": ("ImageData",),
    "data.streamed": ("StreamedDataset",),
    "data.order": ("batch_order",),
    "training.fused.pack": ("FusedPack",),
    "training.lockstep": ("LockstepPack",),
    "training.modes": ("create_pack",),
    "models.create": ("create_model",),
    "optimizers": ("OPTIMIZERS", "create_optimizer", "optimizer_hyperparameters"),
    "recipes.recipe": ("Recipe",),
    "training.failures": ("MemberFailedAlone",),
    "training.ranks": ("Ranks",),
    "training.records": ("Member", "MemberEpoch", "MemberResult", "PackMode", "PackWay"),
    "registry": (
        "UnknownName",
        "UserEntries",
        "dataset_names",
        "install",
        "model_names",
        "optimizer_names",
        "register_dataset",
        "register_model",
        "register_optimizer",
        "register_trainable",
        "trainable_names",
        "user_entries",
    ),
    "recipes.schedule": ("lr_multiplier",),
    "models.vit_specs": ("VIT_SPECS", "VitSpec"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
