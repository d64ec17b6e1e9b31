"""The descriptions that MLflow shows of a study and of its arms: Markdown, in which names are text."""

import math
from collections import Counter
from collections.abc import Sequence

from dashboards import tags
from dashboards.formats import counts, percent, share
from dashboards.selection import LENGTH, PEAK, REFERENCE, SEARCH, STABILITY
from dashboards.summary import StudySummary
from dashboards.tracking.study import StudyRecord
from stablesweep.arm_results import ArmResult
from stablesweep.markdown import escaped, table

MARKER = "<!-- stablesweep writes what stands above; write your own text below this line -->"
MAX_LENGTH = 5_000
"""MLflow's older servers take no longer description of an experiment."""
MAX_VERDICTS = 8
MAX_ROWS = 24
NO_FIGURES = f"{tags.FIGURES_FOLDER}/ needs a Chrome or Chromium on the machine that makes the report."
_PHASES = {
    SEARCH: "a search: each trial's setting depends on the results before it",
    STABILITY: "random draws of hyperparameters, each trained once",
    REFERENCE: "the arm's centre, trained as long as the draws of the phase stability",
    LENGTH: "one setting, trained for different numbers of epochs",
    PEAK: "the best setting known, trained with several seeds",
}


def study_note(
    record: StudyRecord, summary: StudySummary, results: Sequence[ArmResult], *, figures: bool, room: int = MAX_LENGTH
) -> str:
    """The description of a study: what it found, its arms, how to go on.

    Args:
        record: The study.
        summary: Its summary.
        results: Of its arms, all phases.
        figures: Whether the pictures were made.
        room: At most so many characters. Where there is not enough room, there are fewer verdicts and rows.
    """
    for verdicts, rows in ((MAX_VERDICTS, MAX_ROWS), (MAX_VERDICTS, 12), (4, 6), (2, 2), (0, 0)):
        text = "\n\n".join(filter(None, _study_parts(record, summary, results, verdicts, rows, figures=figures)))
        if len(text) <= room:
            return text
    return ""


def _study_parts(
    record: StudyRecord,
    summary: StudySummary,
    results: Sequence[ArmResult],
    max_verdicts: int,
    max_rows: int,
    *,
    figures: bool,
) -> list[str]:
    statuses = Counter(record.trials["status"].to_pylist())
    done = counts({status: statuses[status] for status in tags.STATUSES})
    comparisons = (*summary.model_verdicts, *summary.optimizer_verdicts)
    shown = [f"- {escaped(comparison.sentence)}." for comparison in comparisons[:max_verdicts]]
    if len(comparisons) > len(shown):
        shown.append(f"- {len(comparisons) - len(shown)} more comparisons are in the report.")
    note = "Errors are in percent, over all trials of an arm; a diverged one counts as infinitely bad"
    return [
        "\n".join(shown),
        _arm_table(results, max_rows),
        f"{record.trials.num_rows} trials: {done}. {note}.",
        "\n".join(_how_to_go_on(record, figures=figures)),
    ]


def _arm_table(results: Sequence[ArmResult], max_rows: int) -> str:
    phases = {result.phase for result in results}
    # What a study is about: its draws if it has any; else all that it has.
    about = [result for result in results if result.drawn] or list(results)
    of_many = len({result.phase for result in about}) > 1
    header = ["arm", *(["phase"] if of_many else []), "trials", "diverged", "no result", "best", "median"]
    rows = [
        [
            escaped(result.arm),
            *([escaped(result.phase)] if of_many else []),
            str(result.trials),
            str(result.statuses.get("diverged", 0)),
            str(result.missing),
            percent(result.best),
            percent(result.median),
        ]
        for result in about[:max_rows]
    ]
    parts = [table(header, rows, 2 if of_many else 1)] if rows else []
    if len(about) > len(rows):
        parts.append(f"{len(about) - len(rows)} more arms are in the report.")
    others = sorted(phases - {result.phase for result in about})
    if others:
        parts.append(f"Also in this study: {escaped(', '.join(others))}.")
    return "\n\n".join(parts)


def _how_to_go_on(record: StudyRecord, *, figures: bool) -> list[str]:
    artifacts = f"#/experiments/{record.experiment_id}/runs/{record.study_run_id}/artifacts"
    # Else MLflow's pages may open as those of a chat program.
    report, folder, study_file = (
        f"[{name}]({artifacts}/{name}?workflowType=machine_learning)"
        for name in (tags.REPORT_ARTIFACT, tags.FIGURES_FOLDER, tags.STUDY_ARTIFACT)
    )
    lines = [
        f"- Report: {report}" + (f", pictures: {folder}" if figures else ""),
        f"- Continue, or repeat: `stablesweep run {tags.STUDY_ARTIFACT}` in the home that holds the study ({study_file})",
        "- Look at it live: `stablesweep dashboard`, with `MLFLOW_TRACKING_URI` set to this server, or with `--home`",
    ]
    return lines if figures else [*lines, f"- {NO_FIGURES}"]


def arm_note(result: ArmResult) -> str:
    """The description of an arm's run: what it is, and what it has come to."""
    model, _, optimizer = result.arm.rpartition("/")
    what = _PHASES.get(result.phase, "one setting, trained once or more")
    known = {status: result.statuses.get(status, 0) for status in tags.STATUSES}
    lines = [
        f"Model **{escaped(model)}** with optimizer **{escaped(optimizer)}**, phase {escaped(result.phase)}: {what}.",
        f"{result.trials} trials: {counts(known)}.",
    ]
    if result.best is not None:
        lines.append(f"Lowest final error {percent(result.best)} %.")
    if result.drawn and not math.isnan(result.median):
        diverged = share(result.statuses.get("diverged", 0) / result.trials)
        lines.append(f"Median over all draws {percent(result.median)} %; {diverged} diverged.")
    return "\n\n".join(lines)
