"""A table's columns as arrays, one set per arm: what a figure needs to draw one line an arm."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dashboards.groups import floats, groups

Columns = dict[str, npt.NDArray[Any]]


def columns_by_arm(table: pa.Table, by: str = "arm") -> dict[str, Columns]:
    """The columns of each arm's rows, arms sorted by name, rows in the table's order; nulls of numbers are ``nan``."""
    columns = {name: _array(table[name]) for name in table.column_names}
    arms = sorted((arm, rows) for (arm,), rows in groups(table, [by]).items())
    return {arm: {name: values[rows] for name, values in columns.items()} for arm, rows in arms}


def _array(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_floating(column.type):
        return floats(column)
    return np.array(
        column.to_pylist(), dtype=np.int64 if pa.types.is_integer(column.type) and not column.null_count else object
    )
