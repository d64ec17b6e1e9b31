"""After the training: the report and the summary, read back from MLflow as anybody else would."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from dashboards import tags
from dashboards.report import render_report
from dashboards.summary import StudySummary, summarize
from dashboards.tracking import StudyRecord, read_study
from stablesweep.files import write_text
from stablesweep.home import Home
from stablesweep.publisher import server_errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A written report."""

    path: Path
    summary: StudySummary
    seconds: float
    """What making and logging it took."""


def make_report(home: Home, name: str, path: Path | None = None) -> Report:
    """Read a study from MLflow, write its report, log it to the study's run, and describe the study there.

    Args:
        home: Says which tracking store.
        name: The study.
        path: Where to write; the study's folder in the home by default.

    Raises:
        ValueError: If MLflow cannot be read or has no such study; the message says which.
        StablesweepError: If the file cannot be written, or the server goes away just now.
    """
    began = time.monotonic()
    record = read_study(home.tracking_uri, name)
    summary = summarize(record)
    target = path or home.study(name).report
    write_text(target, render_report(record))
    _publish(record, summary, target)
    return Report(path=target, summary=summary, seconds=time.monotonic() - began)


def _publish(record: StudyRecord, summary: StudySummary, report: Path) -> None:
    from mlflow import MlflowClient

    from dashboards.connection import quiet_mlflow

    with server_errors(record.tracking_uri), quiet_mlflow(), tempfile.TemporaryDirectory() as folder:
        client = MlflowClient(record.tracking_uri)
        copy = Path(folder) / tags.REPORT_ARTIFACT
        copy.write_bytes(report.read_bytes())
        client.log_artifact(record.study_run_id, str(copy))
        text = describe(summary)
        client.set_experiment_tag(record.experiment_id, tags.NOTE, text)
        client.set_tag(record.study_run_id, tags.NOTE, text)


def describe(summary: StudySummary) -> str:
    """The Markdown that MLflow shows on the experiment: verdicts, then how to continue."""
    comparisons = (*summary.model_verdicts, *summary.optimizer_verdicts)
    verdicts = "\n".join(f"- {comparison.sentence}." for comparison in comparisons)
    return (
        f"{verdicts}\n\nThe report is an artifact of the run *{summary.study}*. "
        f"To continue or repeat the study: `stablesweep run` in the home that holds it."
    ).strip()
