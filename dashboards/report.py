"""The report: one self-contained HTML file that opens offline."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dashboards import leaderboard, optimizer_gap
from dashboards.colours import arm_styles
from dashboards.convergence import convergence
from dashboards.delta import references_in_words
from dashboards.figures import convergence_figure, edf_figure, scatter_figure
from dashboards.files import whole_file
from dashboards.formats import share
from dashboards.report_tables import (
    Table,
    arm_table,
    centre_table,
    delta_table,
    gap_table,
    leaderboard_table,
    length_table,
    origin_rows,
    peak_table,
    share_table,
    timing_rows,
    unfinished_table,
)
from dashboards.selection import REFERENCE, STABILITY, every_arm
from dashboards.summary import StudySummary, summarize
from dashboards.tracking import StudyRecord

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MAX_VERDICTS = 12
"""Verdict sentences of one kind that are shown at once; the rest unfold."""


def render_report(record: StudyRecord, phase: str = STABILITY) -> str:
    """The report of a study as one HTML page: no request leaves it, names in it are shown as text.

    Args:
        record: The study, finished or not.
        phase: The phase whose non-adaptive trials it is about.

    Returns:
        HTML, about 5 MB of which plotly.js is nearly all. The same record gives the same text.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    summary = summarize(record, phase)
    loader = jinja2.PackageLoader("dashboards")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    plotly_js, script = get_plotlyjs(), loader.get_source(environment, "report.js")[0]
    return environment.get_template("report.html").render(
        summary=summary,
        headline=_headline(record.trials),
        max_verdicts=MAX_VERDICTS,
        edf_caption=_edf_caption(summary),
        delta_caption=_delta_caption(summary),
        lengths_title=_lengths_title(summary),
        figures=_figures(record, summary),
        tables=_tables(record, summary),
        gap_caption=optimizer_gap.CAPTION,
        leaderboard_caption=leaderboard.CAPTION,
        timing=timing_rows(record.timing),
        origin=origin_rows(record),
        study_yaml=record.study_yaml,
        colours={arm: style.colour for arm, style in arm_styles(every_arm(record.trials)).items()},
        scripts=[plotly_js, script],
        script_hashes=[_hash(plotly_js), _hash(script)],
    )


def write_report(record: StudyRecord, path: str | Path, phase: str = STABILITY) -> None:
    """Writes :func:`render_report` to ``path``, whole or not at all.

    Raises:
        ValueError: If the folder of ``path`` does not exist.
    """
    page = render_report(record, phase)
    with whole_file(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _figures(record: StudyRecord, summary: StudySummary) -> dict[str, Any]:
    """Each figure's JSON, safe inside a ``<script>`` element."""
    from markupsafe import Markup

    if not summary.arms:
        return {}
    styles = arm_styles(every_arm(record.trials))
    epochs = convergence(record.trials, record.curves, summary.phase)
    figures: dict[str, Figure] = {
        "edf": edf_figure([arm.edf for arm in summary.arms], styles, [arm.delta for arm in summary.arms]),
        "scatter": scatter_figure(record.trials, styles, summary.phase),
    }
    if epochs.num_rows:
        figures["convergence"] = convergence_figure(epochs, styles)
    # "<" is the one character that could end the element; the escape means the same to a JSON parser.
    return {name: Markup(str(figure.to_json()).replace("<", "\\u003c")) for name, figure in figures.items()}


def _tables(record: StudyRecord, summary: StudySummary) -> Mapping[str, Table]:
    return {
        "arms": arm_table(summary),
        "shares": share_table(summary),
        "deltas": delta_table(summary),
        "gap": gap_table(summary),
        "leaderboard": leaderboard_table(summary),
        "lengths": length_table(summary),
        "peak": peak_table(summary),
        "centres": centre_table(summary),
        "unfinished": unfinished_table(record.trials),
    }


def _headline(trials: pa.Table) -> str:
    arms = len(set(trials["arm"].to_pylist()))
    statuses = Counter(trials["status"].to_pylist())
    outcomes = {name: statuses[name] for name in ("completed", "diverged", "pruned")}
    outcomes["without a result"] = trials.num_rows - sum(outcomes.values())
    outcome = ", ".join(f"{count} {name}" for name, count in outcomes.items() if count or name == "completed")
    return f"{arms} {'arm' if arms == 1 else 'arms'} · {trials.num_rows} trials · {outcome}"


def _edf_caption(summary: StudySummary) -> str:
    """n, diverged share, missing and the band: what must be said beside every EDF."""
    edfs = [arm.edf for arm in summary.arms]
    if not edfs:
        return ""
    draws = sorted({edf.n for edf in edfs})
    diverged, missing = sum(edf.n_diverged for edf in edfs), sum(edf.n_missing for edf in edfs)
    n = f"n = {draws[0]}" if len(draws) == 1 else f"n = {draws[0]} to {draws[-1]}"
    widths = sorted(edf.half_width for edf in edfs)
    parts = [
        f"{n} random draws per arm",
        f"{share(diverged / sum(edf.n for edf in edfs))} of all draws diverged and count as an infinite error",
        f"{missing} without a result"
        + (" (counted as failures by the thick line and as perfect by the thin one)" if missing else ""),
        f"shaded: {share(edfs[0].confidence)} simultaneous band (Dvoretzky–Kiefer–Wolfowitz), ± {100 * widths[-1]:.0f} percentage points",
    ]
    if summary.n_other:
        parts.append(summary.others_in_words)
    return "; ".join(parts) + "."


def _delta_caption(summary: StudySummary) -> str:
    """Which reference each arm has."""
    return f"References: {references_in_words([arm.delta for arm in summary.arms])}." if summary.arms else ""


def _lengths_title(summary: StudySummary) -> str:
    only_references = set(summary.lengths["phase"].to_pylist()) == {REFERENCE}
    return "Reference runs at each arm's centre" if only_references else "Error by training length"


def _hash(script: str) -> str:
    """A script's entry in the page's content security policy, which lets only these scripts run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
