"""A study read back from MLflow: everything else in this package works on what comes from here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from dashboards import tags
from dashboards.cautions import warn_caller
from dashboards.errors import StudyNotFound, StudyUnreadable
from dashboards.statistics.costs import ArmCost
from dashboards.tables import NO_UNITS, unit_positions
from dashboards.tracking.arm_runs import arm_costs
from dashboards.tracking.connection import TrackingUnreachable, connect, quiet_mlflow, reading
from dashboards.tracking.parts import Parts, read_parts
from dashboards.tracking.search import find_study, search_runs, study_names

__all__ = [
    "StudyNotFound",
    "StudyRecord",
    "StudyUnreadable",
    "TrackingUnreachable",
    "list_studies",
    "read_study",
    "record_of",
    "search_runs",
]


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
    conditions: tuple[str, ...] = ()
    """What the trials were selected by, see :func:`dashboards.filters.filtered`; empty: they are all that there are."""


def read_study(tracking_uri: str, study: str) -> StudyRecord:
    """Reads a study, finished or running, from MLflow alone; :class:`dashboards.tracking.snapshot.Snapshot` reads what changed.

    Warns (``UserWarning``) about what it could not use: a second run of one trial, a trial that is not in the ledger,
    a damaged file of curves.

    Raises:
        TrackingUnreachable: If nothing answers at ``tracking_uri``.
        StudyNotFound: If there is no such study there; names those that are.
        StudyUnreadable: If its ledger is missing or damaged.
    """
    client = connect(tracking_uri)
    with quiet_mlflow(), reading(tracking_uri):
        experiment, study_run = find_study(client, tracking_uri, study)
        parts = read_parts(client, experiment, study_run, study)
    for caution in parts.cautions:
        warn_caller(caution)
    return record_of(parts, tracking_uri)


def record_of(parts: Parts, tracking_uri: str) -> StudyRecord:
    """The record that these parts make; warns of arm costs that are no numbers, and not of the parts' own cautions."""
    return StudyRecord(
        study=parts.study,
        trials=parts.trials,
        curves=parts.curves,
        timing=parts.files.timing,
        study_yaml=parts.files.study_yaml,
        experiment_id=parts.experiment_id,
        study_run_id=parts.study_run_id,
        tracking_uri=tracking_uri,
        versions=_versions(parts.study_tags),
        skipped_samples=int(parts.study_tags.get(tags.SKIPPED_SAMPLES, 0)),
        units=unit_positions(parts.files.ledger),
        costs=arm_costs(parts.arm_runs, parts.study_tags),
        hardware=parts.study_tags.get(tags.HARDWARE, ""),
    )


def list_studies(tracking_uri: str) -> list[str]:
    """Names of all studies at ``tracking_uri``, sorted.

    Raises:
        TrackingUnreachable: If nothing answers there.
    """
    client = connect(tracking_uri)
    with quiet_mlflow(), reading(tracking_uri):
        return study_names(client)


def _versions(run_tags: Mapping[str, str]) -> dict[str, str]:
    own = {"stablesweep": run_tags[tags.VERSION]} if tags.VERSION in run_tags else {}
    prefix = f"{tags.VERSION}."
    return own | {name.removeprefix(prefix): run_tags[name] for name in sorted(run_tags) if name.startswith(prefix)}
