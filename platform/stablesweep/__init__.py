"""How carefully must a model's learning rate and weight decay be chosen? See the README for the five ideas.

Everything here is imported when it is first used: ``import stablesweep`` costs next to nothing.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from search_spaces import (
        Choice,
        Conditional,
        Constant,
        Distribution,
        IntUniform,
        LogIntUniform,
        LogUniform,
        SearchSpace,
        Uniform,
        around,
        from_optuna,
        from_ray_tune,
        named_space,
        register_distribution,
        to_optuna,
        to_ray_tune,
    )
    from stablesweep.api import run
    from stablesweep.arms import Arm
    from stablesweep.phases import FixedPhase, Phases, SearchPhase, StabilityPhase
    from stablesweep.results import Results, load
    from stablesweep.study import Dataset, ModelDefinition, Pack, Study, TrainableDefinition
    from stablesweep.study_file import load_study
    from trainables import (
        CustomPack,
        ImageData,
        Member,
        Recipe,
        TrainingContext,
        one_at_a_time,
        register_dataset,
        register_model,
        register_optimizer,
        register_trainable,
    )
    from trainables.training.pruning import Pruning

_MODULES = {
    "search_spaces": (
        "Choice",
        "Conditional",
        "Constant",
        "Distribution",
        "IntUniform",
        "LogIntUniform",
        "LogUniform",
        "SearchSpace",
        "Uniform",
        "around",
        "from_optuna",
        "from_ray_tune",
        "named_space",
        "register_distribution",
        "to_optuna",
        "to_ray_tune",
    ),
    "stablesweep.api": ("run",),
    "stablesweep.arms": ("Arm",),
    "stablesweep.phases": ("FixedPhase", "Phases", "SearchPhase", "StabilityPhase"),
    "stablesweep.results": ("Results", "load"),
    "stablesweep.study": ("Dataset", "ModelDefinition", "Pack", "Study", "TrainableDefinition"),
    "stablesweep.study_file": ("load_study",),
    "trainables": (
        "CustomPack",
        "ImageData",
        "Member",
        "Recipe",
        "TrainingContext",
        "one_at_a_time",
        "register_dataset",
        "register_model",
        "register_optimizer",
        "register_trainable",
    ),
    "trainables.training.pruning": ("Pruning",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Arm",
    "Choice",
    "Conditional",
    "Constant",
    "CustomPack",
    "Dataset",
    "Distribution",
    "FixedPhase",
    "ImageData",
    "IntUniform",
    "LogIntUniform",
    "LogUniform",
    "Member",
    "ModelDefinition",
    "Pack",
    "Phases",
    "Pruning",
    "Recipe",
    "Results",
    "SearchPhase",
    "SearchSpace",
    "StabilityPhase",
    "Study",
    "TrainableDefinition",
    "TrainingContext",
    "Uniform",
    "around",
    "from_optuna",
    "from_ray_tune",
    "load",
    "load_study",
    "named_space",
    "one_at_a_time",
    "register_dataset",
    "register_distribution",
    "register_model",
    "register_optimizer",
    "register_trainable",
    "run",
    "to_optuna",
    "to_ray_tune",
]


def _check_neighbours() -> None:
    """Refuse to go on if a folder of the user's hides one of the packages that come with this one."""
    own = Path(__file__).resolve().parent
    # In a clone they lie beside platform/, installed they lie beside stablesweep/.
    homes = {own.parent, own.parent.parent}
    for name in ("search_spaces", "trainables", "dashboards"):
        found = importlib.util.find_spec(name)
        origin = found.origin if found is not None else None
        if origin is None or Path(origin).resolve().parent.parent not in homes:
            where = origin or (next(iter(found.submodule_search_locations or []), "?") if found else "nowhere")
            raise ImportError(
                f"stablesweep needs its own package {name!r}, but Python finds {where} first; "
                "rename that folder or run from another one."
            )


_check_neighbours()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
