"""``stablesweep stop`` for a study that runs on this machine."""

import fcntl
import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stablesweep.cli import main
from stablesweep.home import Home, is_locked
from stablesweep.submission.client import Job, JobServer
from stablesweep.submission.stop import stop_job

# What a run does, without the training: it holds the lock, and stops some time after it was asked to.
RUN = """
import sys, threading, time
from stablesweep.home import Home, locked
from stablesweep.stopping import stop_on_signal

stop = threading.Event()
with locked(Home.at(sys.argv[1]).study("mine")), stop_on_signal(stop):
    print("ready", flush=True)
    stop.wait(60)
    time.sleep(float(sys.argv[2]))
print("stopped cleanly")
"""


@contextmanager
def running(home: Home, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the study, and takes so many seconds to stop."""
    command = [sys.executable, "-c", RUN, str(home.path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        yield process
    finally:
        process.kill()


def stop(home: Home, *options: str) -> Result:
    return CliRunner().invoke(main, ["stop", "mine", "--home", str(home.path), *options])


def test_it_waits_until_the_study_has_stopped(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    with running(home, seconds=2) as process:
        result = stop(home)
        assert (result.exit_code, result.output) == (0, "mine has stopped; run it again to continue.\n")
        assert not is_locked(home.study("mine"))
        assert process.communicate(timeout=30)[0] == "stopped cleanly\n"


def test_now_does_not_wait(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    with running(home, seconds=50) as process:
        assert stop(home, "--now").exit_code == 0
        output, errors = process.communicate(timeout=30)
        assert "stopped cleanly" not in output
        assert "KeyboardInterrupt" in errors


@pytest.mark.parametrize(
    ("lock", "sentence"),
    [
        ("", "does not say which process"),
        ("0", "does not say which process"),
        ("-1", "does not say which process"),
        ("{}", "does not say which process"),
        (json.dumps({"host": "another-host", "pid": 17}), "runs on another-host; stop it there"),
        (
            json.dumps({"host": socket.gethostname(), "pid": 4194304, "namespace": "x"}),
            "in another container; stop it there",
        ),
        (json.dumps({"host": socket.gethostname(), "pid": 4194304}), "cannot be asked to stop (No such process)"),
        ("4194304", "cannot be asked to stop (No such process)"),
    ],
)
def test_a_lock_that_names_no_process_of_this_machine(tmp_path: Path, lock: str, sentence: str) -> None:
    home = Home.at(tmp_path)
    folder = home.study("mine")
    folder.path.mkdir(parents=True)
    with folder.lock.open("w") as file:
        file.write(lock)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        result = stop(home)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert str(folder.lock) in result.stderr


class Asked(JobServer):
    """A job server whose study ends as soon as a job has asked it to; notes the command of that job."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def submit(
        self, submission_id: str, entrypoint: str, runtime_env: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> None:
        self.commands.append(shlex.split(entrypoint))

    def job(self, submission_id: str) -> Job:
        return study_job("SUCCEEDED", {}, {})


def study_job(status: str, metadata: Mapping[str, str], variables: Mapping[str, str]) -> Job:
    return Job(
        submission_id="x",
        status=status,
        message="",
        exit_code=None,
        submitted_ms=0,
        metadata={"stablesweep.study": "mine", **metadata},
        runtime_env={"env_vars": variables} if variables else {},
    )


@pytest.mark.parametrize(
    ("metadata", "variables", "options"),
    [
        ({}, {}, []),
        ({}, {"MLFLOW_TRACKING_URI": "http://tracking:5000"}, []),
        ({}, {"STABLESWEEP_HOME": "/by/variable"}, ["--home", "/by/variable"]),
        ({"stablesweep.home": "/kept"}, {"STABLESWEEP_HOME": "/by/variable"}, ["--home", "/kept"]),
    ],
)
def test_the_job_that_asks_looks_in_the_home_of_the_study(
    monkeypatch: pytest.MonkeyPatch, metadata: dict[str, str], variables: dict[str, str], options: list[str]
) -> None:
    monkeypatch.setattr("stablesweep.submission.stop.POLL_S", 0.0)
    server = Asked()
    assert stop_job(server, study_job("RUNNING", metadata, variables), print).ended
    assert server.commands == [["python", "-m", "stablesweep", "stop", "mine", *options]]
