"""Which trial runs changed since somebody last looked.

Every round of publishing has a number (:data:`dashboards.tags.REVISION`). MLflow filters tags by equality and by ``LIKE``
alone, and ordering by a tag costs 5 s for 10,000 runs on SQLite (a quadratic join). So a range of numbers is asked for by
prefixes: 0000000123 to 0000000145 is ``0000000123`` to ``0000000129``, ``000000013%``, ``0000000140`` to ``0000000145``.

A filter's answer is one page, read in one transaction: while runs are published, runs leave the answer, and a second page
would miss as many.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dashboards import tags
from dashboards.tracking import search
from dashboards.tracking.runs import RUNS_SCHEMA, SETTLED, run_table, upsert

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DIGITS = 10
ASKED_ONE_BY_ONE = 50
"""Restored or purged runs that are looked up each by its id; if there are more, all runs are read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRuns:
    """The trial runs of a study."""

    table: pa.Table
    """All that are known, deleted ones too; :data:`dashboards.tracking.runs.RUNS_SCHEMA`, by run id."""
    touched: pa.Array
    """Run ids of those that may have changed."""


def prefixes(low: int, high: int) -> list[str]:
    """The fewest decimal prefixes that cover ``low`` to ``high``, both included; a number of ten digits is one, too."""
    found = []
    while low <= high:
        free = 0
        while free < DIGITS and low % 10 ** (free + 1) == 0 and low + 10 ** (free + 1) - 1 <= high:
            free += 1
        found.append(f"{low:0{DIGITS}d}"[: DIGITS - free])
        low += 10**free
    return found


def read_trial_runs(
    client: "MlflowClient", experiment: str, known: pa.Table | None, since: int | None, announced: int | None
) -> TrialRuns:
    """The trial runs as they are now.

    Args:
        client: Of the tracking server.
        experiment: Id of the study's experiment.
        known: What was known; ``None`` if nothing was.
        since: The study run's number when ``known`` was read; ``None`` if it had none.
        announced: The study run's number now, read before this call.
    """
    table = None
    if known is not None and since is not None and announced is not None and announced >= since:
        table = _refreshed(client, experiment, known, since, announced)
    if table is None:
        table = _all_runs(client, experiment)
    return TrialRuns(table=table, touched=_touched(table, known, since))


def _refreshed(client: "MlflowClient", experiment: str, known: pa.Table, since: int, announced: int) -> pa.Table | None:
    """``known`` brought up to date; ``None`` if it is quicker or the only safe way to read all."""
    fresh = []
    for prefix in prefixes(since + 1, announced):
        page = _with_revision(client, experiment, prefix)
        if page is None:
            return None
        fresh += page
    fresh += _unannounced(client, experiment, announced)
    removed = run_table(search.search_runs(client, [experiment], "trial", deleted=True), deleted=True)
    table = upsert(upsert(known, run_table(fresh)), removed)
    hidden = table.filter(pc.and_(table["deleted"], pc.invert(_among(table["run_id"], removed["run_id"]))))
    if hidden.num_rows > ASKED_ONE_BY_ONE:
        return None
    for run_id in hidden["run_id"].to_pylist():
        table = upsert(table, _looked_up(client, run_id))
    table = _without(table, hidden)
    return table if _all_are_there(client, experiment, table) else None


def _with_revision(client: "MlflowClient", experiment: str, prefix: str) -> "list[Run] | None":
    """The runs whose number begins so; ``None`` if they are more than a page."""
    comparison = f"= '{prefix}'" if len(prefix) == DIGITS else f"LIKE '{prefix}%'"
    page = client.search_runs(
        [experiment],
        filter_string=f"tags.`{tags.ROLE}` = 'trial' and tags.`{tags.REVISION}` {comparison}",
        max_results=search.PAGE,
    )
    return None if page.token else list(page)


def _unannounced(client: "MlflowClient", experiment: str, announced: int) -> "Iterator[Run]":
    """Runs of rounds that are not complete: one is being written, or its publisher died.

    They will be read again when their round is announced, so a run missed between two pages is not missed for good.
    """
    number, empty = announced, 0
    # After a round that touched no trial may come one that did.
    while empty < 2:
        number, empty = number + 1, empty + 1
        more = f"and tags.`{tags.REVISION}` = '{number:0{DIGITS}d}'"
        for run in search.search_runs(client, [experiment], "trial", more=more):
            empty = 0
            yield run


def _looked_up(client: "MlflowClient", run_id: str) -> pa.Table:
    """A run that is no longer among the deleted ones: it was restored, or removed for good (no row)."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return RUNS_SCHEMA.empty_table()
    return run_table([run], deleted=run.info.lifecycle_stage != "active")


def _without(table: pa.Table, hidden: pa.Table) -> pa.Table:
    """``table`` without those of ``hidden`` that are still marked as deleted: MLflow has them no more."""
    gone = pc.and_(table["deleted"], _among(table["run_id"], hidden["run_id"]))
    return table.filter(pc.invert(gone)) if pc.any(gone).as_py() else table


def _all_are_there(client: "MlflowClient", experiment: str, table: pa.Table) -> bool:
    """Whether MLflow has at least as many active trial runs as ``table``.

    It has fewer if runs were deleted and purged since ``table`` was read. MLflow counts nothing, but it gives the run at an
    offset in 30 ms.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.search_utils import SearchUtils

    active = int(pc.sum(pc.invert(table["deleted"])).as_py() or 0)
    if active == 0:
        return True
    offset = SearchUtils.create_page_token(active - 1) if active > 1 else None  # type: ignore[no-untyped-call]
    try:
        page = client.search_runs(
            [experiment],
            filter_string=f"tags.`{tags.ROLE}` = 'trial'",
            max_results=1,
            order_by=["attributes.start_time ASC"],
            page_token=offset,
        )
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        # A server whose page tokens are of another kind: deletions are seen all the same while somebody looks.
        return True
    return len(page) > 0


def _all_runs(client: "MlflowClient", experiment: str) -> pa.Table:
    """Every trial run; again if runs were deleted meanwhile, because a page after them misses as many."""
    removed = run_table(search.search_runs(client, [experiment], "trial", deleted=True), deleted=True)
    while True:
        active = run_table(search.search_runs(client, [experiment], "trial"))
        before = removed["run_id"]
        removed = run_table(search.search_runs(client, [experiment], "trial", deleted=True), deleted=True)
        one_page = active.num_rows < search.PAGE
        if one_page or pc.all(_among(removed["run_id"], before)).as_py() in (True, None):
            return upsert(active, removed)


def _touched(table: pa.Table, known: pa.Table | None, since: int | None) -> pa.Array:
    """Ids of runs that are new or look different, belong to a later round, or are in progress without a number."""
    if known is None:
        return table["run_id"].combine_chunks()
    if since is None:
        later = pc.and_(
            pc.is_null(table["revision"]), pc.invert(pc.is_in(table["status"], value_set=pa.array(SETTLED)))
        )
    else:
        later = pc.fill_null(pc.greater(table["revision"], since), False)
    return table.filter(pc.or_(later, pc.invert(_same_rows(table, known))))["run_id"].combine_chunks()


def _same_rows(table: pa.Table, known: pa.Table) -> pa.ChunkedArray:
    place = pc.index_in(table["run_id"], value_set=known["run_id"].combine_chunks())
    before = known.take(place.combine_chunks())
    same = pc.is_valid(place)
    for name in RUNS_SCHEMA.names:
        new, old = table[name], before[name]
        both_null = pc.and_(pc.is_null(new), pc.is_null(old))
        same = pc.and_(same, pc.or_(both_null, pc.fill_null(pc.equal(new, old), False)))
    return same


def _among(values: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(values, value_set=others.combine_chunks())
