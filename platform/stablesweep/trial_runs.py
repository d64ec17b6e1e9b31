"""One trial's run in MLflow: its tags, hyperparameters, metrics and end."""

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from dashboards import tags
from stablesweep.messages import FINAL, EpochDone
from stablesweep.record import Published, Record, TrialState
from stablesweep.run_names import trial_run_name
from stablesweep.study_runs import PARENT, StudyRuns
from stablesweep.trials import Trial

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param

RUN_STATUS = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "diverged": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "lost": "KILLED",
}
RUNNING = "running"
REASON_LENGTH = 1_000
"""MLflow refuses longer values of tags than 8,000 characters, and its pages show them whole."""
MOST_ENTITIES = 1_000
"""So many metrics, params and tags together MLflow takes in one request."""
NOTED_TOGETHER = 50
"""Trials; each transaction of the record waits for the disk."""

logger = logging.getLogger(__name__)


class TrialRuns:
    """Brings the runs of trials up to a record.

    Every request costs MLflow some transactions: what one request can say is not said in two.

    Args:
        runs: The study's runs.
        found: The trials' runs that MLflow has already, by key: a record that is new knows nothing of them.
    """

    def __init__(self, runs: StudyRuns, found: Mapping[str, str]) -> None:
        self._runs, self._client, self._found = runs, runs.client, dict(found)
        self._unsure: set[str] = set()
        """Keys of trials whose run may have been created without an answer."""
        self._published: list[Published] = []
        """What the record does not say yet; if this process dies, it is published again, which changes nothing."""

    def publish(self, record: Record, trial: Trial, state: TrialState) -> None:
        """Publish a trial; if somebody deleted its run in MLflow, let that be: other trials must not wait for it.

        :meth:`note` is to be called after the last one, whatever happens.
        """
        from mlflow.exceptions import MlflowException

        self._runs.unannounced = True
        epoch = state.last_epoch
        try:
            epoch = self._publish(record, trial, state)
        except MlflowException:
            if state.run_id is None or not self._is_deleted(state.run_id):
                raise
            logger.info("the MLflow run %s of %s was deleted; nothing more is written to it", state.run_id, state.key)
        run_id = state.run_id or self._found[state.key]
        self._published.append(Published(key=state.key, run_id=run_id, status=state.status, epoch=epoch))
        if len(self._published) >= NOTED_TOGETHER:
            self.note(record)

    def note(self, record: Record) -> None:
        """Note in the record what was published."""
        if self._published:
            record.note_published(self._published)
            self._published = []

    def _is_deleted(self, run_id: str) -> bool:
        return str(self._client.get_run(run_id).info.lifecycle_stage) == "deleted"

    def _publish(self, record: Record, trial: Trial, state: TrialState) -> int:
        """Publish a trial; its last epoch that is there now."""
        run_id, created = self._run_of(trial, state)
        epochs = record.epochs([state.key])
        # Times are computed, not read from a clock: MLflow ignores a metric that comes twice with equal times.
        times = list(accumulate((epoch.seconds for epoch in epochs), initial=state.started))
        metrics = []
        for epoch, time in zip(epochs, times[1:], strict=True):
            if epoch.epoch > state.published_epoch:
                metrics += _metrics(_epoch_metrics(epoch), time, epoch.epoch)
        metrics += _metrics(_final_metrics(state), times[-1], 0)
        # A run that was made just now says that it is running.
        run_tags = {} if created and state.status == RUNNING else self._status_tags(state)
        self._log(run_id, metrics, _new_params(trial, state), run_tags)
        if state.status in FINAL:
            self._client.set_terminated(run_id, RUN_STATUS[state.status], end_time=int(times[-1] * 1000))
        elif state.status != (state.published or RUNNING):
            self._client.update_run(run_id, status=RUN_STATUS[state.status])
        return epochs[-1].epoch if epochs else 0

    def _log(
        self, run_id: str, metrics: "Sequence[Metric]", params: "Sequence[Param]", run_tags: Mapping[str, str]
    ) -> None:
        """Log all of it, in one request if MLflow takes so much, which writes the tags last."""
        from mlflow.entities import RunTag

        room = MOST_ENTITIES - len(params) - len(run_tags)
        first = max(len(metrics) - room, 0)
        for start in range(0, first, MOST_ENTITIES):
            self._client.log_batch(run_id, metrics=metrics[start : min(start + MOST_ENTITIES, first)])
        # The status last: whoever reads it finds the numbers.
        last_tags = [RunTag(name, value) for name, value in run_tags.items()]
        self._client.log_batch(run_id, metrics=metrics[first:], params=params, tags=last_tags)

    def _status_tags(self, state: TrialState) -> dict[str, str]:
        values = {tags.STATUS: state.status, tags.PACK: state.pack, tags.REVISION: self._runs.number}
        if state.status in FINAL:
            # Empty where there is none: a trial that was lost and then completed had one.
            values[tags.REASON] = (state.reason or "")[:REASON_LENGTH]
        if state.trained_in is not None:
            values[tags.TRAINED_IN] = state.trained_in
        return values

    def _run_of(self, trial: Trial, state: TrialState) -> tuple[str, bool]:
        """A trial's run, and whether it was made just now."""
        found = state.run_id or self._found.get(trial.key) or self._created_unseen(trial.key)
        run_id = found or self._create(trial, state)
        self._found[trial.key] = run_id
        self._unsure.discard(trial.key)
        return run_id, found is None

    def _create(self, trial: Trial, state: TrialState) -> str:
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
            PARENT: self._runs.arm_runs[trial.phase, trial.arm],
            **self._status_tags(state),
            # What it says else is said with its numbers.
            tags.STATUS: RUNNING,
        }
        self._unsure.add(trial.key)
        return self._runs.create_run(trial_run_name(trial), run_tags, state.started)

    def _created_unseen(self, key: str) -> str | None:
        """The run that a request made whose answer was lost, if there is one."""
        if key not in self._unsure:
            return None
        return self._runs.created_unseen("trial", {tags.KEY: key})


def _new_params(trial: Trial, state: TrialState) -> "list[Param]":
    """None once they are there: they never change."""
    from mlflow.entities import Param

    return [Param(name, repr(value)) for name, value in trial.hyperparameters.items()] if not state.published else []


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
