"""A small study that faults happen to, run by the real command, and what must be true of it in the end."""

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

import stablesweep as ss
from dashboards import tags
from dashboards.tables import result_columns
from stablesweep.cli import main
from stablesweep.home import Home
from stablesweep.record import TrialState
from stablesweep.status import read_states
from tests.faults.processes import Process, session
from tests.support import start_command

NAME = "faults"
EPOCHS = 12
TRIALS = 4
STUDY: dict[str, Any] = {
    "name": NAME,
    "dataset": "digits",
    "imports": ["watched"],
    "arms": ["watched/sgd"],
    # The upper end is far beyond what trains: of these draws one diverges in its first epoch.
    "space": {"sgd": {"lr": {"log_uniform": [1e-2, 1e6]}, "weight_decay": {"around": 1e-4}}},
    "phases": {"stability": {"draws": TRIALS, "epochs": EPOCHS}},
    # A checkpoint at every epoch: what was trained before a fault is not trained again.
    "pack": {"size": TRIALS, "spread": False, "checkpoint_every_s": 0},
}
PAUSE_S = 0.15
"""Seconds that each epoch of a trial lasts at least: a pack then trains for some seconds."""
WORKER = "RayTrainWorker"
"""In the title of a process that trains a pack."""
PATIENCE_S = 300

States = Mapping[str, TrialState]


@dataclass(frozen=True)
class Results:
    """What must not depend on what happened to a study."""

    trials: pa.Table
    """The exported trials table without run ids, packs and times."""
    curves: pa.Table


@dataclass
class FaultyStudy:
    """The study in a folder of its own, and the commands that were started on it."""

    folder: Path
    pause_s: float = PAUSE_S
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(yaml.safe_dump(STUDY))
        shutil.copy(Path(__file__).with_name("watched.py"), self.folder)
        self.set_pause(self.pause_s)

    @property
    def file(self) -> Path:
        """The study file."""
        return self.folder / "study.yaml"

    @property
    def log(self) -> Path:
        """What the commands have printed."""
        return self.folder / "log"

    @property
    def home(self) -> Home:
        """Where the study is kept."""
        return Home.at(self.folder / "home")

    def set_pause(self, seconds: float) -> None:
        """How long an epoch of a trial lasts at least, from now on."""
        (self.folder / "pause").write_text(str(seconds))

    def start(self, *options: str, **variables: str) -> subprocess.Popen[bytes]:
        """``stablesweep run`` with options and environment variables, in a process group of its own."""
        command = ("run", str(self.file), "--home", str(self.home.path), *options)
        self.started.append(start_command(*command, folder=self.folder, log=self.log, **variables))
        return self.started[-1]

    def ends(self, process: subprocess.Popen[bytes], code: int, within_s: float = PATIENCE_S) -> str:
        """Wait for the end of a command, whose exit code must be this one; what all commands have printed."""
        try:
            ended = process.wait(within_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the command runs after {within_s:g} s: {self.printed()}")
        assert ended == code, self.printed()
        assert "Traceback" not in self.printed(), self.printed()
        return self.printed()

    def run(self, *options: str, code: int = 0, **variables: str) -> str:
        """Run the command to its end, without pauses; what all commands have printed."""
        self.set_pause(0)
        return self.ends(self.start(*options, **variables), code)

    def printed(self) -> str:
        """What the commands have printed so far."""
        return self.log.read_text()

    def states(self) -> dict[str, TrialState]:
        """What the local record has, by key."""
        return read_states(self.home, NAME)

    def statuses(self) -> Counter[str]:
        """How many trials have each status in the local record."""
        return Counter(state.status for state in self.states().values())

    def wait(self, process: subprocess.Popen[bytes], enough: Callable[[States], bool]) -> dict[str, TrialState]:
        """Wait until the record of the running command is enough, and return it."""
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            assert process.poll() is None, self.printed()
            states = self.states()
            if enough(states):
                return states
            time.sleep(0.1)
        pytest.fail(f"no such states within {PATIENCE_S} s: {self.states()}\n{self.printed()}")

    def wait_for_process(
        self, process: subprocess.Popen[bytes], title: str, *nodes: int, but: Collection[int] = ()
    ) -> Process:
        """Wait for a process with this title, but none of some ids, that the running command or one of Ray's nodes has started."""
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            assert process.poll() is None, self.printed()
            for leader in nodes or (process.pid,):
                for one in session(leader):
                    if title in one.title and one.pid not in but:
                        return one
            time.sleep(0.05)
        pytest.fail(f"no process {title} within {PATIENCE_S} s: {self.printed()}")

    def epochs_trained(self) -> Counter[int]:
        """How many epochs were trained and evaluated so far, by the trial's seed; those that were repeated count again."""
        log = self.folder / "epochs.log"
        return Counter(int(line) for line in log.read_text().split()) if log.exists() else Counter()

    def exported(self) -> Results:
        """What ``stablesweep export`` writes: trials and curves."""
        return Results(result_columns(self._export("trials")), self._export("curves", "--curves"))

    def _export(self, name: str, *options: str) -> pa.Table:
        out = self.folder / f"{name}.parquet"
        done = CliRunner().invoke(
            main, ["export", NAME, "--home", str(self.home.path), "--out", str(out), *options], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return pq.read_table(out)

    def end_all(self) -> None:
        """Kill what is left of the commands and of their Rays."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
            for one in session(process.pid):
                one.kill()


def some_epochs(states: States) -> bool:
    """In the middle of training: three epochs of a trial are recorded, and none is completed."""
    statuses = {state.status for state in states.values()}
    return "completed" not in statuses and any(state.last_epoch >= 3 for state in states.values())


def first_pack_is_done(states: States) -> bool:
    """Where one pack of two trials trains at a time: two trials have their results, and not only because they diverged."""
    statuses = Counter(state.status for state in states.values())
    return statuses["completed"] >= 1 and statuses["completed"] + statuses["diverged"] >= 2


def two_packs_train(states: States) -> bool:
    """Two packs have trained: two epochs of each are recorded."""
    epochs: dict[str, int] = {}
    for state in states.values():
        epochs[state.pack] = max(state.last_epoch, epochs.get(state.pack, 0))
    return len(epochs) == 2 and min(epochs.values()) >= 2


def epochs_recorded(states: States) -> int:
    """How many epochs a record has, of all trials."""
    return sum(state.last_epoch for state in states.values())


def assert_same_results(study: FaultyStudy, reference: Results) -> None:
    """Every trial's result is that of an undisturbed run, to the bit, and has exactly one MLflow run."""
    found = study.exported()
    assert found.trials.equals(reference.trials), (found.trials.to_pylist(), reference.trials.to_pylist())
    assert found.curves.equals(reference.curves)
    experiment = ss.load(NAME, study.home.path).record.experiment_id
    client = mlflow.MlflowClient(study.home.tracking_uri)
    runs = client.search_runs([experiment], f"tags.`{tags.ROLE}` = 'trial'")
    assert sorted(run.data.tags[tags.KEY] for run in runs) == found.trials["key"].to_pylist()


def assert_trained_once(study: FaultyStudy, repeated: int) -> None:
    """No trial evaluated more epochs than it has, but for some that a fault may have cut off from their checkpoint."""
    trained = study.epochs_trained()
    assert len(trained) == TRIALS - study.statuses()["diverged"]
    assert all(EPOCHS <= count <= EPOCHS + repeated for count in trained.values()), trained
