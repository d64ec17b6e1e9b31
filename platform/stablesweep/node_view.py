"""What one machine has of what a pack needs; asked on every node of a cluster. Imports neither torch nor ray."""

import importlib.metadata
import importlib.util
import platform
from dataclasses import dataclass, field
from pathlib import Path

import stablesweep
from stablesweep.imports import UserModules, search_in
from stablesweep.probe import unseen


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a node is asked to look for."""

    storage: str = ""
    """A file in the storage, path or URI; empty: no storage is looked for."""
    dataset: str = ""
    """The dataset's path or URI; empty if it has none."""
    modules: UserModules = field(default_factory=UserModules)
    """The user's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeView:
    """What a machine has."""

    name: str
    versions: dict[str, str]
    """By package, and Python's own; ``none`` where it is not installed."""
    storage: str = ""
    """Why the storage is not seen; empty if it is."""
    dataset: str = ""
    """Why the dataset is not seen; empty if it is."""
    modules: tuple[str, ...] = ()
    """Those of the user's that are not found."""


def look(name: str, question: Question) -> NodeView:
    """What this machine has.

    Args:
        name: What messages call the machine.
        question: What to look for.
    """
    return NodeView(
        name=name,
        versions=node_versions(),
        storage=unseen(question.storage) if question.storage else "",
        dataset=unseen(question.dataset) if question.dataset else "",
        modules=_not_found(question.modules),
    )


def node_versions() -> dict[str, str]:
    """The versions that must be the same everywhere."""
    packages = {name: installed_version(name) for name in ("ray", "torch", "torchvision", "timm", "numpy")}
    return {"python": platform.python_version(), **packages, "stablesweep": stablesweep.__version__}


def installed_version(package: str) -> str:
    """The version of an installed package, without importing it; ``none`` if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _not_found(modules: UserModules) -> tuple[str, ...]:
    # Where a pack's worker looks: stablesweep.imports.install_modules. Finding a module does not import it.
    for folder in (Path.cwd(), *map(Path, modules.folders)):
        if folder.is_dir():
            search_in(folder)
    importlib.invalidate_caches()
    return tuple(name for name in modules.names if importlib.util.find_spec(name.split(".")[0]) is None)
