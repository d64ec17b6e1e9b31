"""A study read back from MLflow: everything else in this package works on what comes from here."""

import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet

from dashboards import tags
from dashboards.connection import TrackingUnreachable, connect, quiet_mlflow
from dashboards.costs import ArmCost
from dashboards.curves import read_curves
from dashboards.formats import without_password
from dashboards.runs import trial_records
from dashboards.tables import NO_UNITS, build_trials, unit_positions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["StudyNotFound", "StudyRecord", "StudyUnreadable", "TrackingUnreachable", "list_studies", "read_study"]

PAGE = 1_000
"""Runs asked for at a time; SQLite gives a thousand in 0.4 s."""


class StudyNotFound(ValueError):
    """There is no study of this name at this tracking URI."""


class StudyUnreadable(ValueError):
    """The study is there, but an artifact that it must have is not, or is damaged."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StudyRecord:
    """All that MLflow holds about one study."""

    study: str
    trials: pa.Table
    """One row per ledger row; see :func:`dashboards.tables.build_trials`."""
    curves: pa.Table
    """One row per trial and epoch; :data:`dashboards.tables.CURVES_SCHEMA`."""
    timing: Mapping[str, float]
    """Seconds by activity of the latest run of the study; empty if it has not ended yet."""
    study_yaml: str
    """The study file as it was run; empty if it was not recorded."""
    experiment_id: str
    study_run_id: str
    tracking_uri: str
    versions: Mapping[str, str] = field(default_factory=dict)
    """Version by package, as recorded by the study."""
    skipped_samples: int = 0
    """Samples of the dataset that could not be read and were left out."""
    units: pa.Table = field(default_factory=lambda: NO_UNITS)
    """Where each trial stands within its intervals; see :func:`dashboards.tables.unit_positions`."""
    costs: Mapping[str, ArmCost] = field(default_factory=dict)
    """By arm."""
    hardware: str = ""
    """What it was trained on, in words; empty if it was not recorded."""
    source: str = ""
    """Where it was imported from; empty if MLflow recorded it."""


def read_study(tracking_uri: str, study: str) -> StudyRecord:
    """Reads a study, finished or running, from MLflow alone.

    Warns (``UserWarning``) about what it could not use: a second run of one trial, a trial that is not in the ledger,
    a damaged file of curves.

    Raises:
        TrackingUnreachable: If nothing answers at ``tracking_uri``.
        StudyNotFound: If there is no such study there; names those that are.
        StudyUnreadable: If its ledger is missing or damaged.
    """
    client = connect(tracking_uri)
    with quiet_mlflow(), tempfile.TemporaryDirectory() as folder:
        experiment_id, study_run = _find_study(client, tracking_uri, study)
        files = _Artifacts(client, study_run.info.run_id, Path(folder))
        ledger = _read_ledger(files, study)
        records = trial_records(search_runs(client, [experiment_id], "trial"))
        _warn_of_strangers(records, set(ledger["key"].to_pylist()), study)
        trials = build_trials(ledger, records)
        arm_runs = [run.info.run_id for run in search_runs(client, [experiment_id], "arm")]
        return StudyRecord(
            study=study,
            trials=trials,
            curves=read_curves(client, arm_runs, trials, Path(folder)),
            timing=_read_timing(files, study),
            study_yaml=files.text(tags.STUDY_ARTIFACT) or "",
            experiment_id=experiment_id,
            study_run_id=study_run.info.run_id,
            tracking_uri=tracking_uri,
            versions=_versions(study_run.data.tags),
            units=unit_positions(ledger),
            skipped_samples=int(study_run.data.tags.get(tags.SKIPPED_SAMPLES, 0)),
        )


def list_studies(tracking_uri: str) -> list[str]:
    """Names of all studies at ``tracking_uri``, sorted.

    Raises:
        TrackingUnreachable: If nothing answers there.
    """
    client = connect(tracking_uri)
    with quiet_mlflow():
        return _study_names(client)


def search_runs(client: "MlflowClient", experiment_ids: list[str], role: str) -> "Iterator[Run]":
    """All runs of these experiments with this role, oldest first (so that runs added meanwhile shift no page)."""
    token: str | None = None
    while True:
        page = client.search_runs(
            experiment_ids,
            filter_string=f"tags.`{tags.ROLE}` = '{role}'",
            max_results=PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _find_study(client: "MlflowClient", tracking_uri: str, study: str) -> "tuple[str, Run]":
    experiment = client.get_experiment_by_name(study)
    if experiment is not None and experiment.lifecycle_stage == "active":
        runs = list(search_runs(client, [experiment.experiment_id], "study"))
        if runs:
            return experiment.experiment_id, runs[-1]
    names = _study_names(client)
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    raise StudyNotFound(
        f"No study {study!r} in MLflow at {without_password(tracking_uri)}; studies there: {shown or 'none'}."
    )


def _study_names(client: "MlflowClient") -> list[str]:
    names: dict[str, str] = {}
    token: str | None = None
    while True:
        page = client.search_experiments(max_results=PAGE, page_token=token)
        names |= {experiment.experiment_id: experiment.name for experiment in page}
        token = page.token
        if not token:
            break
    return sorted({names[run.info.experiment_id] for run in search_runs(client, list(names), "study")})


@dataclass(frozen=True, slots=True)
class _Artifacts:
    """The files of the study run."""

    client: "MlflowClient"
    run_id: str
    folder: Path

    def path(self, name: str) -> Path | None:
        """Where the file is now on this machine; ``None`` if the run has none of this name."""
        if name not in {item.path for item in self.client.list_artifacts(self.run_id)}:
            return None
        return Path(self.client.download_artifacts(self.run_id, name, str(self.folder)))

    def text(self, name: str) -> str | None:
        path = self.path(name)
        return None if path is None else path.read_text(encoding="utf-8")


def _read_ledger(files: _Artifacts, study: str) -> pa.Table:
    path = files.path(tags.LEDGER_ARTIFACT)
    if path is None:
        raise StudyUnreadable(
            f"Study {study!r}: its MLflow run {files.run_id} has no {tags.LEDGER_ARTIFACT}; run the study again to record it."
        )
    try:
        return pyarrow.parquet.read_table(path)
    except pa.ArrowException as error:
        raise StudyUnreadable(
            f"Study {study!r}: {tags.LEDGER_ARTIFACT} of MLflow run {files.run_id} is damaged "
            f"({str(error).splitlines()[0]}); run the study again to record it."
        ) from error


def _read_timing(files: _Artifacts, study: str) -> dict[str, float]:
    text = files.text(tags.TIMING_ARTIFACT)
    if text is None:
        return {}
    try:
        return {str(name): float(seconds) for name, seconds in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        warnings.warn(f"Study {study!r}: {tags.TIMING_ARTIFACT} is no JSON object of seconds; left out.", stacklevel=3)
        return {}


def _versions(run_tags: Mapping[str, str]) -> dict[str, str]:
    own = {"stablesweep": run_tags[tags.VERSION]} if tags.VERSION in run_tags else {}
    prefix = f"{tags.VERSION}."
    return own | {name.removeprefix(prefix): run_tags[name] for name in sorted(run_tags) if name.startswith(prefix)}


def _warn_of_strangers(records: Iterable[str], ledger_keys: set[str], study: str) -> None:
    strangers = sorted(set(records) - ledger_keys)
    if strangers:
        warnings.warn(
            f"Study {study!r}: {len(strangers)} recorded trials are not in its ledger and are left out, "
            f"the first is {strangers[0]!r}.",
            stacklevel=3,
        )
