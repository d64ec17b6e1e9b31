"""Imports kept in a folder, each a folder of its name: tables as Parquet beside one JSON file, whole or not at all."""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from dashboards.formats import without_password
from dashboards.imports.options import NAME_PATTERN, UnusableResults, require_name
from dashboards.statistics.costs import ArmCost
from dashboards.tables import hyperparameters_of, write_table
from dashboards.tracking.study import StudyRecord

ABOUT = "import.json"
FORMAT = 1
"""Of :data:`ABOUT`; one more when a reader of the old one would misread it."""

_TABLES = ("trials", "curves", "units")
_KEPT = (
    *("study", "timing", "study_yaml", "experiment_id", "study_run_id", "tracking_uri", "versions", "skipped_samples"),
    *("hardware", "source"),
)


def save_import(
    record: StudyRecord, folder: str | Path, *, options: Mapping[str, Any] | None = None, replace: bool = False
) -> Path:
    """Writes a record to ``folder``, which is the import's own and called like its study.

    Args:
        record: The record.
        folder: Of this import; made if it does not exist, with those above it.
        options: What was said when it was imported, to be kept beside it; values that JSON has.
        replace: Whether an import of the same name may be replaced.

    Returns:
        ``folder``.

    Raises:
        UnusableResults: If the study's name is no name of a folder, or not that of this one, or there is such an import
            and ``replace`` is not said.
    """
    require_name("study", record.study)
    target = Path(folder)
    if target.name != record.study:
        raise UnusableResults(f"{target}: study {record.study!r} is kept in a folder of its own name; give one.")
    if target.exists() and not replace:
        raise UnusableResults(f"{target}: there is an import of this name; choose another name, or say replace.")
    if target.exists() and not (target / ABOUT).is_file():
        raise UnusableResults(f"{target}: there is something else than an import; choose another name.")
    above = target.parent
    above.mkdir(parents=True, exist_ok=True)
    # The leading dot keeps both from being listed: no import's name begins with one.
    new, old = (above / f".{record.study}.{uuid.uuid4().hex[:8]}.{end}" for end in ("new", "old"))
    try:
        new.mkdir()
        for name in _TABLES:
            write_table(getattr(record, name), new / f"{name}.parquet")
        (new / ABOUT).write_text(json.dumps(_about(record, options or {}), indent=2) + "\n", encoding="utf-8")
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_import(folder: str | Path) -> StudyRecord:
    """The record that :func:`save_import` wrote to ``folder``.

    Raises:
        UnusableResults: If there is none, or a file of it is damaged.
    """
    import pyarrow.parquet

    folder = Path(folder)
    about = _read_about(folder)
    tables = {}
    for name in _TABLES:
        path = folder / f"{name}.parquet"
        try:
            tables[name] = pyarrow.parquet.read_table(path)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            raise UnusableResults(f"{path}: it cannot be read ({reason}); import the results again.") from error
    try:
        hyperparameters_of(tables["trials"])
        kept = {name: about[name] for name in _KEPT}
        costs = {arm: ArmCost(**cost) for arm, cost in about["costs"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableResults(f"{folder / ABOUT}: it is damaged ({error}); import the results again.") from error
    return StudyRecord(**kept, **tables, costs=costs)


def list_imports(folder: str | Path) -> list[str]:
    """Names of the imports whose folders are in ``folder``, sorted; none if there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(
        path.name for path in folder.iterdir() if NAME_PATTERN.fullmatch(path.name) and (path / ABOUT).is_file()
    )


def _about(record: StudyRecord, options: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: getattr(record, name) for name in _KEPT}
    kept["tracking_uri"] = without_password(record.tracking_uri)
    kept |= {name: dict(value) for name, value in kept.items() if isinstance(value, Mapping)}
    return {
        "format": FORMAT,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": dict(options),
        **kept,
        "costs": {arm: asdict(cost) for arm, cost in record.costs.items()},
    }


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    if not path.is_file():
        there = ", ".join(list_imports(folder.parent)) or "none"
        raise UnusableResults(f"{folder}: there is no import; imports beside it: {there}.")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise UnusableResults(
                f"{path}: format {about['format']!r} is not known, expected {FORMAT}; update stablesweep."
            )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UnusableResults):
            raise
        raise UnusableResults(f"{path}: it is damaged ({error}); import the results again.") from error
    return dict(about)
