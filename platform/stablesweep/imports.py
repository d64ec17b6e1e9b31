"""The user's own modules: found beside the study file, imported on the driver and on every worker."""

import importlib
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from stablesweep.errors import short
from trainables.registry import UserEntries, user_entries

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_folders: list[str] = []
_registered: dict[str, set[str]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class UserModules:
    """What to import, and where to look for it besides the usual places."""

    names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    """Absolute; a folder that another machine lacks is left out there."""


def search_in(folder: Path) -> None:
    """Also look for the user's modules in ``folder``, after every other place: nothing there can hide a library."""
    path = str(folder.resolve())
    if path not in _folders:
        _folders.append(path)
    if path not in sys.path:
        sys.path.append(path)


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name; what they register is known from then on.

    Raises:
        ValueError: If a name is no module's, or a module raises while it is imported.
    """
    # A file may have been written since Python last looked into its folder.
    importlib.invalidate_caches()
    before = _names(user_entries())
    for name in names:
        _import_one(name)
    for kind, known in _names(user_entries()).items():
        _registered.setdefault(kind, set()).update(known - before[kind])


def _import_one(name: str) -> None:
    if not isinstance(name, str) or not _MODULE.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a module; write my_models for a file my_models.py")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name != name.split(".")[0]:
            raise ValueError(_raised(name, error)) from error
        places = ", ".join(_folders) or "the usual places"
        raise ValueError(
            f"there is no module {name!r} in {places}; put {name.split('.')[0]}.py beside the study file, or install it"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise ValueError(_raised(name, error)) from error


def _raised(name: str, error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"the module {name!r} raised {type(error).__name__}: {short(error)}{where}"


def user_modules(names: Sequence[str]) -> UserModules:
    """What another process needs to import the same modules."""
    return UserModules(names=tuple(names), folders=tuple(_folders))


def _names(entries: UserEntries) -> dict[str, set[str]]:
    return {field.name: set(getattr(entries, field.name)) for field in fields(entries)}


def other_entries() -> UserEntries:
    """What the user registered in this process otherwise than by :func:`import_modules`: a worker must be sent it."""
    entries = user_entries()
    kept = {
        kind: {name: getattr(entries, kind)[name] for name in names - _registered.get(kind, set())}
        for kind, names in _names(entries).items()
    }
    return replace(entries, **kept)


def install_modules(modules: UserModules) -> None:
    """Import on a worker what the driver imported. Raises ValueError as :func:`import_modules`."""
    # On another machine the study's folder is the job's working directory, or a folder in it.
    for folder in (Path.cwd(), *map(Path, modules.folders)):
        if folder.is_dir():
            search_in(folder)
    import_modules(modules.names)
