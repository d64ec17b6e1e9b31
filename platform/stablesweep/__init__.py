"""How carefully must a model's learning rate and weight decay be chosen? See the README for the five ideas.

Everything here is imported when it is first used: ``import stablesweep`` costs next to nothing.
"""

import importlib
import importlib.util
import sys
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


def _neighbours() -> dict[str, Path]:
    """The folder or file that Python finds for each package that comes with this one."""
    found = {}
    for name in ("search_spaces", "trainables", "dashboards"):
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])]
        place = next(filter(None, places), None)
        found[name] = Path(place).resolve() if place else Path("nowhere")
    return found


def _take_neighbours() -> None:
    """See to it that this package and those that come with it are of one copy.

    A clone that is the working directory of a Ray job comes before the installed packages, but the ``platform`` in it
    does not: its ``stablesweep`` then takes this one's place, here and in every worker, where the order is the same.
    """
    own, found = Path(__file__).resolve().parent, _neighbours()
    # In a clone they lie beside platform/, installed they lie beside stablesweep/.
    homes = {own.parent, own.parent.parent}
    for name, place in found.items():
        if place.parent.parent in homes:
            continue
        clone = place.parent.parent
        whole = clone / "platform" / __name__
        if (whole / "__init__.py").is_file() and {one.parent.parent for one in found.values()} == {clone}:
            _load_from(whole)
            return
        raise ImportError(
            f"stablesweep needs its own package {name!r}, but Python finds {place} first; "
            "rename that folder or run from another one."
        )


def _load_from(folder: Path) -> None:
    """Put the package in ``folder`` in this one's place, under the same name."""
    spec = importlib.util.spec_from_file_location(
        __name__, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[__name__] = module
    spec.loader.exec_module(module)


_take_neighbours()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
