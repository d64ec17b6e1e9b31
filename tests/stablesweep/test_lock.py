"""Two runs of one study in one home: the lock and what it says. Real processes, no Ray."""

import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from stablesweep.checkpoints import study_storage
from stablesweep.cli import main
from stablesweep.errors import HomeBusy, StablesweepError
from stablesweep.home import Home, StudyFolder, in_ray_job, is_locked, lock_owner, locked
from stablesweep.owner import RAY_JOB_VARIABLE, TIME_FORMAT, LockOwner
from tests.full_disk import fill, small_disk
from tests.support import SMALL

HOLD = """
import sys
from pathlib import Path
from stablesweep.home import StudyFolder, locked
with locked(StudyFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""

ENDLESS = '{"host": "a", "pid": 1e999, "since": "", "job": null}'


@contextmanager
def holder(folder: StudyFolder, **variables: str) -> "Iterator[subprocess.Popen[str]]":
    """Another process that holds the folder until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_run_names_the_first(tmp_path: Path) -> None:
    study, home = tmp_path / "small.yaml", tmp_path / "home"
    study.write_text(yaml.safe_dump(SMALL))
    folder = Home.at(home).study("small")
    with holder(folder) as first:
        owner = lock_owner(folder)
        assert owner is not None
        command = [sys.executable, "-m", "stablesweep", "run", str(study), "--home", str(home)]
        second = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    here = LockOwner.this_process()
    assert owner == replace(here, pid=first.pid, since=owner.since, instance=owner.instance)
    assert len(owner.instance) == 32
    assert owner.instance != here.instance == LockOwner.this_process().instance
    assert (
        abs(datetime.now(UTC) - datetime.strptime(owner.since, TIME_FORMAT).replace(tzinfo=UTC)).total_seconds() < 600
    )
    assert second.returncode == 2
    assert second.stdout == ""
    assert second.stderr == (
        f"Error: small: process {first.pid} on {socket.gethostname()} is running this study in {folder.path} "
        f"since {owner.since}; wait for it, stop it, or use another --home.\n"
    )
    assert sorted(path.name for path in folder.path.iterdir()) == ["run.lock"]


def test_a_ray_job_gives_its_submission_id(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    # As Ray 2.60 sets it for a job's command.
    config = {"runtime_env": {}, "metadata": {"job_submission_id": "raysubmit_7", "job_name": "raysubmit_7"}}
    with holder(folder, **{RAY_JOB_VARIABLE: json.dumps(config)}) as first:
        owner = lock_owner(folder)
        with pytest.raises(HomeBusy, match=rf"process {first.pid} on .* \(Ray job raysubmit_7\)"), locked(folder):
            pass
    assert owner is not None
    assert owner.job == "raysubmit_7"


@pytest.mark.parametrize(
    "config",
    [
        "",
        "no json",
        "[]",
        '{"metadata": null}',
        '{"metadata": {}}',
        '{"metadata": {"job_submission_id": null}}',
        '{"metadata": {"job_submission_id": 7}}',
    ],
)
def test_a_job_without_a_submission_id_has_none(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RAY_JOB_VARIABLE, config)
    assert LockOwner.this_process().job is None
    assert not in_ray_job()


def test_what_a_killed_process_left_holds_nobody_up(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    with holder(folder) as first:
        first.kill()
        first.wait()
        assert str(first.pid) in folder.lock.read_text()
        assert not is_locked(folder)
        assert lock_owner(folder) is None
        with locked(folder):
            owner = lock_owner(folder)
    assert owner is not None
    assert owner.pid == os.getpid()
    assert folder.lock.read_text() == ""
    assert lock_owner(folder) is None


@pytest.mark.parametrize("line", ["", "4711", "{", '{"host": "a"}', "\x00", ENDLESS, "[" * 100_000], ids=range(7))
def test_a_holder_that_does_not_say_who_it_is_is_refused_all_the_same(line: str, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    with holder(folder):
        folder.lock.write_text(line)
        assert lock_owner(folder) is None
        with pytest.raises(HomeBusy, match="another process is running this study"), locked(folder):
            pass


def test_asking_who_runs_a_study_keeps_no_run_from_starting(tmp_path: Path) -> None:
    folder, done = StudyFolder(tmp_path / "small"), threading.Event()
    with locked(folder):
        pass

    def ask() -> None:
        while not done.is_set():
            is_locked(folder)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(200):
            with locked(folder):
                pass
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_runs_no_study(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: int) -> None:
        raise OSError(code, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    folder = StudyFolder(tmp_path / "small")
    with pytest.raises(StablesweepError, match=r"run\.lock: cannot be locked \(No locks available\)"), locked(folder):
        pass
    assert folder.lock.exists()
    assert not is_locked(folder)
    assert lock_owner(folder) is None


def test_a_home_that_no_folder_can_be_is_named(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for path in ("~no-such-user/x", str(circle / "x")):
        shown = CliRunner().invoke(main, ["list", "--home", path])
        assert shown.exit_code == 1
        assert re.fullmatch(
            rf"Error: {re.escape(path)}: no folder can be meant \(.*\); give another path\.\n", shown.stderr
        )
        with pytest.raises(StablesweepError, match="no folder can be meant"):
            study_storage(Home.at(tmp_path).study("small"), path)


def test_a_line_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    with holder(folder):
        folder.lock.write_text('{"host": "a", "pid": 7, "since": "2026-11-21T14:05:09Z", "job": null}')
        assert lock_owner(folder) == LockOwner(host="a", pid=7, since="2026-11-21T14:05:09Z", job=None)


@pytest.mark.faults
def test_on_a_full_disk_the_lock_holds_without_its_line(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small-disk", 1) as disk:
        folder = StudyFolder(disk / "small")
        fill(disk)
        with locked(folder):
            assert folder.lock.read_text() == ""
            assert is_locked(folder)
            with pytest.raises(HomeBusy, match="another process is running this study"), locked(folder):
                pass
        assert not is_locked(folder)
