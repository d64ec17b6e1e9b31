"""The runs of a study and of its arms in MLflow, and the number of each round of writing."""

import importlib.metadata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboards import tags
from dashboards.tracking.study import search_runs
from stablesweep.run_names import arm_run_name
from stablesweep.study import Study

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"


class StudyRuns:
    """Finds and creates a study's runs, and numbers what is written to them.

    Every round of writing has a number (:data:`dashboards.tags.REVISION`): runs that it touches get it as they are
    written, the study's run when all the rest is there. The number is above every one that was there before, also above
    those of a round that was interrupted or whose end was not answered: whoever has read all up to the study's number
    misses nothing.

    Args:
        client: An :class:`mlflow.MlflowClient`.
        experiment_id: The study's experiment.
        study: The study.
    """

    def __init__(self, client: Any, experiment_id: str, study: Study) -> None:
        self.client, self.experiment_id, self._study = client, experiment_id, study
        self.study_run = ""
        """Empty before :meth:`find`, and after it if there is none."""
        self.arm_runs: dict[tuple[str, str], str] = {}
        """By phase and arm."""
        self.tags: dict[str, dict[str, str]] = {}
        """What the study's and the arms' runs have, by run."""
        self.unannounced = False
        """Whether something may have been written that the study's number does not tell of."""
        self._revision = 0
        """Of the round that is being written, or of the next one."""
        self._numbered_arms: set[str] = set()
        """The arms' runs that have the number of this round."""

    @property
    def number(self) -> str:
        """The value of :data:`dashboards.tags.REVISION` in this round."""
        return _digits(self._revision)

    def find(self) -> dict[str, str]:
        """Find what runs are there; returns those of trials, by key."""
        trial_runs: dict[str, str] = {}
        experiments, announced, written = [self.experiment_id], 0, 0
        for run in search_runs(self.client, experiments, "study"):
            self.study_run, announced = run.info.run_id, _revision(run)
            self.tags[self.study_run] = dict(run.data.tags)
        for run in search_runs(self.client, experiments, "arm"):
            self.arm_runs[run.data.tags[tags.PHASE], run.data.tags[tags.ARM]] = run.info.run_id
            self.tags[run.info.run_id] = dict(run.data.tags)
            written = max(written, _revision(run))
        for run in search_runs(self.client, experiments, "trial"):
            trial_runs[run.data.tags[tags.KEY]] = run.info.run_id
            written = max(written, _revision(run))
        self._revision, self.unannounced = max(announced, written) + 1, written > announced
        return trial_runs

    def create_missing(self, arms: Iterable[tuple[str, str]]) -> None:
        """Create the study's run and those of ``arms`` (phase and arm), as far as they are not there."""
        if not self.study_run:
            run_tags = {tags.ROLE: "study", tags.NOTE: self._study.description, tags.REVISION: _digits(0)}
            self.study_run = self.create_run(self._study.name, run_tags)
        for phase, arm in sorted(set(arms) - set(self.arm_runs)):
            self.arm_runs[phase, arm] = self._create_arm_run(phase, arm)

    def create_run(self, name: str, run_tags: Mapping[str, str], start_time: float | None = None) -> str:
        """Create a run of this study, started at ``start_time`` (seconds since 1970; now by default); returns its id."""
        common = {tags.STUDY: self._study.name, tags.VERSION: importlib.metadata.version("stablesweep")}
        started = None if start_time is None else int(start_time * 1000)
        run = self.client.create_run(self.experiment_id, start_time=started, tags={**common, **run_tags}, run_name=name)
        return str(run.info.run_id)

    def _create_arm_run(self, phase: str, arm: str) -> str:
        model, _, optimizer = arm.rpartition("/")
        run_tags = {tags.ROLE: "arm", tags.PHASE: phase, tags.ARM: arm, tags.MODEL: model, tags.OPTIMIZER: optimizer}
        run_tags |= {PARENT: self.study_run, tags.REVISION: self.number}
        self.unannounced = True
        return self.create_run(arm_run_name(phase, arm), run_tags)

    def announce(self) -> None:
        """Tell readers what was written since the last call; nothing, if nothing was. Last of all in a round."""
        if not self.unannounced:
            return
        number, self._revision = self._revision, self._revision + 1
        # A number whose writing was not answered may be there all the same: it is not used again.
        self._numbered_arms.clear()
        self.client.set_tag(self.study_run, tags.REVISION, _digits(number))
        self.unannounced = False

    def number_arm(self, run_id: str, more: Mapping[str, str] | None = None) -> None:
        """Give an arm's run the number of this round, and other tags."""
        if run_id not in self._numbered_arms or more:
            self.set_tags(run_id, {**(more or {}), tags.REVISION: self.number})
            self._numbered_arms.add(run_id)

    def set_tags(self, run_id: str, run_tags: Mapping[str, str]) -> None:
        """Give the study's or an arm's run tags."""
        from mlflow.entities import RunTag

        self.unannounced = True
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in run_tags.items()])
        self.tags.setdefault(run_id, {}).update(run_tags)

    def log_file(self, run_id: str, file: Path, folder: str | None = None) -> None:
        """Log a file as an artifact of the study's or an arm's run."""
        self.unannounced = True
        self.client.log_artifact(run_id, str(file), folder)


def _digits(revision: int) -> str:
    return f"{revision:010d}"


def _revision(run: "Run") -> int:
    """The number of the round that touched a run last; 0 for one of an earlier version."""
    number = run.data.tags.get(tags.REVISION, "")
    return int(number) if number.isdecimal() else 0
