"""After the training: the report and the summary, read back from MLflow as anybody else would."""

import logging
import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards import tags
from dashboards.report.figures import shown_figures
from dashboards.report.page import render_page
from dashboards.summary import StudySummary, summarize
from dashboards.tracking.study import StudyRecord, search_runs
from stablesweep.arm_results import ARM_METRICS, ArmResult, arm_results, study_metrics
from stablesweep.errors import short
from stablesweep.files import write_text
from stablesweep.home import Home
from stablesweep.markdown import with_part
from stablesweep.notes import MARKER, MAX_LENGTH, arm_note, study_note
from stablesweep.outage import server_errors
from stablesweep.report_libraries import import_libraries

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from plotly.graph_objects import Figure

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
    selected = bool(more or where)
    target = path or home.study(name).path / ("selection.html" if selected else tags.REPORT_ARTIFACT)
    if selected or record.source:
        summary = summarize(record)
        write_text(target, render_page(record, summary, shown_figures(record, summary, published)))
    else:
        with _pictures() as pictures:
            summary = summarize(record)
            figures = shown_figures(record, summary, published)
            # MLflow gets the figures without the paper's.
            own = shown_figures(record, summary) if published else figures
            pictures.figures.set_result({shown.name: shown.figure for shown in own})
            write_text(target, render_page(record, summary, figures))
            _publish(record, summary, target, pictures)
    return Report(path=target, summary=summary, seconds=time.monotonic() - began)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pictures:
    """The study's figures as files, which another thread draws."""

    files: Path
    """The folder with their folder, which is as the artifacts are."""
    figures: "Future[Mapping[str, Figure]]"
    """To be set: the thread waits for them."""
    drawn: "Future[bool]"
    """Whether all are there, once they are."""


@contextmanager
def _pictures() -> Iterator[_Pictures]:
    """Drawn while the block runs: the browser takes seconds, also to start. Their folder is gone afterwards."""
    from dashboards.tracking.connection import quiet_mlflow

    # Imports of two threads can be in each other's way.
    import_libraries()
    figures: Future[Mapping[str, Figure]] = Future()
    figures.set_running_or_notify_cancel()
    with ExitStack() as around:
        # The browser's library sets the filters of the whole process back to what they were when it started.
        around.enter_context(warnings.catch_warnings())
        # The browser is started with a copy of the environment, which must not lose a name meanwhile: so no part of the block
        # makes MLflow quiet by itself.
        around.enter_context(quiet_mlflow())
        files = Path(around.enter_context(tempfile.TemporaryDirectory()))
        pool = around.enter_context(ThreadPoolExecutor(max_workers=1))
        try:
            drawn = pool.submit(_draw, figures, files / tags.FIGURES_FOLDER)
            yield _Pictures(files=files, figures=figures, drawn=drawn)
        finally:
            if not figures.done():
                figures.set_result({})


def _draw(figures: "Future[Mapping[str, Figure]]", folder: Path) -> bool:
    """Make the pictures; False where there is no browser that draws them."""
    from dashboards.figures.export import NoBrowser, write_pictures

    try:
        write_pictures(figures, folder, formats=("png",))
    except NoBrowser as error:
        logger.info("no figures: %s", error)
        return False
    except Exception as error:
        # A browser that is broken or dies must not take the report with it.
        logger.warning("no figures in MLflow: %s.", short(error, None))
        logger.debug("no figures", exc_info=True)
        return False
    return True


def _publish(record: StudyRecord, summary: StudySummary, report: Path, pictures: _Pictures) -> None:
    from mlflow import MlflowClient

    shutil.copyfile(report, pictures.files / tags.REPORT_ARTIFACT)
    results = arm_results(record.trials)
    with server_errors(record.tracking_uri):
        client = MlflowClient(record.tracking_uri)
        _log_arms(client, record, results)
        study_run = client.get_run(record.study_run_id)
        _log_metrics(client, study_run, study_metrics(record.trials))
        # What needs the pictures comes last.
        figures = pictures.drawn.result()
        client.log_artifacts(record.study_run_id, str(pictures.files))
        experiment_note = client.get_experiment(record.experiment_id).tags.get(tags.NOTE, "")
        text = _described(experiment_note, record, summary, results, figures=figures)
        if text != experiment_note:
            client.set_experiment_tag(record.experiment_id, tags.NOTE, text)
        text = _described(study_run.data.tags.get(tags.NOTE, ""), record, summary, results, figures=figures)
        _note(client, study_run, text)


def _log_arms(client: "MlflowClient", record: StudyRecord, results: Sequence[ArmResult]) -> None:
    runs = {
        (run.data.tags[tags.PHASE], run.data.tags[tags.ARM]): run
        for run in search_runs(client, [record.experiment_id], "arm")
    }
    for result in results:
        run = runs.get((result.phase, result.arm))
        if run is not None:
            _log_metrics(client, run, result.metrics)
            _note(client, run, with_part(run.data.tags.get(tags.NOTE, ""), arm_note(result), MARKER))


def _described(
    before: str, record: StudyRecord, summary: StudySummary, results: Sequence[ArmResult], *, figures: bool
) -> str:
    room = MAX_LENGTH - len(with_part(before, "", MARKER))
    part = study_note(record, summary, results, figures=figures, room=room)
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
