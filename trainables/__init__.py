"""What a study trains: stems, models, optimizers, recipes, datasets and the lockstep training loop.

Importing this package is cheap: torch, timm and pydantic are loaded when a name that needs them is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.data import ImageData, batch_order, load_dataset
    from trainables.lockstep import LockstepPack
    from trainables.models import create_model
    from trainables.optimizers import OPTIMIZERS, create_optimizer, optimizer_hyperparameters
    from trainables.recipe import Recipe
    from trainables.records import Member, MemberEpoch, MemberResult
    from trainables.registry import (
        UnknownName,
        UserEntries,
        dataset_names,
        install,
        model_names,
        optimizer_names,
        register_dataset,
        register_model,
        user_entries,
    )
    from trainables.schedule import lr_multiplier
    from trainables.vit_specs import VIT_SPECS, VitSpec

__all__ = [
    "OPTIMIZERS",
    "VIT_SPECS",
    "ImageData",
    "LockstepPack",
    "Member",
    "MemberEpoch",
    "MemberResult",
    "Recipe",
    "UnknownName",
    "UserEntries",
    "VitSpec",
    "batch_order",
    "create_model",
    "create_optimizer",
    "dataset_names",
    "install",
    "load_dataset",
    "lr_multiplier",
    "model_names",
    "optimizer_hyperparameters",
    "optimizer_names",
    "register_dataset",
    "register_model",
    "user_entries",
]

_MODULES = {
    "data": ("ImageData", "batch_order", "load_dataset"),
    "lockstep": ("LockstepPack",),
    "models": ("create_model",),
    "optimizers": ("OPTIMIZERS", "create_optimizer", "optimizer_hyperparameters"),
    "recipe": ("Recipe",),
    "records": ("Member", "MemberEpoch", "MemberResult"),
    "registry": (
        "UnknownName",
        "UserEntries",
        "dataset_names",
        "install",
        "model_names",
        "optimizer_names",
        "register_dataset",
        "register_model",
        "user_entries",
    ),
    "schedule": ("lr_multiplier",),
    "vit_specs": ("VIT_SPECS", "VitSpec"),
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
