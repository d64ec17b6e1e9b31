"""Trials of a file with named columns: CSV, Parquet or Arrow, one row a trial."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.imports.assemble import reserved_names
from dashboards.imports.options import ROLES, ImportOptions, UnusableResults
from dashboards.imports.raw import RawColumn, RawTrials, free_names, is_scalar
from dashboards.selection import Floats
from dashboards.tables import HYPERPARAMETERS_METADATA, UNIT_PREFIX, hyperparameters_of

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
ARROW_SUFFIXES = (".arrow", ".feather", ".ipc")
PARQUET_SUFFIXES = (".parquet", ".pq")
PACKED_SUFFIXES = (".gz", ".bz2", ".zst", ".xz")

_NOT_OURS = ("", "Unnamed: 0", "__index_level_0__", "study")
"""Columns that pandas adds for a nameless index, and the study of an export: neither a role nor a hyperparameter."""


def table_suffix(path: Path) -> str:
    """The suffix that says what a file is, in lower case, that of a compression left out."""
    return Path(path.stem if path.suffix.lower() in PACKED_SUFFIXES else path.name).suffix.lower()


def read_trials_file(path: Path, options: ImportOptions) -> RawTrials:
    """The trials of a file, one a row.

    A column has the role that ``options.columns`` gives it, else the role that it is called like; a trials table or
    ledger of this project says itself which columns are hyperparameters.

    Raises:
        UnusableResults: If the file cannot be read, or a column that is needed is not there.
    """
    table = _read(path, options)
    return raw_of_table(table, str(path), options)


def raw_of_table(table: pa.Table, source: str, options: ImportOptions) -> RawTrials:
    """The same of a table in memory; ``source`` is what messages call it."""
    _require_columns(table, source, options)
    said = {*options.columns, *options.ignored}
    roles = {role: role for role in ROLES if role in table.column_names and role not in said}
    if "accuracy" in options.columns:
        roles.pop("error", None)
    if "error" in options.columns or "error" in roles:
        roles.pop("accuracy", None)
    roles = {role: label for role, label in roles.items() if label not in options.columns.values()} | dict(
        options.columns
    )
    if not {"error", "accuracy"} & set(roles):
        raise UnusableResults(
            f"{source}: it has no column 'error'; say which is 'error' or 'accuracy', one "
            f"of {_listed(table.column_names)}."
        )
    columns = {role: RawColumn(values=_plain(table[label]), label=label) for role, label in roles.items()}
    names, dropped = _hyperparameter_names(table, source, set(roles.values()), options)
    free, notes = free_names(names, reserved_names())
    if dropped:
        notes += (f"{source}: columns {_listed(dropped)} hold neither numbers nor texts and are left out.",)
    return RawTrials(
        source=source,
        n=table.num_rows,
        columns=columns,
        hyperparameters={free[name]: _numbers_or_texts(_plain(table[name])) for name in names},
        row_name=lambda place: f"row {place + 1} (the header not counted)",
        units=_units(table, free),
        notes=notes,
    )


def _read(path: Path, options: ImportOptions) -> pa.Table:
    if not path.is_file():
        raise UnusableResults(f"{path}: there is no such file.")
    suffix = table_suffix(path)
    try:
        if suffix in PARQUET_SUFFIXES:
            import pyarrow.parquet

            table = pyarrow.parquet.read_table(path)
        elif suffix in ARROW_SUFFIXES:
            import pyarrow.feather

            table = pyarrow.feather.read_table(path, memory_map=False)
        else:
            import pyarrow.csv

            delimiter = options.delimiter or ("\t" if suffix == ".tsv" else ",")
            table = pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnusableResults(f"{path}: it cannot be read ({' '.join(str(error).split())[:200]}).") from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise UnusableResults(f"{path}: it has more than one column {twice[0]!r}; rename one.")
    return table


def _require_columns(table: pa.Table, source: str, options: ImportOptions) -> None:
    named = dict(options.columns.items())
    named |= {f"hyperparameter {place}": name for place, name in enumerate(options.hyperparameters or (), start=1)}
    for key, label in named.items():
        if label not in table.column_names:
            raise UnusableResults(
                f"{source}: it has no column {label!r} for {key!r}; it has {_listed(table.column_names)}."
            )


def _hyperparameter_names(
    table: pa.Table, source: str, taken: set[str], options: ImportOptions
) -> tuple[list[str], list[str]]:
    """Names of the hyperparameters, and of the columns that cannot be one."""
    if options.hyperparameters is not None:
        names = list(dict.fromkeys(options.hyperparameters))
        for name in names:
            if not is_scalar(_plain(table[name]).type):
                raise UnusableResults(f"{source}: {name!r} holds {table[name].type}, expected numbers or texts.")
        return names, []
    if HYPERPARAMETERS_METADATA in (table.schema.metadata or {}):
        return [name for name in hyperparameters_of(table) if name in table.column_names and name not in taken], []
    left = [name for name in table.column_names if name not in taken | set(_NOT_OURS) | set(ROLES)]
    left = [name for name in left if not (name.startswith(UNIT_PREFIX) and name.removeprefix(UNIT_PREFIX) in left)]
    usable = [name for name in left if is_scalar(_plain(table[name]).type)]
    return usable, [name for name in left if name not in usable]


def _plain(column: pa.ChunkedArray) -> pa.Array:
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        # An empty table has no chunk to combine.
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.string()) if pa.types.is_null(values.type) else values


def _numbers_or_texts(values: pa.Array) -> pa.Array:
    """As int64, float64 or string, the types that a study's own hyperparameters have."""
    kind = values.type
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return values.cast(pa.int64())
    if pa.types.is_boolean(kind) or not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    ):
        return values.cast(pa.string())
    numbers = values.cast(pa.float64())
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _units(table: pa.Table, free: dict[str, str]) -> dict[str, Floats]:
    """Columns ``unit_NAME`` beside ``NAME``, as this project's ledgers have them."""
    units = {}
    for name, new in free.items():
        if UNIT_PREFIX + name in table.column_names and pa.types.is_floating(table[UNIT_PREFIX + name].type):
            values = np.asarray(table[UNIT_PREFIX + name].to_numpy(), dtype=np.float64)
            units[new] = np.where((values >= 0) & (values <= 1), values, np.nan)
    return units


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "none"
