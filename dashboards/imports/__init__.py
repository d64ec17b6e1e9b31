"""Results of other tools as a study: a table with named columns, an Optuna storage, or a Ray Tune experiment."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboards.imports.assemble import all_notes, assemble
from dashboards.imports.options import ImportOptions, UnusableResults
from dashboards.imports.optuna_storage import is_sqlite, read_optuna
from dashboards.imports.ray_tune import read_ray_tune
from dashboards.imports.saved import list_imports, load_import, save_import
from dashboards.imports.table import ARROW_SUFFIXES, PARQUET_SUFFIXES, TEXT_SUFFIXES, read_trials_file, table_suffix
from dashboards.tracking.study import StudyRecord

__all__ = [
    "KINDS",
    "ImportOptions",
    "UnusableResults",
    "guess_kind",
    "import_results",
    "list_imports",
    "load_import",
    "save_import",
]

TABLE, OPTUNA, RAY_TUNE = "table", "optuna", "ray_tune"
KINDS = (TABLE, OPTUNA, RAY_TUNE)

_JOURNAL_SUFFIXES = (".log", ".journal", ".jsonl")


def import_results(
    source: str | Path,
    *,
    name: str,
    kind: str | None = None,
    columns: Mapping[str, str] | None = None,
    hyperparameters: Sequence[str] | None = None,
    studies: Sequence[str] = (),
    **options: Any,
) -> StudyRecord:
    """Results of another tool as the record of a study, for every statistic, report and view of this package.

    What the source does not say is not guessed: unless ``sampler`` (or a column) says that settings were drawn
    independently of results, the trials enter no distribution; unless a column names the draw, no trials are paired.
    Warns (``UserWarning``) about what it had to leave out or take as not known, with counts.

    Args:
        source: A file (CSV, TSV, Parquet, Arrow), an Optuna storage (a URL, an SQLite file or a journal file), or the
            folder of a Ray Tune experiment.
        name: Of the study.
        kind: One of :data:`KINDS`; guessed from ``source`` by default.
        columns: By role the source's name for it, e.g. ``{"error": "val_err", "arm": "config"}``; see
            :data:`dashboards.imports.options.ROLES`. A column of a table that is called like a role has it, unless
            the role is given an empty name.
        hyperparameters: Names of the hyperparameters in the source; by default all that have no role.
        studies: Optuna studies to take; all by default.
        options: Any other field of :class:`ImportOptions`: ``sampler``, ``arm``, ``phase``, ``epochs``,
            ``error_scale``, ``missing``, ``short``, ``enqueued``, ``statuses``, ``delimiter``.

    Returns:
        The record; its errors are in percent, its ``tracking_uri`` is empty and its ``source`` says where it comes
        from.

    Raises:
        UnusableResults: If the source cannot be read or says something impossible; names the place and the way out.
        TypeError: If there is no such option.
    """
    chosen = ImportOptions(
        name=name,
        columns={role: label for role, label in (columns or {}).items() if label},
        ignored=tuple(role for role, label in (columns or {}).items() if not label),
        hyperparameters=None if hyperparameters is None else tuple(hyperparameters),
        studies=tuple(studies),
        **options,
    )
    kind = guess_kind(source) if kind is None else kind
    if kind == TABLE:
        raw = read_trials_file(Path(source), chosen)
    elif kind == OPTUNA:
        raw = read_optuna(str(source), chosen)
    elif kind == RAY_TUNE:
        raw = read_ray_tune(Path(source), chosen)
    else:
        raise UnusableResults(f"kind: got {kind!r}, expected one of {', '.join(KINDS)}.")
    record, notes = assemble(raw, chosen)
    for note in all_notes(notes):
        warnings.warn(note, stacklevel=2)
    return record


def guess_kind(source: str | Path) -> str:
    """What ``source`` is, one of :data:`KINDS`: a folder is Ray Tune's, a URL or a database Optuna's, else by suffix.

    Raises:
        UnusableResults: If there is no such file, or its suffix says nothing.
    """
    if "://" in str(source):
        return OPTUNA
    path = Path(source)
    if path.is_dir():
        return RAY_TUNE
    if not path.is_file():
        raise UnusableResults(f"{path}: there is no such file or folder.")
    if is_sqlite(path) or path.suffix.lower() in _JOURNAL_SUFFIXES:
        return OPTUNA
    if table_suffix(path) in (*TEXT_SUFFIXES, *ARROW_SUFFIXES, *PARQUET_SUFFIXES):
        return TABLE
    raise UnusableResults(
        f"{path}: {path.suffix or 'a file without a suffix'} is not known; say kind=, one of {', '.join(KINDS)}."
    )
