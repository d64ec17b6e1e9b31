"""Rows of a table that agree in some columns, as arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.selection import Floats

Rows = npt.NDArray[np.int64]


def groups(table: pa.Table, names: Sequence[str]) -> dict[tuple[Any, ...], Rows]:
    """Row numbers by the values of the columns ``names``, shape ``(rows,)`` and ascending; null is a value like others.

    The groups come in the order of their first rows. There is no Python loop over rows.
    """
    if not table.num_rows:
        return {}
    code = np.zeros(table.num_rows, dtype=np.int64)
    for name in names:
        encoded = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        # One column at a time is made dense again: the product of many columns' sizes would not fit in 64 bits.
        code = np.unique(code * len(encoded.dictionary) + encoded.indices.to_numpy(), return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(code))[:-1])
    members.sort(key=lambda rows: int(rows[0]))
    firsts = table.select(list(names)).take(pa.array([rows[0] for rows in members])).to_pylist()
    return {tuple(first.values()): rows for first, rows in zip(firsts, members, strict=True)}


def errors_of(trials: pa.Table) -> Floats:
    """Final errors in percent, shape ``(rows,)``: ``+inf`` where a trial diverged, ``nan`` where it has no result."""
    status = trials["status"]
    errors = floats(trials["error"])
    errors[~flags(pc.equal(status, "completed"))] = np.nan
    errors[flags(pc.equal(status, "diverged"))] = np.inf
    return errors


def floats(column: pa.ChunkedArray) -> Floats:
    """The column as floats that may be written to, null as ``nan``."""
    return np.array(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def flags(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """The column of truth values, null as false."""
    return np.asarray(pc.fill_null(column, False).to_numpy(), dtype=np.bool_)
