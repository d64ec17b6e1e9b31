"""The runs of a study and of its arms in MLflow, and the number of each round of writing."""

import contextlib
import importlib.metadata
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboards import tags
from dashboards.tracking.study import search_runs
from stablesweep.run_names import arm_run_name
from stablesweep.study import Study

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"

_environment = threading.Lock()

logger = logging.getLogger(__name__)


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
        self._surplus: list[str] = []
        """Runs that are there although there is another one for the same."""

    @property
    def number(self) -> str:
        """The value of :data:`dashboards.tags.REVISION` in this round."""
        return _digits(self._revision)

    def find(self) -> dict[str, str]:
        """Find what runs are there; returns those of trials, by key."""
        self.study_run, announced = self._found("study").get((), ("", 0))
        arms, trials = self._found("arm", tags.PHASE, tags.ARM), self._found("trial", tags.KEY)
        self.arm_runs = {(phase, arm): run_id for (phase, arm), (run_id, _) in arms.items()}
        written = max((revision for _, revision in (*arms.values(), *trials.values())), default=0)
        self._revision, self.unannounced = max(announced, written) + 1, written > announced
        return {key: run_id for (key,), (run_id, _) in trials.items()}

    def _found(self, role: str, *names: str) -> dict[tuple[str, ...], tuple[str, int]]:
        """Id and number of the runs of a role, by their tags of these names.

        Of several with the same tags it is the one that was written to last, or the oldest; the others are surplus: a
        request that seemed to fail and was sent again has made them.
        """
        found: dict[tuple[str, ...], tuple[str, int]] = {}
        for run in search_runs(self.client, [self.experiment_id], role):
            if role != "trial":
                self.tags[run.info.run_id] = dict(run.data.tags)
            which, new = tuple(run.data.tags[name] for name in names), (run.info.run_id, _revision(run))
            old = found.setdefault(which, new)
            if old is not new:
                found[which], surplus = (new, old) if new[1] > old[1] else (old, new)
                self._surplus.append(surplus[0])
        return found

    def create_missing(self, arms: Iterable[tuple[str, str]]) -> None:
        """Create the study's run and those of ``arms`` (phase and arm), as far as they are not there.

        What is there twice is deleted.
        """
        self._delete(self._surplus)
        self._surplus = []
        if not self.study_run:
            run_tags = {tags.ROLE: "study", tags.NOTE: self._study.description, tags.REVISION: _digits(0)}
            self.study_run = self._create_surely(self._study.name, run_tags)
        for phase, arm in sorted(set(arms) - set(self.arm_runs)):
            self.arm_runs[phase, arm] = self._create_arm_run(phase, arm)

    def create_run(self, name: str, run_tags: Mapping[str, str], start_time: float | None = None) -> str:
        """Create a run of this study, started at ``start_time`` (seconds since 1970; now by default); returns its id."""
        common = {tags.STUDY: self._study.name, tags.VERSION: importlib.metadata.version("stablesweep")}
        started = None if start_time is None else int(start_time * 1000)
        all_tags = {**common, **run_tags}
        with _sent_once():
            run = self.client.create_run(self.experiment_id, start_time=started, tags=all_tags, run_name=name)
        return str(run.info.run_id)

    def created_unseen(self, role: str, names: Mapping[str, str]) -> str | None:
        """The run of a role with these tags that a request made whose answer was lost, if there is one."""
        more = " ".join(f"and tags.`{name}` = '{value}'" for name, value in names.items())
        made = [run.info.run_id for run in search_runs(self.client, [self.experiment_id], role, more=more)]
        self._delete(made[1:])
        return made[0] if made else None

    def _create_surely(self, name: str, run_tags: Mapping[str, str]) -> str:
        """Create the study's or an arm's run; once more if that fails and has not made it all the same."""
        from mlflow.exceptions import MlflowException

        try:
            return self.create_run(name, run_tags)
        # What the client makes of every request that failed, a connection that was dropped included.
        except MlflowException:
            logger.info("no answer from MLflow when the run %r was created; it is looked for", name, exc_info=True)
        same = {tag: value for tag, value in run_tags.items() if tag in (tags.PHASE, tags.ARM)}
        return self.created_unseen(run_tags[tags.ROLE], same) or self.create_run(name, run_tags)

    def _delete(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            logger.info("the MLflow run %s is there twice; it is deleted", run_id)
            self.unannounced = True
            self.client.delete_run(run_id)

    def _create_arm_run(self, phase: str, arm: str) -> str:
        model, _, optimizer = arm.rpartition("/")
        run_tags = {tags.ROLE: "arm", tags.PHASE: phase, tags.ARM: arm, tags.MODEL: model, tags.OPTIMIZER: optimizer}
        run_tags |= {PARENT: self.study_run, tags.REVISION: self.number}
        self.unannounced = True
        return self._create_surely(arm_run_name(phase, arm), run_tags)

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


@contextlib.contextmanager
def _sent_once() -> Iterator[None]:
    """Inside, MLflow's client sends no request a second time; it looks up how often it may with each one.

    What it does not know: a server may have done what it was asked for and be gone before it says so.
    """
    with _environment:
        before = os.environ.get(RETRIES)
        os.environ[RETRIES] = "0"
        try:
            yield
        finally:
            if before is None:
                del os.environ[RETRIES]
            else:
                os.environ[RETRIES] = before


def _digits(revision: int) -> str:
    return f"{revision:010d}"


def _revision(run: "Run") -> int:
    """The number of the round that touched a run last; 0 for one of an earlier version."""
    number = run.data.tags.get(tags.REVISION, "")
    return int(number) if number.isdecimal() else 0
