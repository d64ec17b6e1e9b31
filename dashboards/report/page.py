"""The report: one self-contained HTML file that opens offline."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dashboards.figures.colours import arm_styles
from dashboards.figures.compact import compact_json
from dashboards.files import whole_file
from dashboards.formats import selection_in_words
from dashboards.report.captions import holm_in_words, unpaired_in_words
from dashboards.report.figures import ShownFigure, shown_figures
from dashboards.report.tables import origin_rows, report_tables, timing_rows
from dashboards.selection import REFERENCE, STABILITY, every_arm
from dashboards.statistics import leaderboard, optimizer_gap
from dashboards.statistics.unpaired import UnpairedComparison
from dashboards.summary import StudySummary, summarize
from dashboards.tracking.study import StudyRecord

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MAX_VERDICTS = 12
"""Verdict sentences of one kind that are shown at once; the rest unfold."""
LONG_TABLE = 12
"""Rows from which on a table is folded."""


def render_report(record: StudyRecord, phase: str = STABILITY, published: bool = False) -> str:
    """The report of a study as one HTML page: no request leaves it, names in it are shown as text.

    Args:
        record: The study, finished or not.
        phase: The phase whose non-adaptive trials it is about.
        published: Whether to show the paper's results beside the study's own peak.

    Returns:
        HTML, about 5 MB of which plotly.js is nearly all; 1 to 2 MB more for 10,000 trials. The same record gives the same
        text.
    """
    summary = summarize(record, phase)
    return render_page(record, summary, shown_figures(record, summary, published))


def render_page(record: StudyRecord, summary: StudySummary, figures: Sequence[ShownFigure]) -> str:
    """As :func:`render_report`, where the summary and the figures of ``record`` are known already."""
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    loader = jinja2.PackageLoader("dashboards.report")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    plotly_js, script = get_plotlyjs(), loader.get_source(environment, "report.js")[0]
    return environment.get_template("report.html").render(
        summary=summary,
        headline=_headline(record.trials) + selection_in_words(record.conditions, " · "),
        max_verdicts=MAX_VERDICTS,
        long_table=LONG_TABLE,
        verdict_notes=_verdict_notes(summary),
        figures=figures,
        # "<" is the one character that could end the element; the escape means the same to a JSON parser.
        data={shown.name: Markup(compact_json(shown.figure).replace("<", "\\u003c")) for shown in figures},
        tables=report_tables(record, summary),
        lengths_title=_lengths_title(summary),
        gap_caption=optimizer_gap.CAPTION,
        leaderboard_caption=leaderboard.CAPTION,
        timing=timing_rows(record.timing),
        origin=origin_rows(record),
        study_yaml=record.study_yaml,
        colours={arm: style.colour for arm, style in arm_styles(every_arm(record.trials)).items()},
        scripts=[plotly_js, script],
        script_hashes=[_hash(plotly_js), _hash(script)],
    )


def write_report(record: StudyRecord, path: str | Path, phase: str = STABILITY, published: bool = False) -> None:
    """Writes :func:`render_report` to ``path``, whole or not at all.

    Raises:
        ValueError: If the folder of ``path`` does not exist.
    """
    page = render_report(record, phase, published)
    with whole_file(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")


def report_figures(record: StudyRecord, summary: StudySummary, published: bool = False) -> "dict[str, Figure]":
    """The report's figures by name, in its order; what the study has no data for is left out."""
    return {shown.name: shown.figure for shown in shown_figures(record, summary, published)}


def _verdict_notes(summary: StudySummary) -> list[str]:
    verdicts: list[Any] = [*summary.model_verdicts, *summary.optimizer_verdicts]
    unpaired = sum(isinstance(verdict, UnpairedComparison) for verdict in verdicts)
    notes = [holm_in_words(summary)] if summary.n_pairs else []
    return notes + ([unpaired_in_words(unpaired)] if unpaired else [])


def _headline(trials: pa.Table) -> str:
    arms = len(set(trials["arm"].to_pylist()))
    statuses = Counter(trials["status"].to_pylist())
    outcomes = {name: statuses[name] for name in ("completed", "diverged", "pruned")}
    outcomes["without a result"] = trials.num_rows - sum(outcomes.values())
    outcome = ", ".join(f"{count} {name}" for name, count in outcomes.items() if count or name == "completed")
    return f"{arms} {'arm' if arms == 1 else 'arms'} · {trials.num_rows} trials · {outcome}"


def _lengths_title(summary: StudySummary) -> str:
    only_references = set(summary.lengths["phase"].to_pylist()) == {REFERENCE}
    return "Reference runs at each arm's centre" if only_references else "Error by training length"


def _hash(script: str) -> str:
    """A script's entry in the page's content security policy, which lets only these scripts run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
