"""What stands beside each figure: a heading, what is drawn, how many trials it is about, and how to read it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dashboards.figures.windows import PAPER_DELTA, delta_window
from dashboards.formats import share
from dashboards.selection import LENGTH
from dashboards.space import divergence, importance, maps
from dashboards.statistics import best_of_n, lengths, optimizer_gap, peak
from dashboards.statistics.delta import references_in_words
from dashboards.statistics.edf import band_in_words
from dashboards.summary import ArmSummary, StudySummary

SAMPLER_NAMES = {"random": "random", "sobol": "Sobol", "halton": "Halton", "grid": "grid"}
HIDE = "Click a name in the legend to hide an arm, double-click to show it alone."


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureText:
    """The words around one figure."""

    heading: str
    label: str
    """What it shows, for those who cannot see it."""
    caption: tuple[tuple[str, str], ...]
    """Paragraphs: what each is about (or nothing), and its text."""
    reading: str = ""
    """How to read it, for somebody who never saw one."""


def draws_in_words(arms: Sequence[ArmSummary], summary: StudySummary) -> str:
    """n, diverged and missing share, and what was left out: what must be said beside every distribution."""
    edfs = [arm.edf for arm in arms]
    total = sum(edf.n for edf in edfs)
    sizes = sorted({edf.n for edf in edfs})
    n = f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"
    drawn = " and ".join(SAMPLER_NAMES.get(name, name) for name in summary.samplers)
    missing = sum(edf.n_missing for edf in edfs)
    pruned = sum(arm.n_pruned for arm in arms)
    epochs = sorted({length for arm in arms for length in arm.epochs})
    parts = [
        f"{n} {drawn} draws per arm",
        f"{share(sum(edf.n_diverged for edf in edfs) / total)} of all draws diverged and count as an infinite error",
        f"{missing} without a result"
        + (f" ({share(missing / total)})" if missing else "")
        + (f", of them {pruned} stopped early" if pruned else ""),
    ]
    if len(epochs) > 1:
        parts.append(f"trials of {_listed(epochs)} epochs are mixed")
    return "; ".join([*parts, summary.others_in_words] if summary.n_other else parts)


def _listed(numbers: Sequence[int]) -> str:
    """All of up to three ascending numbers, of more the ends."""
    if len(numbers) > 3:
        return f"{numbers[0]} to {numbers[-1]}"
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def distribution_text(name: str, arms: Sequence[ArmSummary], summary: StudySummary, optimizer: str) -> FigureText:
    """Of the figures ``edf`` and ``stability``; ``optimizer`` where it is about the arms of one alone."""
    edfs = [arm.edf for arm in arms]
    half_width = max(edf.half_width for edf in edfs)
    missing = any(edf.n_missing for edf in edfs)
    window = delta_window([arm.delta for arm in arms])
    errors = (
        f"{draws_in_words(arms, summary)}; shaded: {share(edfs[0].confidence)} simultaneous band "
        f"(Dvoretzky–Kiefer–Wolfowitz), ± {100 * half_width:.0f} percentage points; {band_in_words(summary.samplers)}."
    )
    if missing:
        errors += " Draws without a result count as failures in the thick line and as perfect in the thin one."
    deltas = (
        "The same draws, counted from what the same arm reaches with a good setting. References: "
        f"{references_in_words([arm.delta for arm in arms])}."
    )
    if window.share_beyond:
        deltas += (
            f" The panel shows up to {PAPER_DELTA:.0f} points, as in the paper; {share(window.share_beyond)} of the completed "
            "draws lie beyond (double-click into the panel to see them)."
        )
    whose = f" with {optimizer}" if optimizer else ""
    if name == "edf":
        return FigureText(
            heading="How the errors are distributed",
            label="Empirical distribution functions of the error of each arm, and of the error minus its reference",
            caption=(("Final error.", errors), ("Error minus reference.", deltas)),
            reading=READING,
        )
    return FigureText(
        heading=f"Which settings work{whose}, and how many",
        label="Final error over each hyperparameter, and below the distributions of the error",
        caption=(
            (
                "Top, settings.",
                (
                    "One dot is one trial, crosses along the dotted line are trials that diverged (their loss exploded or was no "
                    f"number). Dotted bars: the best draw of each arm. {HIDE}"
                ),
            ),
            ("Bottom left, error minus reference.", deltas),
            ("Bottom right, final error.", errors),
        ),
        reading=READING,
    )


READING = (
    "Each curve says, for every error on the horizontal axis, which share of the arm's draws ended at that error or lower "
    "(an empirical distribution function, EDF). A curve that rises early and steeply belongs to a model that trains well "
    "almost anywhere, a flat one to a model that needs luck or tuning. A curve that ends below 100 % lost the rest of its "
    "draws to divergence: training that blew up and gave no usable model. Where two shaded bands do not overlap the arms "
    "differ by more than chance would explain. “Error minus reference” takes away how good a model is at its best and "
    "leaves what a careless setting costs: the more draws lie close to 0, the less tuning it needs."
)


def length_text(summary: StudySummary) -> FigureText:
    """Of the figure ``length``."""
    rows = summary.lengths.filter(np.array([phase == LENGTH for phase in summary.lengths["phase"].to_pylist()]))
    return FigureText(
        heading="What shorter training costs",
        label="Error minus the error at the longest training, over the epochs of training",
        caption=_plain(f"{_seeds_in_words(rows)}. {lengths.CAPTION} Bars: those intervals of the gap. {HIDE}"),
        reading="The lower a line, the faster the model gets close to the best that it can reach with more training.",
    )


def optimizer_text(summary: StudySummary) -> FigureText:
    """Of the figure ``optimizers``."""
    table = summary.optimizer_gap_by_length
    rows = [pa.table({name: table[f"{name}_{side}"] for name in ("n", "diverged", "missing")}) for side in "ab"]
    return FigureText(
        heading="What another optimizer costs",
        label="Mean error over the epochs of training for each model and optimizer, and the gap between the optimizers",
        caption=_plain(f"{_seeds_in_words(pa.concat_tables(rows))}. {optimizer_gap.LENGTH_CAPTION}"),
        reading="Two lines of one model that lie close together belong to a model that does not care which optimizer "
        "trains it. On the right the gap of each model: 0 means no difference.",
    )


def peak_text(summary: StudySummary, *, published: bool) -> FigureText:
    """Of the figure ``peak``."""
    note = f" {peak.PUBLISHED_CAPTION}" if published else ""
    return FigureText(
        heading="Peak: mean error over several seeds",
        label="Mean error over seeds against the cost of each model",
        caption=_plain(f"{_seeds_in_words(summary.peak)}. {peak.CAPTION}{note} Bars: the intervals of the means."),
        reading="The further left and the lower a point, the better the model for its cost.",
    )


def best_of_n_text(summary: StudySummary) -> FigureText:
    """Of the figure ``best-of-n``."""
    return FigureText(
        heading="What a budget buys",
        label="The best error of n random draws, over n",
        caption=_plain(f"{draws_in_words(summary.arms, summary)}. {best_of_n.CAPTION} Shaded: between the quartiles."),
        reading="If you can afford to try n settings at random and keep the best, this is the error to expect. A line that is "
        "flat from the start belongs to a model whose first setting is about as good as its best.",
    )


def divergence_text(summary: StudySummary) -> FigureText:
    """Of the figure ``divergence``."""
    name = summary.space.diverged_over.replace("_", " ")
    return FigureText(
        heading="Where training diverges",
        label=f"Share of draws that diverged over {name}",
        caption=_plain(
            f"{draws_in_words(summary.arms, summary)}. {divergence.CAPTION}{_never(summary)}{_inferred(summary)}"
        ),
        reading="A trial diverges when its loss explodes or is no longer a number. The further right a line stays at 0, the "
        "more the model can take.",
    )


def importance_text(summary: StudySummary) -> FigureText:
    """Of the figure ``importance``."""
    return FigureText(
        heading="Which hyperparameter matters",
        label="Importance of each hyperparameter for each arm",
        caption=_plain(
            f"{draws_in_words(summary.arms, summary)}. {importance.CAPTION} Evaluator: functional ANOVA.{_inferred(summary)}",
            *_importance_notes(summary),
        ),
        reading="A long bar means: choose this one with care.",
    )


def map_text(summary: StudySummary) -> FigureText:
    """Of the figure ``map``."""
    return FigureText(
        heading="The error over two hyperparameters at once",
        label="Median error in each cell of two hyperparameters, one panel an arm",
        caption=_plain(
            f"{draws_in_words(summary.arms, summary)}. {maps.CAPTION} Red with a cross: infinite. Errors beyond the end of the "
            f"scale have its last colour.{_inferred(summary)}",
        ),
        reading="A large bright area means that many settings work, a small one that the two must be chosen with care.",
    )


def convergence_text(summary: StudySummary) -> FigureText:
    """Of the figure ``convergence``."""
    return FigureText(
        heading="How fast the errors fall",
        label="Median error of each arm over the epochs",
        caption=_plain(
            f"{draws_in_words(summary.arms, summary)}. Median validation error over the trials that reached the epoch; shaded: "
            "from their 10 % to their 90 % quantile. Trials that diverge drop out, which makes the rest look better.",
        ),
    )


def arms_that_diverged(summary: StudySummary) -> list[str]:
    """The arms of which at least one draw diverged at a known value of the hyperparameter, sorted."""
    return sorted({row["arm"] for row in summary.space.diverged_shares.to_pylist() if row["diverged"]})


def _never(summary: StudySummary) -> str:
    others = sorted({arm.arm for arm in summary.arms} - set(arms_that_diverged(summary)))
    return f" Not drawn, because no draw of theirs diverged: {', '.join(others)}." if others else ""


def _importance_notes(summary: StudySummary) -> tuple[str, ...]:
    notes = [f"{arm}: {found.note}" for arm, found in summary.space.importances.items() if found.note]
    return (f"{'; '.join(notes)}.",) if notes else ()


def _plain(*paragraphs: str) -> tuple[tuple[str, str], ...]:
    return tuple(("", paragraph) for paragraph in paragraphs)


def _inferred(summary: StudySummary) -> str:
    text = summary.space.inferred
    return f" {text[0].upper()}{text[1:]}." if text else ""


def _seeds_in_words(rows: pa.Table) -> str:
    """Counts of the trials behind means over seeds; rows without any (published ones) are none."""
    seeds = [n for n in rows["n"].to_pylist() if n]
    total = sum(seeds)
    sizes = sorted(set(seeds)) or [0]
    n = f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"
    ends = {name: sum(value or 0 for value in rows[name].to_pylist()) for name in ("diverged", "missing")}
    shares = ", ".join(f"{number} {name} ({share(number / max(total, 1))})" for name, number in ends.items())
    return f"{n} seeds per point, {total} trials: {shares}"


def holm_in_words(summary: StudySummary) -> str:
    """What “beats” means: the tests and their correction, in sentences."""
    pairs = "the one pair" if summary.n_pairs == 1 else f"all {summary.n_pairs} pairs"
    return (
        "Arms are compared draw by draw on the same points of the search space; “beats” means that a two-sided sign test tells "
        f"the two apart at 5 %, after Holm's correction over {pairs} on this page. Brackets hold the 95 % bootstrap interval "
        "of the median gap."
    )


def unpaired_in_words(number: int) -> str:
    """Why ``number`` of the sentences are of another kind."""
    which = "One pair shares" if number == 1 else f"{number} pairs share"
    return (
        f"{which} no draws, or too few: there each draw of one arm is compared with each of the other (Mann–Whitney test), and "
        "brackets hold the 95 % interval of how often the one is better. Medians: the lowest error that half of the arm's draws "
        "with a result reach."
    )
