"""Rows by the values of columns, against a loop in Python."""

import math

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dashboards.groups import errors_of, groups

ROWS = st.lists(st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from([1, 2, None]), st.booleans()), max_size=12)


@given(ROWS)
def test_groups_are_those_of_a_loop(rows: list[tuple[str | None, int | None, bool]]) -> None:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    types = (pa.string(), pa.int64(), pa.bool_())
    table = pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names=list("abc"))
    expected: dict[tuple[object, ...], list[int]] = {}
    for place, row in enumerate(rows):
        expected.setdefault(row, []).append(place)
    found = groups(table, ["a", "b", "c"])
    assert {key: list(members) for key, members in found.items()} == expected
    assert list(found) == list(expected)
    cut = pa.concat_tables([table.slice(0, len(rows) // 2), table.slice(len(rows) // 2)])
    assert list(groups(cut, ["a", "b", "c"])) == list(expected)


def test_errors_of_every_end() -> None:
    statuses = ["completed", "diverged", "pruned", "failed", "lost", "pending", "running"]
    trials = pa.table({"status": statuses, "error": pa.array([5.0, *[None] * 6], pa.float64())})
    np.testing.assert_array_equal(errors_of(trials), [5.0, math.inf, *[math.nan] * 5])
