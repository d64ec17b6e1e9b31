"""Two arms compared draw by draw."""

from itertools import combinations

import numpy as np
import pyarrow as pa
from dash import html

from dashboards.app.address import Address
from dashboards.app.parts import (
    Parts,
    dot,
    figure,
    message,
    phase_switches,
    sentences,
    swatch,
    switches,
    table,
    waiting,
)
from dashboards.app.plots import gap_figure, pair_figure
from dashboards.app.study import StudyData
from dashboards.formats import percent, share
from dashboards.report.tables import Table
from dashboards.selection import arms_of, select_draws
from dashboards.statistics.compare import Verdict, common_errors, compare
from dashboards.statistics.paired import paired_gaps
from dashboards.summary import StudySummary

UNCORRECTED = "This verdict is for itself alone: it is not corrected for several comparisons."


def render(study: StudyData, address: Address, narrow: bool) -> Parts:
    """Verdict, error against error, how the gaps are distributed, and every other verdict of the study."""
    phase = study.phase(address)
    arms = study.arms(phase)
    if len(arms) < 2:
        return [
            message(
                "Nothing to compare",
                html.P("Two arms with random draws are needed; this study has " + ("one." if arms else "none.")),
            )
        ]
    first, second = chosen(study, address)
    controls = html.Div(
        [
            *phase_switches(study, address),
            _pick(
                study,
                "First",
                [
                    (arm, address.but(first=arm, second=second if arm != second else first), arm == first)
                    for arm in arms
                ],
            ),
            _pick(
                study,
                "Second",
                [
                    (arm, address.but(second=arm, first=first if arm != first else second), arm == second)
                    for arm in arms
                ],
            ),
        ],
        className="controls",
    )
    summary = study.summary_so_far(phase)
    if summary is None:
        return [controls, *_pair(study, phase, first, second, None), waiting(study, phase)]
    return [
        controls,
        *_pair(study, phase, first, second, in_family(summary, first, second)),
        *(
            [html.Section([html.H2("Same optimizer, different model"), sentences(study, summary.model_verdicts)])]
            if summary.model_verdicts
            else []
        ),
        *(
            [html.Section([html.H2("Same model, different optimizer"), sentences(study, summary.optimizer_verdicts)])]
            if summary.optimizer_verdicts
            else []
        ),
    ]


def chosen(study: StudyData, address: Address) -> tuple[str, str]:
    """The two arms of an address; where it names none, the first pair with the same optimizer, or the first two."""
    phase = study.phase(address)
    arms = study.arms(phase)
    optimizers = {name.arm: name.optimizer for name in arms_of(study.record.trials, phase)}
    pair = next((one for one in combinations(arms, 2) if optimizers[one[0]] == optimizers[one[1]]), arms[:2])
    first = address.first if address.first in arms else pair[0]
    second = address.second if address.second in arms and address.second != first else ""
    return first, second or next(arm for arm in (pair[1], *arms) if arm != first)


def in_family(summary: StudySummary, first: str, second: str) -> Verdict | None:
    """The study's own verdict about two arms, in whichever order it has them; ``None`` where it does not compare them."""
    verdicts = (*summary.model_verdicts, *summary.optimizer_verdicts)
    return next((one for one in verdicts if {one.arm_a, one.arm_b} == {first, second}), None)


def _pair(study: StudyData, phase: str, first: str, second: str, verdict: Verdict | None) -> Parts:
    """``verdict`` is the study's own about the two arms, ``None`` where it has none (yet)."""
    trials: pa.Table = study.record.trials
    comparison = study.once(("compare", phase, first, second), lambda: compare(trials, first, second, phase))
    errors = common_errors(select_draws(trials, first, phase), select_draws(trials, second, phase))
    known = ~(np.isnan(errors[0]) | np.isnan(errors[1]))
    errors_a, errors_b = errors[0][known], errors[1][known]
    gaps = paired_gaps(errors_a, errors_b)
    finite = np.isfinite(gaps)
    colours = (study.styles[first].colour, study.styles[second].colour)
    names = (first, second)
    headline = comparison if verdict is None else verdict
    winner = study.styles[headline.winner] if headline.winner else None
    is_alone = verdict is None and comparison.n_pairs > 0
    counted = (
        f"n = {comparison.n_pairs} common draws; {comparison.n_diverged_a} diverged for {first}, "
        f"{comparison.n_diverged_b} for {second}; {comparison.n_missing} missing."
    )
    both = int((np.isinf(errors_a) & np.isinf(errors_b)).sum())
    infinite = f"{int((gaps == np.inf).sum())} draws diverged for {second} alone and {int((gaps == -np.inf).sum())} for {first} alone: their gap is infinite and not drawn."
    low, high = comparison.median_gap_interval
    facts = Table(
        header=("", "value", "95 % interval"),
        rows=(
            (
                f"P({first} is better), a tie counts half",
                share(comparison.superiority) if comparison.n_pairs else "–",
                "{} to {}".format(*map(share, comparison.superiority_interval)),
            ),
            (
                f"share of pairs that {first} wins",
                share(comparison.win_rate) if comparison.n_pairs else "–",
                "{} to {}".format(*map(share, comparison.win_rate_interval)),
            ),
            ("median gap, points", percent(comparison.median_gap), f"{percent(low)} to {percent(high)}"),
            ("p-value, sign test", f"{comparison.sign_test_p:.2g}", ""),
            ("p-value, Wilcoxon test", f"{comparison.wilcoxon_p:.2g}", ""),
            *(
                [("p-value that decides, after Holm's correction", f"{headline.holm_p:.2g}", "")]
                if headline.holm_p is not None
                else []
            ),
        ),
        note=f"A gap is the error of {second} minus that of {first}: positive where {first} is better.",
    )
    return [
        html.Section(
            [
                html.P([dot(winner), f"{headline.sentence}."], className="verdict", id="verdict"),
                *([html.P(UNCORRECTED, id="uncorrected")] if is_alone else []),
            ],
            className="plain",
        ),
        html.Section(
            [
                html.H2("Draw by draw"),
                figure(
                    "pair",
                    pair_figure(errors_a, errors_b, names, colours),
                    f"Error of {second} over the error of {first}",
                    f"{counted} One dot is one draw. Above the diagonal {first} is better. Diverged sides lie on the dotted edge lines ({both} draws diverged for both).",
                ),
            ]
        ),
        html.Section(
            [
                html.H2("Gaps"),
                figure(
                    "gaps",
                    gap_figure(gaps[finite & ~(np.isinf(errors_a) & np.isinf(errors_b))], names, colours),
                    "Distribution of the gaps",
                    f"{counted} {infinite}",
                ),
                table(facts),
            ]
        ),
    ]


def _pick(study: StudyData, label: str, options: list[tuple[str, Address, bool]]) -> html.Div:
    return switches(label, [([swatch(study.styles[arm]), arm], address, on) for arm, address, on in options])
