"""Which trials a table lists: filtered, ordered and cut into pages."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.app.address import Address


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Page:
    """One page of a list of trials."""

    rows: pa.Table
    """Rows of the trials table, in the order of the list."""
    total: int
    """Rows of all pages together."""
    number: int
    """From 1; the last page where the address asked for one beyond it."""
    num_pages: int
    """At least 1."""


def list_trials(
    trials: pa.Table,
    address: Address,
    *,
    size: int,
    order: str,
    keys: npt.NDArray[np.object_] | None = None,
    arms: tuple[str, ...] | None = None,
) -> Page:
    """The trials that an address asks for.

    Args:
        trials: The trials table.
        address: Status, text, order and page.
        size: Rows a page.
        order: The order where the address has none, or one by a column that is not there.
        keys: Only these trials.
        arms: Only trials of these arms.
    """
    mask = pa.array(np.ones(trials.num_rows, dtype=bool))
    if keys is not None:
        mask = pc.and_(mask, pc.is_in(trials["key"], value_set=pa.array(list(keys), pa.string())))
    if arms is not None:
        mask = pc.and_(mask, pc.is_in(trials["arm"], value_set=pa.array(arms, pa.string())))
    if address.status:
        mask = pc.and_(mask, pc.equal(trials["status"], address.status))
    if address.find:
        found = [
            pc.fill_null(pc.match_substring(trials[name], address.find, ignore_case=True), False)
            for name in ("key", "reason")
        ]
        mask = pc.and_(mask, pc.or_(*found))
    rows = trials.filter(mask)
    rows = rows.take(_order(rows, address.sort if address.sort.removeprefix("-") in trials.column_names else order))
    num_pages = max(-(-rows.num_rows // size), 1)
    number = min(address.page, num_pages)
    return Page(rows=rows.slice((number - 1) * size, size), total=rows.num_rows, number=number, num_pages=num_pages)


def _order(rows: pa.Table, sort: str) -> pa.Array:
    direction = "descending" if sort.startswith("-") else "ascending"
    keys = [(sort.removeprefix("-"), direction), ("key", "ascending")]
    return pc.sort_indices(rows, sort_keys=keys if keys[0][0] != "key" else keys[:1])
