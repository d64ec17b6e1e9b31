"""Ray that starts beside other work: when it does, that its errors arrive, and that it ends with the block."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import stablesweep as ss
from stablesweep.cli import main
from stablesweep.early_session import EarlySession, wants_ray
from stablesweep.errors import StudyError
from stablesweep.home import Home, locked
from stablesweep.record import Record
from stablesweep.run import run_study
from stablesweep.trials import plan_trials
from tests.faults.processes import session, wait_for_end
from tests.mlflow_server import story
from tests.support import SMALL, run_here, small_study, start_command


def record_ends(study: ss.Study, home: Home, status: str = "completed") -> None:
    """What the record of a study has all of whose trials have ended."""
    record = Record(home.study(study.name).record)
    for trial in plan_trials(study):
        record.apply(story(trial, 1, status))
    record.close()


def test_a_new_study_trains(tmp_path: Path) -> None:
    assert wants_ray(small_study(), Home.at(tmp_path), retry_lost=False)
    # Looking makes nothing.
    assert list(tmp_path.iterdir()) == []


def test_the_record_says_whether_something_is_left(tmp_path: Path) -> None:
    study, home = small_study(), Home.at(tmp_path)
    record_ends(study, home)
    assert not wants_ray(study, home, retry_lost=False)
    more = small_study(phases={"stability": {"draws": 5, "epochs": 2}})
    assert wants_ray(more, home, retry_lost=False)


def test_lost_trials_are_left_where_they_are_to_be_trained_again(tmp_path: Path) -> None:
    study, home = small_study(), Home.at(tmp_path)
    record_ends(study, home, "lost")
    assert not wants_ray(study, home, retry_lost=False)
    assert wants_ray(study, home, retry_lost=True)


def test_nothing_is_started_for_a_study_that_runs_or_is_damaged(tmp_path: Path) -> None:
    study, home = small_study(), Home.at(tmp_path)
    with locked(home.study(study.name)):
        assert not wants_ray(study, home, retry_lost=False)
    assert wants_ray(study, home, retry_lost=False)
    home.study(study.name).record.write_text("no record")
    assert not wants_ray(study, home, retry_lost=False)


def test_a_users_dataset_is_loaded_before_ray_starts(tmp_path: Path) -> None:
    ss.register_dataset("mine")(lambda: None)
    study = small_study(dataset={"name": "mine"})
    assert not wants_ray(study, Home.at(tmp_path), retry_lost=False)


@pytest.mark.parametrize(("path", "wanted"), [("here", True), ("nowhere", False), ("s3://bucket/data", True)])
def test_data_that_is_not_there_is_not_waited_for(tmp_path: Path, path: str, wanted: bool) -> None:
    (tmp_path / "here").mkdir()
    place = path if "://" in path else str(tmp_path / path)
    study = small_study(dataset={"name": "imagefolder", "path": place})
    assert wants_ray(study, Home.at(tmp_path / "home"), retry_lost=False) == wanted


def test_ray_begins_before_the_data_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def check_data(*_: object) -> None:
        order.append("data")
        raise StudyError("no data.")

    monkeypatch.setattr(EarlySession, "begin", lambda _: order.append("Ray"))
    monkeypatch.setattr(sys.modules[run_study.__module__], "check_data", check_data)
    with pytest.raises(StudyError, match="no data"):
        run_here(small_study(), tmp_path)
    assert order == ["Ray", "data"]
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_is_refused_before_ray_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EarlySession, "begin", lambda _: pytest.fail("Ray was asked for"))
    result = CliRunner().invoke(main, ["run", "--home", str(tmp_path / "home"), "--storage", "nothing://x"])
    assert result.exit_code == 1
    assert "nothing://x" in result.stderr
    assert list(tmp_path.iterdir()) == []


def run_python(script: str, *arguments: str, **variables: str) -> list[str]:
    """The lines that a script prints in a process without a Ray of its own; nothing of its session runs on."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **variables},
        start_new_session=True,
    )
    output, errors = process.communicate()
    wait_for_end(process.pid)
    assert process.returncode == 0, errors
    return output.splitlines()


NO_CLUSTER = """
from stablesweep.early_session import EarlySession
from stablesweep.errors import StablesweepError
with EarlySession() as ray:
    ray.begin()
    print("beside")
    for _ in range(2):
        try:
            ray.wait()
        except StablesweepError as error:
            print(error)
with EarlySession() as ray:
    ray.begin()
"""


def test_why_ray_did_not_start_is_raised_where_it_is_waited_for() -> None:
    beside, *errors = run_python(NO_CLUSTER, RAY_ADDRESS="127.0.0.1:9")
    assert beside == "beside"
    assert len(errors) == 2
    assert all("RAY_ADDRESS=127.0.0.1:9" in error for error in errors)


TWO_IN_A_ROW = """
import ray
from stablesweep.early_session import EarlySession
with EarlySession() as early:
    early.begin()
print("left", ray.is_initialized())
with EarlySession() as early:
    early.wait()
    early.begin()
    print("waited", ray.get(ray.remote(num_cpus=0)(lambda: 7).remote()))
    early.end()
    print("ended", ray.is_initialized())
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_two_in_a_row_of_which_the_first_is_left_before_it_has_started() -> None:
    assert run_python(TWO_IN_A_ROW) == ["left False", "waited 7", "ended False"]


COORDINATOR = """
import sys, time
import ray
import stablesweep.early_session
from stablesweep.early_session import EarlySession
if sys.argv[1:] == ["fails"]:
    stablesweep.early_session.HEAD = {"node:of nobody": object()}
with EarlySession() as early:
    early.wait()
    until = time.monotonic() + 60
    found = []
    while not found and time.monotonic() < until and sys.argv[1:] != ["fails"]:
        found = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]
        time.sleep(0.1)
    print(found, ray.get(ray.remote(num_cpus=0)(lambda: 7).remote()))
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_ray_trains_coordinator_is_there_before_anything_trains() -> None:
    assert run_python(COORDINATOR) == ["['AutoscalingCoordinator'] 7"]


@pytest.mark.slow
@pytest.mark.cluster
def test_a_coordinator_that_cannot_be_started_leaves_ray_as_it_is() -> None:
    assert run_python(COORDINATOR, "fails") == ["[] 7"]


@pytest.mark.slow
@pytest.mark.cluster
def test_an_arm_that_does_not_fit_the_data_is_one_sentence_and_leaves_no_ray_behind(tmp_path: Path) -> None:
    file, log = tmp_path / "study.yaml", tmp_path / "log"
    values = {**SMALL, "dataset": {"name": "digits", "image_size": 30}}
    file.write_text(yaml.safe_dump(values))
    process = start_command("run", "study.yaml", "--home", "home", folder=tmp_path, log=log)
    assert process.wait() == 2
    assert session(process.pid) == []
    (sentence,) = log.read_text().splitlines()
    assert sentence.startswith("Error: study.yaml: ")
    assert "patch" in sentence
    assert not (tmp_path / "home").exists()
