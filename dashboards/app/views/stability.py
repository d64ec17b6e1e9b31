"""Which settings work, and how the errors are distributed: scatter, brush, EDF, and the brushed trials."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from dash import html

from dashboards.app.address import Address
from dashboards.app.listing import list_trials
from dashboards.app.parts import (
    Parts,
    arm_switches,
    counts_caption,
    figure,
    link,
    message,
    phase_switches,
    report_figures,
    sentences,
    switches,
    table,
    trial_table,
    waiting,
)
from dashboards.app.plots import brush_figure, distribution_figure, with_brush, with_marks
from dashboards.app.study import Sample, StudyData
from dashboards.formats import counts
from dashboards.report.tables import arm_table, region_table
from dashboards.selection import Floats
from dashboards.statistics.delta import references_in_words
from dashboards.statistics.edf import Edf

ROWS = 15
VERDICTS = 6
"""Sentences that are shown here; the page of comparisons has them all."""


def render(study: StudyData, address: Address, narrow: bool) -> Parts:
    """The page; its parts that follow the brush are placed here and made by the functions below."""
    if not study.phases:
        return [nothing(study, address)]
    phase = study.phase(address)
    sample, shown = study.sample(phase), study.shown(address)
    caption = [
        counts_caption(study, phase, shown),
        " One dot is one trial, a cross along the top one that diverged. Draw a box to mark trials in the distributions and list them; click a dot to open it.",
    ]
    revision = f"{study.record.study} {phase} {narrow}"
    base = study.once(
        ("scatter", phase, shown, narrow),
        lambda: brush_figure(sample, shown, study.styles, stacked=narrow, revision=revision).to_dict(),
    )
    scatter = with_brush(base, address.brush)
    return [
        html.Div([*phase_switches(study, address), arm_switches(study, address)], className="controls"),
        *_verdicts(study, phase, shown),
        html.Section(
            [
                html.H2("Which settings work"),
                figure("scatter", scatter, "Final error of each trial over its hyperparameters", caption, brush=True),
                _piece("brushed", study, address, narrow),
            ]
        ),
        html.Section(
            [html.H2("How the errors are distributed"), _axes(address), _piece("edf", study, address, narrow)]
        ),
        html.Section([html.H2("Trials"), _piece("sample", study, address, narrow)]),
        *_numbers(study, phase, narrow),
    ]


def _verdicts(study: StudyData, phase: str, shown: tuple[str, ...]) -> Parts:
    summary = study.summary_so_far(phase)
    if summary is None:
        return [waiting(study, phase)]
    verdicts = [*summary.model_verdicts, *summary.optimizer_verdicts]
    few = [one for one in verdicts if one.arm_a in shown and one.arm_b in shown][:VERDICTS]
    return [html.Section(sentences(study, few), className="plain")] if few else []


def _numbers(study: StudyData, phase: str, narrow: bool) -> Parts:
    summary = study.summary_so_far(phase)
    if summary is None:
        return []
    regions = region_table(summary)
    parts: Parts = [html.Section([html.H2("Errors of each arm"), table(arm_table(summary), study.styles)])]
    if regions.rows:
        parts.append(html.Section([html.H2("Where the best settings lie"), table(regions, study.styles)]))
    return [*parts, *report_figures(study, phase, ["divergence", "map", "importance"], narrow)]


def nothing(study: StudyData, address: Address) -> Any:
    """What is said where no distribution can be shown."""
    total = study.record.trials.num_rows
    return message(
        "No distribution to show",
        html.P(
            f"None of the study's {total} trials ({counts(study.counts)}) was drawn by a non-adaptive sampler: a search "
            "crowds where errors are low, and given settings are no sample."
        ),
        html.P(
            [
                link("See all trials", address.but(view="trials", brush=None)),
                " or ",
                link("the leaderboard", address.but(view="leaderboard", brush=None)),
                ".",
            ]
        ),
    )


def distributions(study: StudyData, address: Address, narrow: bool) -> Parts:
    """The EDFs, with a ring on the curves for each brushed trial."""
    phase = study.phase(address)
    shown = study.shown(address)
    delta = address.axis == "delta"
    deltas = [edf for arm, edf in study.deltas(phase).items() if arm in shown] if delta else []
    edfs: Sequence[Edf] = deltas if delta else [edf for arm, edf in study.edfs(phase).items() if arm in shown]
    references = {edf.arm: edf.reference.value or 0.0 for edf in deltas}
    marks = _marks(study.sample(phase), address, shown)
    revision = f"{study.record.study} {phase} {address.axis}"
    base = study.once(
        ("edf figure", phase, shown, address.axis),
        lambda: distribution_figure(edfs, study.styles, revision=revision).to_dict(),
    )
    shifted = {arm: errors - references.get(arm, 0.0) for arm, errors in marks.items()}
    drawing = with_marks(base, edfs, study.styles, shifted)
    width = max((edf.half_width for edf in edfs), default=0.0)
    missing = any(edf.n_missing for edf in edfs)
    caption = [
        counts_caption(study, phase, shown),
        " Diverged draws count as an infinite error, so curves end below 100 %.",
        " Missing ones count as failures in the thick line and as perfect in the thin one." if missing else "",
        f" Shaded: 95 % simultaneous band (Dvoretzky–Kiefer–Wolfowitz), ± {100 * width:.0f} percentage points.",
        f" References: {references_in_words(deltas)}." if delta else "",
    ]
    return [figure("edf", drawing, "Empirical distribution functions of each arm", caption)]


def brushed(study: StudyData, address: Address, narrow: bool) -> Parts:
    """What the brush holds, in a sentence, and the way to undo it."""
    if address.brush is None:
        return [html.P("Nothing is marked.", className="note")]
    sample, shown = study.sample(study.phase(address)), study.shown(address)
    inside = sample.brushed(address.brush, shown)
    diverged = int(np.isinf(sample.points.errors[inside]).sum())
    total = int(np.isin(sample.arms, np.array(shown, dtype=object)).sum())
    per_arm = counts({arm: int((sample.arms[inside] == arm).sum()) for arm in shown})
    brush = address.brush
    text = (
        f"{int(inside.sum())} of {total} trials marked: {brush.panel} from {brush.x[0]:.3g} to {brush.x[1]:.3g}, drawn at "
        f"{brush.y[0]:.1f} to {brush.y[1]:.1f} %; {diverged} of them diverged."
    )
    return [
        html.P(
            [
                html.Strong(text, id="brushed"),
                " ",
                link("Clear the box", address.but(brush=None, page=1), stay=True),
            ],
            role="status",
        ),
        html.P(per_arm, className="note"),
    ]


def listed(study: StudyData, address: Address, narrow: bool) -> Parts:
    """The brushed trials, or all that the scatter shows."""
    phase = study.phase(address)
    sample, shown = study.sample(phase), study.shown(address)
    inside = (
        np.isin(sample.arms, np.array(shown, dtype=object))
        if address.brush is None
        else sample.brushed(address.brush, shown)
    )
    only = address.but(status="", find="")
    page = list_trials(study.record.trials, only, size=ROWS, order="error", keys=sample.keys[inside])
    what = "All trials with a result" if address.brush is None else "The marked trials"
    return [
        html.P(f"{what}: {page.total}.", className="note", id="listed"),
        trial_table(study, only, page, "error"),
    ]


def _marks(sample: Sample, address: Address, shown: tuple[str, ...]) -> dict[str, Floats]:
    if address.brush is None:
        return {}
    inside = sample.brushed(address.brush, shown) & np.isfinite(sample.points.errors)
    return {arm: sample.points.errors[inside & (sample.arms == arm)] for arm in shown}


def _axes(address: Address) -> html.Div:
    texts = {"error": "final error", "delta": "error minus reference"}
    return switches("Of", [(text, address.but(axis=axis), address.axis == axis) for axis, text in texts.items()])


def _piece(name: str, study: StudyData, address: Address, narrow: bool) -> html.Div:
    content = {"brushed": brushed, "edf": distributions, "sample": listed}[name](study, address, narrow)
    return html.Div(content, id={"piece": name})
