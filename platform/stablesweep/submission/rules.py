"""Why a file of the working directory is not sent to the cluster."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HIDDEN = "hidden files and folders"
VIRTUAL_ENVIRONMENT = "virtual environments"
HOME = "homes of studies"
TRACKING = "MLflow's files"
COMPILED = "Python's caches"
IGNORED = "what .gitignore or .rayignore name"
DATASET = "the study's dataset"
DATA = "data and pictures"
OUTSIDE = "links to folders or out of the working directory"
SPECIAL = "neither files nor folders"
SECRET = "tokens and keys that the environment names"

IGNORE_FILES = (".gitignore", ".rayignore")
_TABLES = {".parquet", ".arrow", ".feather", ".npz", ".npy", ".h5", ".hdf5", ".db", ".sqlite", ".lmdb"}
_WEIGHTS = {".pt", ".pth", ".safetensors", ".ckpt"}
_ARCHIVES = {".tar", ".tgz", ".gz", ".zip"}
_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
DATA_SUFFIXES = _TABLES | _WEIGHTS | _ARCHIVES | _PICTURES
_SECRET_VARIABLES = (
    "RAY_AUTH_TOKEN_PATH",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
)


@dataclass(frozen=True, slots=True)
class Ignored:
    """The patterns of one ignore file, which hold for the folder that it lies in."""

    folder: Path
    patterns: tuple[str, ...]

    def matches(self, path: Path, *, is_folder: bool) -> bool:
        """Whether Git would ignore ``path``, which must lie in the folder."""
        return matches(self.patterns, path.relative_to(self.folder), is_folder=is_folder)


def matches(patterns: Sequence[str], path: Path, *, is_folder: bool = False) -> bool:
    """Whether a relative path matches one of the patterns, which are written as in a ``.gitignore``."""
    return bool(_compiled(tuple(patterns)).match_file(path.as_posix() + ("/" if is_folder else "")))


@functools.cache
def _compiled(patterns: tuple[str, ...]) -> Any:
    # The copy that comes with Ray, by which Ray itself reads these files.
    from ray._private.thirdparty import pathspec

    return pathspec.PathSpec.from_lines("gitwildmatch", patterns)  # type: ignore[attr-defined, no-untyped-call]


def ignored_in(folder: Path) -> list[Ignored]:
    """What the ignore files in a folder say. Raises OSError or UnicodeDecodeError."""
    files = [folder / name for name in IGNORE_FILES]
    return [Ignored(folder, tuple(file.read_text().splitlines())) for file in files if file.is_file()]


def reason_for_folder(path: Path, ignored: Sequence[Ignored], dataset: Path | None) -> str | None:
    """Why a folder is left out as a whole; None if it is not."""
    if path.name.startswith("."):
        return HIDDEN
    if path.name == "venv" or (path / "pyvenv.cfg").is_file():
        return VIRTUAL_ENVIRONMENT
    if any(path.glob("studies/*/ledger.parquet")):
        return HOME
    if path.name in ("mlruns", "mlartifacts"):
        return TRACKING
    if path.name == "__pycache__":
        return COMPILED
    if dataset is not None and path.resolve() == dataset:
        return DATASET
    if any(one.matches(path, is_folder=True) for one in ignored):
        return IGNORED
    return None


def reason_for_file(entry: "os.DirEntry[str]", root: Path, ignored: Sequence[Ignored]) -> str | None:
    """Why a file, or a link to one, is left out; None if it is not."""
    path = Path(entry.path)
    why = _reason_for_name(path, ignored)
    if why is not None or not entry.is_symlink():
        return why
    target = path.resolve()
    return _reason_for_target(target, root, ignored) if target.is_relative_to(root) else OUTSIDE


def _reason_for_target(target: Path, root: Path, ignored: Sequence[Ignored]) -> str | None:
    """Why what a link leads to is left out: by another name it is sent no more than by its own."""
    # Of the link's ignore files only those above the working directory hold for its target in any case.
    here, folder = [one for one in ignored if not one.folder.is_relative_to(root)], root
    for part in target.relative_to(root).parts[:-1]:
        here += ignored_in(folder)
        folder = folder / part
        # A link into the dataset is a choice of a few of its files, and shows nothing that is kept back.
        why = reason_for_folder(folder, here, None)
        if why is not None:
            return why
    return _reason_for_name(target, [*here, *ignored_in(folder)])


def _reason_for_name(path: Path, ignored: Sequence[Ignored]) -> str | None:
    if path.name.startswith("."):
        return HIDDEN
    if _is_secret(path):
        return SECRET
    if path.name.startswith("mlflow.db"):
        return TRACKING
    if path.suffix.lower() in DATA_SUFFIXES:
        return DATA
    if any(one.matches(path, is_folder=False) for one in ignored):
        return IGNORED
    return None


def _is_secret(path: Path) -> bool:
    named = (Path(os.environ.get(name) or "/").expanduser() for name in _SECRET_VARIABLES)
    return any(secret.name == path.name and secret.exists() and secret.samefile(path) for secret in named)
