"""After the training: the report and the summary, read back from MLflow as anybody else would."""

import logging
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards import tags
from dashboards.report.page import render_report
from dashboards.summary import StudySummary, summarize
from dashboards.tracking.study import StudyRecord, search_runs
from stablesweep.arm_results import ARM_METRICS, arm_results, study_metrics
from stablesweep.errors import short
from stablesweep.files import write_text
from stablesweep.home import Home
from stablesweep.markdown import with_part
from stablesweep.notes import MARKER, MAX_LENGTH, arm_note, study_note
from stablesweep.outage import server_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A written report."""

    path: Path
    summary: StudySummary
    seconds: float
    """What making and logging it took."""


def make_report(
    home: Home,
    name: str,
    path: Path | None = None,
    *,
    more: Sequence[str] = (),
    where: Sequence[str] = (),
    published: bool = False,
) -> Report:
    """Read a study, write its report, log it and its figures to the study's run in MLflow, and describe the study there.

    What is logged follows from what MLflow has already, so the study's revision stays as it is. What is there already is not
    written again, the report and the figures excepted. The report of a selection, of several studies, or of one that was
    imported is written, and MLflow left alone.

    Args:
        home: Says which tracking store.
        name: The study.
        path: Where to write; by default ``report.html`` in the study's folder in the home, ``selection.html`` for a selection.
        more: Further studies, merged with the first.
        where: Conditions that trials must fulfil, see :func:`dashboards.filters.filtered`.
        published: Whether to show the paper's figures beside the leaderboard of phase ``peak``.

    Raises:
        ValueError: If MLflow cannot be read or has no such study, or a condition is wrong; the message says which.
        StablesweepError: If the file cannot be written, or the server goes away just now.
    """
    began = time.monotonic()
    record = home.studies().read([name, *more], where)
    summary = summarize(record)
    selected = bool(more or where)
    target = path or home.study(name).path / ("selection.html" if selected else tags.REPORT_ARTIFACT)
    write_text(target, render_report(record, published=published))
    if not selected and not record.source:
        _log(record, summary, target)
    return Report(path=target, summary=summary, seconds=time.monotonic() - began)


def _log(record: StudyRecord, summary: StudySummary, report: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        (files / tags.REPORT_ARTIFACT).write_bytes(report.read_bytes())
        figures = _draw(record, summary, files / tags.FIGURES_FOLDER)
        _publish(record, summary, files, figures=figures)


def _draw(record: StudyRecord, summary: StudySummary, folder: Path) -> bool:
    """Make the pictures; False where there is no browser that draws them."""
    from dashboards.figures.export import NoBrowser, write_figures

    try:
        write_figures(record, folder, formats=("png",), summary=summary)
    except NoBrowser as error:
        logger.info("no figures: %s", error)
        return False
    except Exception as error:
        # A browser that is broken or dies must not take the report with it.
        logger.warning("no figures in MLflow: %s.", short(error, None))
        logger.debug("no figures", exc_info=True)
        return False
    return True


def _publish(record: StudyRecord, summary: StudySummary, files: Path, *, figures: bool) -> None:
    from mlflow import MlflowClient

    from dashboards.tracking.connection import quiet_mlflow

    with server_errors(record.tracking_uri), quiet_mlflow():
        client = MlflowClient(record.tracking_uri)
        client.log_artifacts(record.study_run_id, str(files))
        results = arm_results(record.trials)
        study_run = client.get_run(record.study_run_id)
        _log_metrics(client, study_run, study_metrics(record.trials))
        experiment_note = client.get_experiment(record.experiment_id).tags.get(tags.NOTE, "")
        text = _described(experiment_note, record, summary, figures=figures)
        if text != experiment_note:
            client.set_experiment_tag(record.experiment_id, tags.NOTE, text)
        text = _described(study_run.data.tags.get(tags.NOTE, ""), record, summary, figures=figures)
        _note(client, study_run, text)
        runs = {
            (run.data.tags[tags.PHASE], run.data.tags[tags.ARM]): run
            for run in search_runs(client, [record.experiment_id], "arm")
        }
        for result in results:
            run = runs.get((result.phase, result.arm))
            if run is not None:
                _log_metrics(client, run, result.metrics)
                _note(client, run, with_part(run.data.tags.get(tags.NOTE, ""), arm_note(result), MARKER))


def _described(before: str, record: StudyRecord, summary: StudySummary, *, figures: bool) -> str:
    room = MAX_LENGTH - len(with_part(before, "", MARKER))
    part = study_note(record, summary, arm_results(record.trials), figures=figures, room=room)
    return with_part(before, part, MARKER) if part else before


def _note(client: "MlflowClient", run: "Run", text: str) -> None:
    if run.data.tags.get(tags.NOTE) != text:
        client.set_tag(run.info.run_id, tags.NOTE, text)


def _log_metrics(client: "MlflowClient", run: "Run", metrics: Mapping[str, float]) -> None:
    """Log what differs from what the run has; a number that is no longer known becomes NaN, as MLflow removes none."""
    from mlflow.entities import Metric

    has, now = run.data.metrics, int(time.time() * 1000)
    gone = {name: math.nan for name in ARM_METRICS if name not in metrics and not math.isnan(has.get(name, math.nan))}
    changed = {name: value for name, value in metrics.items() if has.get(name) != value} | gone
    if changed:
        client.log_batch(run.info.run_id, metrics=[Metric(name, value, now, 0) for name, value in changed.items()])
