"""How carefully must a model's learning rate and weight decay be chosen? See the README for the five ideas.

Everything here is imported when it is first used: ``import stablesweep`` costs next to nothing.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from search_spaces import Choice, IntUniform, LogUniform, SearchSpace, Uniform, around
    from stablesweep.api import run
    from stablesweep.arms import Arm
    from stablesweep.results import Results, load
    from stablesweep.study import Study
    from stablesweep.study_file import load_study
    from trainables import Recipe, register_dataset, register_model

__all__ = [
    "Arm",
    "Choice",
    "IntUniform",
    "LogUniform",
    "Recipe",
    "Results",
    "SearchSpace",
    "Study",
    "Uniform",
    "around",
    "load",
    "load_study",
    "register_dataset",
    "register_model",
    "run",
]

_HOMES = {
    "Arm": "stablesweep.arms",
    "Choice": "search_spaces",
    "IntUniform": "search_spaces",
    "LogUniform": "search_spaces",
    "Recipe": "trainables",
    "Results": "stablesweep.results",
    "SearchSpace": "search_spaces",
    "Study": "stablesweep.study",
    "Uniform": "search_spaces",
    "around": "search_spaces",
    "load": "stablesweep.results",
    "load_study": "stablesweep.study_file",
    "register_dataset": "trainables",
    "register_model": "trainables",
    "run": "stablesweep.api",
}


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
