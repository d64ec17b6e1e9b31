"""One trial's run in MLflow: its tags, hyperparameters, metrics and end."""

import logging
import math
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from dashboards import tags
from stablesweep.messages import FINAL, EpochDone
from stablesweep.record import Record, TrialState
from stablesweep.run_names import trial_run_name
from stablesweep.study_runs import PARENT, StudyRuns
from stablesweep.trials import Trial

if TYPE_CHECKING:
    from mlflow.entities import Metric, RunTag

RUN_STATUS = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "diverged": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "lost": "KILLED",
}
REASON_LENGTH = 1_000
"""MLflow refuses longer values of tags than 8,000 characters, and its pages show them whole."""

logger = logging.getLogger(__name__)


class TrialRuns:
    """Brings the runs of trials up to a record.

    Args:
        runs: The study's runs.
        found: The trials' runs that MLflow has already, by key: a record that is new knows nothing of them.
    """

    def __init__(self, runs: StudyRuns, found: Mapping[str, str]) -> None:
        self._runs, self._client, self._found = runs, runs.client, dict(found)
        self._unsure: set[str] = set()
        """Keys of trials whose run may have been created without an answer."""

    def publish(self, record: Record, trial: Trial, state: TrialState) -> None:
        """Publish a trial; if somebody deleted its run in MLflow, let that be: other trials must not wait for it."""
        from mlflow.exceptions import MlflowException

        self._runs.unannounced = True
        try:
            self._publish(record, trial, state)
        except MlflowException:
            if state.run_id is None or not self._is_deleted(state.run_id):
                raise
            logger.info("the MLflow run %s of %s was deleted; nothing more is written to it", state.run_id, state.key)
            record.set_published(state.key, state.status, state.last_epoch)

    def _is_deleted(self, run_id: str) -> bool:
        return str(self._client.get_run(run_id).info.lifecycle_stage) == "deleted"

    def _publish(self, record: Record, trial: Trial, state: TrialState) -> None:
        from mlflow.entities import Param

        run_id = state.run_id or self._run_of(record, trial, state)
        epochs = record.epochs([state.key])
        # Times are computed, not read from a clock: MLflow ignores a metric that comes twice with equal times.
        times = list(accumulate((epoch.seconds for epoch in epochs), initial=state.started))
        metrics = []
        for epoch, time in zip(epochs, times[1:], strict=True):
            if epoch.epoch > state.published_epoch:
                metrics += _metrics(_epoch_metrics(epoch), time, epoch.epoch)
        metrics += _metrics(_final_metrics(state), times[-1], 0)
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(run_id, metrics=metrics[start : start + 1000])
        params = [Param(name, repr(value)) for name, value in trial.hyperparameters.items()]
        # The status last: whoever reads it finds the numbers. The params every time: equal ones change nothing.
        self._client.log_batch(run_id, params=params, tags=self._status_tags(state))
        if state.status in FINAL:
            self._client.set_terminated(run_id, RUN_STATUS[state.status], end_time=int(times[-1] * 1000))
        elif state.status != (state.published or "running"):
            self._client.update_run(run_id, status=RUN_STATUS[state.status])
        record.set_published(state.key, state.status, epochs[-1].epoch if epochs else 0)

    def _status_tags(self, state: TrialState) -> "list[RunTag]":
        from mlflow.entities import RunTag

        values = {tags.STATUS: state.status, tags.PACK: state.pack, tags.REVISION: self._runs.number}
        if state.status in FINAL:
            # Empty where there is none: a trial that was lost and then completed had one.
            values[tags.REASON] = (state.reason or "")[:REASON_LENGTH]
        return [RunTag(name, value) for name, value in values.items()]

    def _run_of(self, record: Record, trial: Trial, state: TrialState) -> str:
        run_id = self._found.get(trial.key) or self._create(trial, state)
        record.set_run(trial.key, run_id)
        return run_id

    def _create(self, trial: Trial, state: TrialState) -> str:
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
            tags.REVISION: self._runs.number,
            PARENT: self._runs.arm_runs[trial.phase, trial.arm],
        }
        self._unsure.add(trial.key)
        run_id = run_id or self._runs.create_run(trial_run_name(trial), run_tags, state.started)
        self._unsure.discard(trial.key)
        return run_id

    def _created_unseen(self, key: str) -> str | None:
        """The run that a request made whose answer was lost, if there is one."""
        if key not in self._unsure:
            return None
        return self._runs.created_unseen("trial", {tags.KEY: key})


def _metrics(values: Mapping[str, float], at: float, step: int) -> "list[Metric]":
    from mlflow.entities import Metric

    return [Metric(name, value, int(at * 1000), step) for name, value in values.items()]


def _epoch_metrics(epoch: EpochDone) -> dict[str, float]:
    # A database need not take NaN, which a trainable of the user's own has for a loss that it does not report.
    metrics = {tags.TRAIN_LOSS: epoch.train_loss, tags.ERROR: epoch.error, **epoch.more}
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _final_metrics(state: TrialState) -> dict[str, float]:
    """None before the trial has ended."""
    values = {
        tags.FINAL_ERROR: state.error if state.status == "completed" else None,
        tags.BEST_ERROR: state.best_error,
        tags.EPOCHS_DONE: float(state.epochs_done),
        tags.SECONDS: state.seconds,
    }
    return {name: value for name, value in values.items() if value is not None and state.status in FINAL}
