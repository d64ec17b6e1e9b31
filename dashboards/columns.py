"""Columns of hyperparameters in a table that has columns of its own."""

from collections.abc import Sequence

import pyarrow as pa

PREFIX = "hyperparameter:"
"""Stands before the name of a hyperparameter's column where the table has an own column of that name."""


def setting_fields(trials: pa.Table, names: Sequence[str], own: Sequence[pa.Field]) -> list[pa.Field]:
    """A field for each hyperparameter, none with the name of one of the table's ``own`` fields.

    A hyperparameter ``rank`` becomes the column ``hyperparameter:rank`` where ``rank`` is taken.

    Args:
        trials: The trials table, which has the types.
        names: The hyperparameters, columns of ``trials``.
        own: The fields of the table that is being made.
    """
    taken = {field.name for field in own}
    return [trials.schema.field(name).with_name(PREFIX + name if name in taken else name) for name in names]


def setting_columns(table: pa.Table, names: Sequence[str]) -> list[str]:
    """Where the hyperparameters ``names`` stand in a table made with :func:`setting_fields`, in their order."""
    return [PREFIX + name if PREFIX + name in table.column_names else name for name in names]
