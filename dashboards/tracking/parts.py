"""The parts of a study as MLflow holds them, read in full or brought up to date."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dashboards import tags
from dashboards.cautions import kept_cautions, warn_caller
from dashboards.tables import join_records
from dashboards.tracking.arm_runs import ArmRun, read_arm_runs
from dashboards.tracking.changes import read_trial_runs
from dashboards.tracking.curves import (
    PackFile,
    curves_table,
    read_histories,
    read_packs,
    running_trials,
    trials_without_pack,
    unique_rows,
)
from dashboards.tracking.runs import newest_runs, revision_of
from dashboards.tracking.search import search_runs
from dashboards.tracking.study_files import StudyFiles, read_study_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """A study's parts; what is read anew is a new object, what is not is the same one as before."""

    study: str
    experiment_id: str
    study_run_id: str
    watermark: int | None
    """The study run's revision, read before everything else; ``None`` if it has none."""
    study_tags: Mapping[str, str]
    """Those of :mod:`dashboards.tags`, without the revision."""
    runs: pa.Table
    """:data:`dashboards.tracking.runs.RUNS_SCHEMA`."""
    files: StudyFiles
    arm_runs: tuple[ArmRun, ...]
    deleted_arm_runs: frozenset[str]
    """Run ids."""
    packs: Mapping[str, PackFile]
    """By ``run id/file name``, in the order in which they count."""
    histories: Mapping[str, pa.Table]
    """By run id, of the trials that run or that no file of ``packs`` covers."""
    trials: pa.Table = field(repr=False)
    """The trials table, made of the parts above."""
    curves: pa.Table = field(repr=False)
    """The curves table, made of the parts above."""
    cautions: tuple[str, ...] = ()
    """What could not be used, a sentence each: whoever hands the parts on warns of these."""


def read_parts(
    client: "MlflowClient", experiment: str, study_run: "Run", study: str, before: Parts | None = None
) -> Parts:
    """The study's parts now; ``before`` itself if nothing changed.

    Warns of nothing: recorded trials that are not in the ledger, and what the readers of the parts warn about, are in
    :attr:`Parts.cautions`.

    Args:
        client: Of the tracking server.
        experiment: Its id.
        study_run: Read just now.
        study: Its name.
        before: The same study's parts as they were.

    Raises:
        StudyUnreadable: If the ledger is missing or damaged.
    """
    watermark = revision_of(study_run.data.tags)
    study_tags = {name: study_run.data.tags[name] for name in sorted(study_run.data.tags) if _is_kept(name)}
    runs = read_trial_runs(
        client,
        experiment,
        None if before is None else before.runs,
        None if before is None else before.watermark,
        watermark,
    )
    deleted_arm_runs = frozenset(run.info.run_id for run in search_runs(client, [experiment], "arm", deleted=True))
    if before is not None and _is_same(before, runs.table, study_tags, deleted_arm_runs, watermark, runs.touched):
        return before
    arm_runs = read_arm_runs(client, experiment)
    touched_rows = runs.table.filter(pc.is_in(runs.table["run_id"], value_set=runs.touched))
    touched_packs = set(touched_rows["pack"].to_pylist())
    with kept_cautions() as cautions, tempfile.TemporaryDirectory() as folder:
        files = read_study_files(client, study_run.info.run_id, study, Path(folder))
        packs = read_packs(client, arm_runs, {} if before is None else before.packs, touched_packs)
        records = newest_runs(runs.table)
        _warn_of_strangers(records, files.ledger, study)
    trials = join_records(files.ledger, records)
    pack_rows = unique_rows([pack.rows for pack in packs.values()], trials["key"].combine_chunks())
    running, uncovered = running_trials(trials), trials_without_pack(trials, pack_rows)
    keys = running | uncovered
    known = {} if before is None else {run: before.histories[run] for run in keys if run in before.histories}
    for run_id in runs.touched.to_pylist():
        known.pop(run_id, None)
    histories = known | read_histories(client, [run_id for run_id in keys if run_id not in known])
    parts = Parts(
        study=study,
        experiment_id=experiment,
        study_run_id=study_run.info.run_id,
        watermark=watermark,
        study_tags=study_tags,
        runs=runs.table,
        files=files,
        arm_runs=arm_runs,
        deleted_arm_runs=deleted_arm_runs,
        packs=packs,
        histories=histories,
        trials=trials,
        curves=curves_table(pack_rows, histories, running, uncovered),
        cautions=tuple(cautions),
    )
    return parts if before is None else _with_equal_objects(parts, before)


def _with_equal_objects(parts: Parts, before: Parts) -> Parts:
    """``parts`` with the objects of ``before`` where they are equal: those are not written to the disk again."""
    old, new = before.files, parts.files
    same_files = new.ledger.equals(old.ledger, check_metadata=True) and (new.study_yaml, new.timing) == (
        old.study_yaml,
        old.timing,
    )
    return replace(
        parts,
        runs=before.runs if parts.runs.equals(before.runs) else parts.runs,
        files=old if same_files else new,
        packs=before.packs if _same_objects(parts.packs, before.packs) else parts.packs,
        histories=before.histories if _same_objects(parts.histories, before.histories) else parts.histories,
        trials=before.trials if parts.trials.equals(before.trials, check_metadata=True) else parts.trials,
        curves=before.curves if parts.curves.equals(before.curves) else parts.curves,
    )


def _same_objects(new: Mapping[str, object], old: Mapping[str, object]) -> bool:
    return list(new) == list(old) and all(new[name] is old[name] for name in new)


def _is_kept(name: str) -> bool:
    return name.startswith(tags.PREFIX) and name != tags.REVISION


def _is_same(
    before: Parts,
    runs: pa.Table,
    study_tags: Mapping[str, str],
    deleted_arm_runs: frozenset[str],
    watermark: int | None,
    touched: pa.Array,
) -> bool:
    """Whether nothing else needs to be read. Files are read when a round ended; without rounds there is no telling."""
    return (
        watermark is not None
        and watermark == before.watermark
        and len(touched) == 0
        and runs.equals(before.runs)
        and study_tags == before.study_tags
        and deleted_arm_runs == before.deleted_arm_runs
    )


def _warn_of_strangers(records: pa.Table, ledger: pa.Table, study: str) -> None:
    known = pc.is_in(records["key"], value_set=ledger["key"].combine_chunks())
    strangers = records.filter(pc.invert(known))["key"].to_pylist()
    if strangers:
        warn_caller(
            f"Study {study!r}: {len(strangers)} recorded trials are not in its ledger and are left out, "
            f"the first is {min(strangers)!r}."
        )
