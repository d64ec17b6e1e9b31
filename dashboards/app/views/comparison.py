"""Two arms compared draw by draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
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
from dashboards.selection import Floats, arms_of, select_draws
from dashboards.statistics.compare import Comparison, Verdict, common_errors, compare
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
    controls = _controls(study, address, arms, first, second)
    summary = study.summary_so_far(phase)
    if summary is None:
        return [controls, *_pair(study, phase, first, second, None), waiting(study, phase)]
    return [
        controls,
        *_pair(study, phase, first, second, in_family(summary, first, second)),
        *_verdicts(study, "Same optimizer, different model", summary.model_verdicts),
        *_verdicts(study, "Same model, different optimizer", summary.optimizer_verdicts),
    ]


def _controls(study: StudyData, address: Address, arms: Sequence[str], first: str, second: str) -> html.Div:
    # Who picks the other arm of the pair turns the pair around.
    firsts = [(arm, address.but(first=arm, second=second if arm != second else first), arm == first) for arm in arms]
    seconds = [(arm, address.but(second=arm, first=first if arm != first else second), arm == second) for arm in arms]
    picks = [_pick(study, "First", firsts), _pick(study, "Second", seconds)]
    return html.Div([*phase_switches(study, address), *picks], className="controls")


def _verdicts(study: StudyData, title: str, verdicts: Sequence[Verdict]) -> Parts:
    return [html.Section([html.H2(title), sentences(study, verdicts)])] if verdicts else []


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    """Two arms on the common draws on which both have a result."""

    names: tuple[str, str]
    colours: tuple[str, str]
    errors: tuple[Floats, Floats]
    """Percent; infinite where a trial diverged."""
    comparison: Comparison

    @property
    def both_diverged(self) -> npt.NDArray[np.bool_]:
        return np.isinf(self.errors[0]) & np.isinf(self.errors[1])

    @property
    def counted(self) -> str:
        """What every caption begins with."""
        first, second = self.names
        found = self.comparison
        return (
            f"n = {found.n_pairs} common draws; {found.n_diverged_a} diverged for {first}, "
            f"{found.n_diverged_b} for {second}; {found.n_missing} missing."
        )


def _pair(study: StudyData, phase: str, first: str, second: str, verdict: Verdict | None) -> Parts:
    """``verdict`` is the study's own about the two arms, ``None`` where it has none (yet)."""
    trials: pa.Table = study.record.trials
    comparison = study.once(("compare", phase, first, second), lambda: compare(trials, first, second, phase))
    errors = common_errors(select_draws(trials, first, phase), select_draws(trials, second, phase))
    known = ~(np.isnan(errors[0]) | np.isnan(errors[1]))
    pair = _Pair(
        names=(first, second),
        colours=(study.styles[first].colour, study.styles[second].colour),
        errors=(errors[0][known], errors[1][known]),
        comparison=comparison,
    )
    is_alone = verdict is None and comparison.n_pairs > 0
    headline = comparison if verdict is None else verdict
    return [_verdict(study, headline, is_alone=is_alone), _draw_by_draw(pair), _gaps(pair, headline.holm_p)]


def _verdict(study: StudyData, headline: Verdict, *, is_alone: bool) -> html.Section:
    winner = study.styles[headline.winner] if headline.winner else None
    sentence = html.P([dot(winner), f"{headline.sentence}."], className="verdict", id="verdict")
    return html.Section([sentence, *([html.P(UNCORRECTED, id="uncorrected")] if is_alone else [])], className="plain")


def _draw_by_draw(pair: _Pair) -> html.Section:
    first, second = pair.names
    caption = (
        f"{pair.counted} One dot is one draw. Above the diagonal {first} is better. Diverged sides lie on the dotted edge "
        f"lines ({int(pair.both_diverged.sum())} draws diverged for both)."
    )
    drawn = pair_figure(*pair.errors, pair.names, pair.colours)
    return html.Section(
        [html.H2("Draw by draw"), figure("pair", drawn, f"Error of {second} over the error of {first}", caption)]
    )


def _gaps(pair: _Pair, holm_p: float | None) -> html.Section:
    first, second = pair.names
    gaps = paired_gaps(*pair.errors)
    caption = (
        f"{pair.counted} {int((gaps == np.inf).sum())} draws diverged for {second} alone and "
        f"{int((gaps == -np.inf).sum())} for {first} alone: their gap is infinite and not drawn."
    )
    drawn = gap_figure(gaps[np.isfinite(gaps) & ~pair.both_diverged], pair.names, pair.colours)
    return html.Section(
        [
            html.H2("Gaps"),
            figure("gaps", drawn, "Distribution of the gaps", caption),
            table(_facts(pair, holm_p)),
        ]
    )


def _facts(pair: _Pair, holm_p: float | None) -> Table:
    """``holm_p`` is the corrected p-value, where there is one."""
    first, second = pair.names
    found = pair.comparison
    low, high = found.median_gap_interval
    rows = [
        _share_row(f"P({first} is better), a tie counts half", found.superiority, found.superiority_interval, found),
        _share_row(f"share of pairs that {first} wins", found.win_rate, found.win_rate_interval, found),
        ("median gap, points", percent(found.median_gap), f"{percent(low)} to {percent(high)}"),
        ("p-value, sign test", f"{found.sign_test_p:.2g}", ""),
        ("p-value, Wilcoxon test", f"{found.wilcoxon_p:.2g}", ""),
    ]
    if holm_p is not None:
        rows.append(("p-value that decides, after Holm's correction", f"{holm_p:.2g}", ""))
    return Table(
        header=("", "value", "95 % interval"),
        rows=tuple(rows),
        note=f"A gap is the error of {second} minus that of {first}: positive where {first} is better.",
    )


def _share_row(label: str, value: float, ends: tuple[float, float], found: Comparison) -> tuple[str, str, str]:
    return label, share(value) if found.n_pairs else "–", f"{share(ends[0])} to {share(ends[1])}"


def _pick(study: StudyData, label: str, options: list[tuple[str, Address, bool]]) -> html.Div:
    return switches(label, [([swatch(study.styles[arm]), arm], address, on) for arm, address, on in options])
