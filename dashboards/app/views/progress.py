"""How far a study is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dash import html

from dashboards.app.address import Address
from dashboards.app.listing import Page
from dashboards.app.pace import pace, trial_ends
from dashboards.app.parts import Attributes, Parts, dot, message, table, trial_table
from dashboards.app.study import StudyData
from dashboards.formats import duration
from dashboards.report.tables import trouble_table
from dashboards.tags import STATUSES

LATEST = 12


def render(study: StudyData, address: Address, narrow: bool) -> Parts:
    """Trials by status, in all and per arm, the pace, the latest results, what went wrong."""
    trials = study.record.trials
    if trials.num_rows == 0:
        return [message("No trials", html.P("The study's ledger is empty."))]
    parts: Parts = [
        html.Section([html.H2("Trials by status"), _total(study), _legend(study.counts), _arms(study)]),
        html.Section([html.H2("Latest results"), _latest(study, address)]),
    ]
    wrong = trouble_table(trials)
    if wrong.rows:
        parts.append(html.Section([html.H2("What went wrong"), table(wrong)]))
    return parts


def status_counts(trials: pa.Table) -> dict[tuple[str, str], dict[str, int]]:
    """Trials by status for each phase and arm, sorted."""
    groups = trials.group_by(["phase", "arm", "status"]).aggregate([("key", "count")]).to_pylist()
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in sorted(groups, key=lambda row: (row["phase"], row["arm"])):
        found.setdefault((row["phase"], row["arm"]), {})[row["status"]] = row["key_count"]
    return found


def _total(study: StudyData) -> html.P:
    total = study.record.trials.num_rows
    done = total - study.num_open
    text = f"{done} of {total} trials have ended ({100 * done / total:.0f} %)."
    if study.num_open == 0:
        return html.P(text, className="total")
    now = pace(trial_ends(study.record.trials), study.num_open)
    if now is None:
        return html.P(text, className="total")
    left = duration(3600 * study.num_open / now.per_hour)
    window = f"{now.num_trials} trials in {duration(now.seconds)}"
    return html.P(
        f"{text} At the latest pace ({window}, {now.per_hour:.0f} an hour) the rest takes about {left}.",
        className="total",
    )


def _legend(counts: Mapping[str, int]) -> html.Div:
    items = [
        html.Span([html.Span(className=f"key {status}"), f"{counts[status]} {status}"])
        for status in STATUSES
        if counts.get(status)
    ]
    return html.Div(items, className="legend")


def _arms(study: StudyData) -> html.Div:
    rows = []
    for (phase, arm), counts in status_counts(study.record.trials).items():
        total = sum(counts.values())
        words = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts.get(status))
        bar = [
            html.Span(className=status, style={"width": f"{100 * counts[status] / total:.3f}%"})
            for status in ("completed", "diverged", "pruned", "failed", "lost", "running", "pending")
            if counts.get(status)
        ]
        cells: Parts = [
            html.Th([dot(study.styles[arm]), arm], scope="row"),
            html.Td(phase),
            html.Td(html.Div(bar, className="stack", role="img", title=words, **Attributes({"aria-label": words}))),
            html.Td(f"{total - counts.get('pending', 0) - counts.get('running', 0)} of {total}", className="number"),
        ]
        rows.append(html.Tr(cells))
    head = html.Tr([html.Th(text, scope="col") for text in ("arm", "phase", "", "")])
    content = html.Table([html.Thead(head), html.Tbody(rows)], className="progress", id="progress")
    return html.Div(content, className="scroll", tabIndex="0")


def _latest(study: StudyData, address: Address) -> Any:
    trials = study.record.trials
    ends = trial_ends(trials)
    order = np.argsort(-np.where(np.isnan(ends), -np.inf, ends), kind="stable")[:LATEST]
    order = order[np.isfinite(ends[order])]
    if not len(order):
        return html.P("No trial has ended yet." if study.num_open else "No trial says when it ended.")
    page = Page(rows=pc.take(trials, pa.array(order)), total=len(order), number=1, num_pages=1)
    return trial_table(study, address, page, "", name="latest", sortable=False)
