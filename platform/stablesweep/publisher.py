"""From the local record to MLflow: one run a trial, under its arm, under its study."""

import contextlib
import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboards import tags
from dashboards.tracking.connection import quiet_mlflow
from stablesweep.claims import StudyClaim
from stablesweep.curve_files import publish_curves
from stablesweep.experiment import alone_at_first, check_same_study, experiment_of, open_client
from stablesweep.outage import connection_errors, server_errors
from stablesweep.record import Record, record_errors
from stablesweep.run_tags import RunTags, TagsToMake
from stablesweep.study import Study
from stablesweep.study_runs import StudyRuns
from stablesweep.trial_runs import TrialRuns
from stablesweep.trials import Trial

logger = logging.getLogger(__name__)


class Publisher:
    """Writes what the record has and MLflow has not. Every call can be repeated; a repeat writes nothing twice.

    How readers find what is new: :class:`stablesweep.study_runs.StudyRuns`.

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
        self._tags = TagsToMake()
        self.trials_cpu_s = 0.0
        """Seconds of a processor that the trials of the last round took, without waiting for the server."""
        self._client: Any = None
        self._claim: StudyClaim
        self._runs: StudyRuns
        self._trial_runs: TrialRuns

    @property
    def experiment_id(self) -> str:
        """The id of the study's experiment; known once connected."""
        return self._runs.experiment_id

    @property
    def study_run(self) -> str:
        """The id of the study's run; known once connected."""
        return self._runs.study_run

    def connect(self, record: Record) -> None:
        """Find or create the experiment, the study's run and the arms' runs, and what trial runs are there.

        Raises:
            TrackingError: If the server cannot be used; the message names it.
            HomeBusy: If another process runs the study.
            StablesweepError: If the record cannot be read or written.
        """
        # A server that goes away is met by our own retries, which training does not wait for.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # Else MLflow's client prints two lines for every run that ends.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

        with connection_errors(self._uri), quiet_mlflow():
            with alone_at_first(self._uri):
                self._client = self._open()
                experiment = experiment_of(self._client, self._study, self._artifact_root)
            self._claim = StudyClaim(self._client, experiment, self._study.name, record.path.parent)
            self._runs = StudyRuns(self._client, experiment, self._study)
            # Before the runs are looked for: what another process adds after that would be created twice.
            self._claim.take()
            try:
                self._find_runs(record)
            except BaseException:
                self.close()
                raise

    def _open(self) -> Any:
        return open_client(self._uri)

    def _find_runs(self, record: Record) -> None:
        trial_runs, trials = self._runs.find(), list(self._trials.values())
        if self._runs.study_run:
            with record_errors(record.path):
                known = record.is_published_to(self._runs.study_run)
            check_same_study(self._client, self._uri, self._runs.study_run, self._study, trials, known=known)
        self._runs.create_missing((trial.phase, trial.arm) for trial in trials)
        with record_errors(record.path):
            record.publish_to(self._runs.study_run, trial_runs)
        self._trial_runs = TrialRuns(self._runs, trial_runs)

    def begin(self, files: Sequence[Path], *, training: bool) -> None:
        """Log files as artifacts of the study's run; if it is going to train, mark it as running with these versions.

        Raises:
            TrackingError: If the server goes away just now.
        """
        with server_errors(self._uri):
            self._runs.unannounced = True
            for file in files:
                self._runs.log_file(self.study_run, file)
            if training:
                for run_id in (self.study_run, *self._runs.arm_runs.values()):
                    self._client.update_run(run_id, status="RUNNING")
                self._runs.set_tags(
                    self.study_run, {f"{tags.VERSION}.{name}": version for name, version in versions().items()}
                )
            self._runs.announce()

    def tag_later(self, make: Callable[[], RunTags]) -> None:
        """Give the study's and the arms' runs tags in the next round; what they have already is not written again.

        Args:
            make: Called in that round, beside the training; if it raises, there are no such tags.
        """
        self._tags.add(make)

    def end(self, *, finished: bool, timing: Mapping[str, float] | None, skipped: Sequence[str] = ()) -> None:
        """Close the study's and the arms' runs, log what is known of the whole, and give the study free.

        Args:
            finished: Whether every trial has a result.
            timing: Seconds by activity; None if nothing was trained.
            skipped: A sentence for each sample of the dataset that was left out.

        Raises:
            TrackingError: If the server goes away just now.
        """
        with server_errors(self._uri):
            self._runs.unannounced |= timing is not None or bool(skipped)
            if timing is not None:
                self._client.log_dict(self.study_run, dict(timing), tags.TIMING_ARTIFACT)
            if skipped:
                self._client.set_tag(self.study_run, tags.SKIPPED_SAMPLES, str(len(skipped)))
                self._client.log_text(self.study_run, "\n".join(skipped) + "\n", tags.SKIPPED_ARTIFACT)
            for run_id in (*self._runs.arm_runs.values(), self.study_run):
                self._client.set_terminated(run_id, status="FINISHED" if finished else "KILLED")
            self._runs.announce()
        self.close()

    def close(self) -> None:
        """Give the study free for processes of other homes; may be called again."""
        from mlflow.exceptions import MlflowException

        try:
            with quiet_mlflow():
                self._claim.release()
        except (MlflowException, OSError):
            logger.info("the claim on the study could not be released; it ends by itself", exc_info=True)

    def keep_claim(self) -> None:
        """Say that the study is still being run, if it is time to; a server that is away is told later.

        Raises:
            HomeBusy: If another process has claimed the study meanwhile.
        """
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException, OSError), quiet_mlflow():
            self._claim.renew()

    def settled(self, trials: Sequence[Trial], ledger: Path) -> None:
        """Take note of trials that were settled, and of the ledger's file that now says so."""
        self._trials |= {trial.key: trial for trial in trials}
        self._ledger = ledger

    def publish(self, record: Record) -> None:
        """Bring MLflow up to the record.

        Raises:
            mlflow.exceptions.MlflowException, OSError: If the server is away; call again later.
            HomeBusy: If another process has taken the study over.
        """
        self.trials_cpu_s = 0.0
        self._claim.renew()
        self._publish_ledger()
        self._tags.publish(self._runs)
        self._publish_trials(record)
        publish_curves(self._runs, self._trials, record)
        self._runs.announce()

    def _publish_trials(self, record: Record) -> None:
        began = time.thread_time()
        try:
            for state in record.unpublished():
                trial = self._trials.get(state.key)
                if trial is not None:
                    # A round of thousands of trials takes longer than a claim lasts.
                    self._claim.renew()
                    self._trial_runs.publish(record, trial, state)
        finally:
            self._trial_runs.note(record)
            self.trials_cpu_s = time.thread_time() - began

    def _publish_ledger(self) -> None:
        # Settled while it is written, it is written again.
        ledger, self._ledger = self._ledger, None
        if ledger is None:
            return
        try:
            self._runs.log_file(self.study_run, ledger)
        except BaseException:
            self._ledger = ledger
            raise


def versions() -> dict[str, str]:
    """The versions that results may depend on."""
    packages = ("torch", "timm", "ray", "mlflow", "numpy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
