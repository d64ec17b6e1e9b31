"""From the local record to MLflow: one run a trial, under its arm, under its study."""

import contextlib
import importlib.metadata
import logging
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dashboards import tags
from dashboards.formats import without_password, without_passwords
from dashboards.tables import CURVES_SCHEMA
from dashboards.tracking.connection import TrackingUnreachable, connect, quiet_mlflow
from dashboards.tracking.study import search_runs
from stablesweep.errors import StablesweepError, TrackingError
from stablesweep.hardware import with_more
from stablesweep.ledger import check_extension, read_ledger, to_table
from stablesweep.messages import FINAL, EpochDone
from stablesweep.record import Record, TrialState
from stablesweep.run_names import arm_run_name, trial_run_name
from stablesweep.study import Study
from stablesweep.trials import Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_STATUS = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "diverged": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "lost": "KILLED",
}
PARENT = "mlflow.parentRunId"
EXPERIMENT_KIND = "mlflow.experimentKind"
"""MLflow's own: without it, its pages may take an experiment for one of prompts and traces."""
REASON_LENGTH = 1_000
"""MLflow refuses longer values of tags than 8,000 characters, and its pages show them whole."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTags:
    """Tags that the study's run and its arms' runs should have."""

    study: Mapping[str, str] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By arm; its run of every phase gets them."""


class Publisher:
    """Writes what the record has and MLflow has not. Every call can be repeated; a repeat writes nothing twice.

    Every round of writing has a number (:data:`dashboards.tags.REVISION`): runs that it touches get it as they are
    written, the study's run when all the rest is there. The number is above every one that was there before, also above
    those of a round that was interrupted or whose end was not answered: whoever has read all up to the study's number
    misses nothing.

    Args:
        tracking_uri: As MLflow takes it.
        artifact_root: A local folder for artifacts, or None to let the server decide.
        study: The study; its name is the experiment's.
        trials: The ledger's rows.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | None, study: Study, trials: Sequence[Trial]) -> None:
        self._uri, self._artifact_root, self._study = tracking_uri, artifact_root, study
        self._trials = {trial.key: trial for trial in trials}
        self._ledger: Path | None = None
        self._client: Any = None
        self._arm_runs: dict[tuple[str, str], str] = {}
        self._unsure: set[str] = set()
        self._revision = 0
        """Of the round that is being written, or of the next one."""
        self._unannounced = False
        """Whether something may have been written that the study's number does not tell of."""
        self._numbered_arms: set[str] = set()
        """The arms' runs that have the number of this round."""
        self._tags: dict[str, dict[str, str]] = {}
        """What the study's and the arms' runs have, by run."""
        self._tags_to_make: list[Callable[[], RunTags]] = []
        self.experiment_id = ""
        self.study_run = ""

    def connect(self, record: Record) -> None:
        """Find or create the experiment, the study's run and the arms' runs, and what trial runs are there.

        Raises:
            TrackingError: If the server cannot be used; the message names it.
        """
        # A server that goes away is met by our own retries, which training does not wait for.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # Else MLflow's client prints two lines for every run that ends.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

        try:
            with quiet_mlflow():
                self._client = self._open()
                self.experiment_id = self._experiment()
                self._find_runs(record)
        except StablesweepError:
            raise
        except TrackingUnreachable as error:
            raise TrackingError(f"{error} It is set by MLFLOW_TRACKING_URI; unset it to record in the home.") from error
        # MLflow's, requests', SQLAlchemy's or a database driver's own error: all mean the same here.
        except Exception as error:
            raise TrackingError(
                f"the tracking store {without_password(self._uri)} cannot be used "
                f"({without_passwords(' '.join(str(error).split()))[:200]}); repair it, or set MLFLOW_TRACKING_URI to another one."
            ) from error

    def _open(self) -> "MlflowClient":
        # Reading refuses an SQLite file that does not exist; writing makes it.
        if not self._uri.startswith("sqlite"):
            return connect(self._uri)
        from mlflow import MlflowClient

        return MlflowClient(self._uri)

    def _experiment(self) -> str:
        name = self._study.name
        found = self._client.get_experiment_by_name(name)
        if found is None:
            root = self._artifact_root
            location = None if root is None else str(root / name)
            note = {tags.NOTE: self._study.description} if self._study.description else {}
            kind = {EXPERIMENT_KIND: "custom_model_development"}
            return str(self._client.create_experiment(name, artifact_location=location, tags=kind | note))
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"the MLflow experiment {name!r} was deleted; restore it there, or give the study another name."
            )
        if str(found.experiment_id) == "0":
            raise TrackingError(f"{name!r} is MLflow's own default experiment; give the study another name.")
        return str(found.experiment_id)

    def _find_runs(self, record: Record) -> None:
        trial_runs: dict[str, str] = {}
        experiments, announced, written = [self.experiment_id], 0, 0
        for run in search_runs(self._client, experiments, "study"):
            self.study_run, announced = run.info.run_id, _revision(run)
            self._tags[self.study_run] = dict(run.data.tags)
        for run in search_runs(self._client, experiments, "arm"):
            self._arm_runs[run.data.tags[tags.PHASE], run.data.tags[tags.ARM]] = run.info.run_id
            self._tags[run.info.run_id] = dict(run.data.tags)
            written = max(written, _revision(run))
        for run in search_runs(self._client, experiments, "trial"):
            trial_runs[run.data.tags[tags.KEY]] = run.info.run_id
            written = max(written, _revision(run))
        self._revision, self._unannounced = max(announced, written) + 1, written > announced
        if self.study_run:
            self._check_same_study()
        else:
            self.study_run = self._create_run(
                self._study.name, {tags.ROLE: "study", tags.NOTE: self._study.description, tags.REVISION: _digits(0)}
            )
        for phase, arm in sorted({(trial.phase, trial.arm) for trial in self._trials.values()}):
            if (phase, arm) not in self._arm_runs:
                self._arm_runs[phase, arm] = self._create_arm_run(phase, arm)
        record.publish_to(self.study_run, trial_runs)

    def _check_same_study(self) -> None:
        """Refuse to write into an experiment that another study of this name made, in another home, say."""
        if tags.LEDGER_ARTIFACT not in {item.path for item in self._client.list_artifacts(self.study_run)}:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = self._client.download_artifacts(self.study_run, tags.LEDGER_ARTIFACT, folder)
            theirs = read_ledger(Path(path))
        where = f"{tags.LEDGER_ARTIFACT} of the MLflow experiment {self._study.name!r} at {without_password(self._uri)}"
        check_extension(where, theirs, to_table(self._study, list(self._trials.values())))

    def _create_run(self, name: str, run_tags: Mapping[str, str], start_time: float | None = None) -> str:
        common = {tags.STUDY: self._study.name, tags.VERSION: importlib.metadata.version("stablesweep")}
        started = None if start_time is None else int(start_time * 1000)
        run = self._client.create_run(
            self.experiment_id, start_time=started, tags={**common, **run_tags}, run_name=name
        )
        return str(run.info.run_id)

    def _create_arm_run(self, phase: str, arm: str) -> str:
        model, _, optimizer = arm.rpartition("/")
        run_tags = {tags.ROLE: "arm", tags.PHASE: phase, tags.ARM: arm, tags.MODEL: model, tags.OPTIMIZER: optimizer}
        run_tags |= {PARENT: self.study_run, tags.REVISION: _digits(self._revision)}
        self._unannounced = True
        return self._create_run(arm_run_name(phase, arm), run_tags)

    def _announce(self) -> None:
        """Tell readers what was written since the last call; nothing, if nothing was. Last of all in a round."""
        if not self._unannounced:
            return
        number, self._revision = self._revision, self._revision + 1
        # A number whose writing was not answered may be there all the same: it is not used again.
        self._numbered_arms.clear()
        self._client.set_tag(self.study_run, tags.REVISION, _digits(number))
        self._unannounced = False

    def _number_arm(self, run_id: str, more: Mapping[str, str] | None = None) -> None:
        """Give an arm's run the number of this round, and other tags."""
        if run_id not in self._numbered_arms or more:
            self._set_tags(run_id, {**(more or {}), tags.REVISION: _digits(self._revision)})
            self._numbered_arms.add(run_id)

    def _set_tags(self, run_id: str, run_tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._unannounced = True
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in run_tags.items()])
        self._tags.setdefault(run_id, {}).update(run_tags)

    def begin(self, files: Sequence[Path], *, training: bool) -> None:
        """Log files as artifacts of the study's run; if it is going to train, mark it as running with these versions.

        Raises:
            TrackingError: If the server goes away just now.
        """
        with server_errors(self._uri):
            self._unannounced = True
            for file in files:
                self._client.log_artifact(self.study_run, str(file))
            if training:
                for run_id in (self.study_run, *self._arm_runs.values()):
                    self._client.update_run(run_id, status="RUNNING")
                self._set_tags(
                    self.study_run, {f"{tags.VERSION}.{name}": version for name, version in versions().items()}
                )
            self._announce()

    def tag_later(self, make: Callable[[], RunTags]) -> None:
        """Give the study's and the arms' runs tags in the next round; what they have already is not written again.

        Args:
            make: Called in that round, beside the training; if it raises, there are no such tags.
        """
        self._tags_to_make.append(make)

    def end(self, *, finished: bool, timing: Mapping[str, float] | None, skipped: Sequence[str] = ()) -> None:
        """Close the study's and the arms' runs, and log what is known of the whole.

        Args:
            finished: Whether every trial has a result.
            timing: Seconds by activity; None if nothing was trained.
            skipped: A sentence for each sample of the dataset that was left out.

        Raises:
            TrackingError: If the server goes away just now.
        """
        with server_errors(self._uri):
            self._unannounced |= timing is not None or bool(skipped)
            if timing is not None:
                self._client.log_dict(self.study_run, dict(timing), tags.TIMING_ARTIFACT)
            if skipped:
                self._client.set_tag(self.study_run, tags.SKIPPED_SAMPLES, str(len(skipped)))
                self._client.log_text(self.study_run, "\n".join(skipped) + "\n", tags.SKIPPED_ARTIFACT)
            for run_id in (*self._arm_runs.values(), self.study_run):
                self._client.set_terminated(run_id, status="FINISHED" if finished else "KILLED")
            self._announce()

    def settled(self, trials: Sequence[Trial], ledger: Path) -> None:
        """Take note of trials that were settled, and of the ledger's file that now says so."""
        self._trials |= {trial.key: trial for trial in trials}
        self._ledger = ledger

    def publish(self, record: Record) -> None:
        """Bring MLflow up to the record.

        Raises:
            mlflow.exceptions.MlflowException, OSError: If the server is away; call again later.
        """
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            self._unannounced = True
            try:
                self._client.log_artifact(self.study_run, str(ledger))
            except BaseException:
                self._ledger = ledger
                raise
        self._publish_tags()
        states = record.trials()
        for state in states:
            if state.status != state.published or _has_new_epochs(state):
                self._publish_if_there(record, state)
        self._publish_curves(record, states)
        self._announce()

    def _publish_tags(self) -> None:
        while self._tags_to_make:
            try:
                wanted = self._tags_to_make[0]()
            except Exception:
                logger.info("tags of the study could not be made", exc_info=True)
                wanted = RunTags()
            if tags.HARDWARE in wanted.study:
                known = self._tags.get(self.study_run, {}).get(tags.HARDWARE, "")
                wanted = RunTags(
                    study={**wanted.study, tags.HARDWARE: with_more(known, wanted.study[tags.HARDWARE])},
                    arms=wanted.arms,
                )
            for (_, arm), run_id in self._arm_runs.items():
                missing = self._missing(run_id, wanted.arms.get(arm, {}))
                if missing:
                    self._number_arm(run_id, missing)
            missing = self._missing(self.study_run, wanted.study)
            if missing:
                self._set_tags(self.study_run, missing)
            # Only now: after an error above it is made once more.
            del self._tags_to_make[0]

    def _missing(self, run_id: str, wanted: Mapping[str, str]) -> dict[str, str]:
        has = self._tags.get(run_id, {})
        return {name: value for name, value in wanted.items() if has.get(name) != value}

    def _publish_if_there(self, record: Record, state: TrialState) -> None:
        """Publish a trial; if somebody deleted its run in MLflow, let that be: other trials must not wait for it."""
        from mlflow.exceptions import MlflowException

        try:
            self._publish_trial(record, state)
        except MlflowException:
            if state.run_id is None or not self._is_deleted(state.run_id):
                raise
            logger.info("the MLflow run %s of %s was deleted; nothing more is written to it", state.run_id, state.key)
            record.set_published(state.key, state.status, state.last_epoch)

    def _is_deleted(self, run_id: str) -> bool:
        return str(self._client.get_run(run_id).info.lifecycle_stage) == "deleted"

    def _publish_trial(self, record: Record, state: TrialState) -> None:
        from mlflow.entities import Metric, Param, RunTag

        trial = self._trials.get(state.key)
        if trial is None:
            return
        self._unannounced = True
        run_id = state.run_id or self._create_trial_run(record, trial, state)
        epochs = record.epochs([state.key])
        clock, metrics = state.started, []
        for epoch in epochs:
            clock += epoch.seconds
            if epoch.epoch > state.published_epoch:
                # The time is computed, not read from a clock: MLflow ignores a metric that comes twice with equal times.
                at = int(clock * 1000)
                metrics += [Metric(name, value, at, epoch.epoch) for name, value in _epoch_metrics(epoch).items()]
        run_tags = [
            RunTag(tags.STATUS, state.status),
            RunTag(tags.PACK, state.pack),
            RunTag(tags.REVISION, _digits(self._revision)),
        ]
        if state.status in FINAL:
            metrics += [Metric(name, value, int(clock * 1000), 0) for name, value in _final_metrics(state).items()]
            # Empty where there is none: a trial that was lost and then completed had one.
            run_tags.append(RunTag(tags.REASON, (state.reason or "")[:REASON_LENGTH]))
        params = [Param(name, repr(value)) for name, value in trial.hyperparameters.items()]
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(run_id, metrics=metrics[start : start + 1000])
        # The status last: whoever reads it finds the numbers. The params every time: equal ones change nothing.
        self._client.log_batch(run_id, params=params, tags=run_tags)
        if state.status in FINAL:
            self._client.set_terminated(run_id, RUN_STATUS[state.status], end_time=int(clock * 1000))
        elif state.status != (state.published or "running"):
            self._client.update_run(run_id, status=RUN_STATUS[state.status])
        record.set_published(state.key, state.status, epochs[-1].epoch if epochs else 0)

    def _create_trial_run(self, record: Record, trial: Trial, state: TrialState) -> str:
        run_id = self._created_unseen(trial.key)
        run_tags = {
            tags.ROLE: "trial",
            tags.KEY: trial.key,
            tags.PHASE: trial.phase,
            tags.ARM: trial.arm,
            tags.MODEL: trial.model,
            tags.OPTIMIZER: trial.optimizer,
            tags.DRAW: str(trial.draw),
            tags.SEED: str(trial.seed),
            tags.REPLICATE: str(trial.replicate),
            tags.SAMPLER: trial.sampler,
            tags.EPOCHS: str(trial.epochs),
            tags.STATUS: state.status,
            tags.PACK: state.pack,
            tags.REVISION: _digits(self._revision),
            PARENT: self._arm_runs[trial.phase, trial.arm],
        }
        self._unsure.add(trial.key)
        run_id = run_id or self._create_run(trial_run_name(trial), run_tags, state.started)
        self._unsure.discard(trial.key)
        record.set_run(trial.key, run_id)
        return run_id

    def _created_unseen(self, key: str) -> str | None:
        """The run that a request made whose answer was lost, if there is one."""
        if key not in self._unsure:
            return None
        found = self._client.search_runs([self.experiment_id], f"tags.`{tags.KEY}` = '{key}'")
        return str(found[0].info.run_id) if found else None

    def _publish_curves(self, record: Record, states: Sequence[TrialState]) -> None:
        by_pack: dict[str, list[TrialState]] = {}
        for state in states:
            by_pack.setdefault(state.pack, []).append(state)
        published = record.curves_published()
        for pack, members in by_pack.items():
            ended = all(state.status in FINAL for state in members)
            if ended and published.get(pack) != len(members) and members[0].key in self._trials:
                self._log_curves(record, pack, [state.key for state in members])
                record.set_curves_published(pack, len(members))

    def _log_curves(self, record: Record, pack: str, keys: Sequence[str]) -> None:
        rows = record.epochs(keys)
        # from_pandas: a loss that was not reported is null in a table, not NaN.
        columns = {
            field.name: pa.array([getattr(row, field.name) for row in rows], field.type, from_pandas=True)
            for field in CURVES_SCHEMA
        }
        trial = self._trials[keys[0]]
        arm_run = self._arm_runs[trial.phase, trial.arm]
        # The number first: it also tells of the file if that is the last that this process does.
        self._number_arm(arm_run)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{pack}.parquet"
            pq.write_table(pa.table(columns, schema=CURVES_SCHEMA), file)
            self._client.log_artifact(arm_run, str(file), tags.CURVES_FOLDER)


@contextlib.contextmanager
def server_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow raises in the block into a :class:`TrackingError` that names the server."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"the tracking store {without_password(uri)} went away ({without_passwords(' '.join(str(error).split()))[:200]}); all results "
            "are in the home, run again when it is back to publish them."
        ) from error


def versions() -> dict[str, str]:
    """The versions that results may depend on."""
    packages = ("torch", "timm", "ray", "mlflow", "numpy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def _digits(revision: int) -> str:
    return f"{revision:010d}"


def _revision(run: "Run") -> int:
    """The number of the round that touched a run last; 0 for one of an earlier version."""
    number = run.data.tags.get(tags.REVISION, "")
    return int(number) if number.isdecimal() else 0


def _has_new_epochs(state: TrialState) -> bool:
    return state.status == "running" and state.last_epoch > state.published_epoch


def _epoch_metrics(epoch: EpochDone) -> dict[str, float]:
    # A database need not take NaN, which a trainable of the user's own has for a loss that it does not report.
    metrics = {tags.TRAIN_LOSS: epoch.train_loss, tags.ERROR: epoch.error, **epoch.more}
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _final_metrics(state: TrialState) -> dict[str, float]:
    values = {
        tags.FINAL_ERROR: state.error if state.status == "completed" else None,
        tags.BEST_ERROR: state.best_error,
        tags.EPOCHS_DONE: float(state.epochs_done),
        tags.SECONDS: state.seconds,
    }
    return {name: value for name, value in values.items() if value is not None}


class Outage:
    """Waits between attempts while the tracking server is away: twice as long each time, at most a minute."""

    def __init__(self) -> None:
        self._wait_s, self._until = 0.0, 0.0

    def over(self) -> bool:
        """Whether it is time for an attempt."""
        return time.monotonic() >= self._until

    def failed(self) -> None:
        """Note a failed attempt."""
        self._wait_s = min(max(2 * self._wait_s, 1.0), 60.0)
        self._until = time.monotonic() + self._wait_s

    def succeeded(self) -> None:
        """Note a good attempt."""
        self._wait_s, self._until = 0.0, 0.0
