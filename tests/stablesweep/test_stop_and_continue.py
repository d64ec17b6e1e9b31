"""Ctrl-C on the real command, and what continuing it gives."""

import os
import signal
import subprocess
from pathlib import Path

import mlflow
import pytest
import yaml

import stablesweep as ss
from dashboards import tags
from stablesweep.home import Home
from tests.support import Ran, result_table, small_study, start_command, wait_for_results

pytestmark = pytest.mark.cluster


def start(file: Path, home: Path, log: Path) -> subprocess.Popen[bytes]:
    # A checkpoint at every epoch: a stop must not lose what was trained.
    settings = ("--set", "pack.size=2", "--set", "pack.checkpoint_every_s=0")
    return start_command("run", str(file), "--home", str(home), *settings, folder=file.parent, log=log)


def two_results(statuses: list[str]) -> bool:
    return sum(status in ("completed", "diverged") for status in statuses) >= 2


def test_a_stopped_study_continues_to_the_same_bits(small: Ran, tmp_path: Path) -> None:
    file, log, home = tmp_path / "small.yaml", tmp_path / "log", Home.at(tmp_path / "home")
    file.write_text(yaml.safe_dump(small_study().to_config()))

    process = start(file, home.path, log)
    wait_for_results(process, home, "small", log, two_results)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=240) == 130, log.read_text()
    assert "run the same command again to continue" in log.read_text()
    stopped = ss.load("small", home.path).trials.to_pylist()
    finished = {row["key"]: row for row in stopped if row["status"] in ("completed", "diverged")}
    assert 2 <= len(finished) < 8, "the stop came too late to test anything"
    assert {row["status"] for row in stopped if row["key"] not in finished} == {"pending"}

    assert start(file, home.path, log).wait(timeout=400) == 0, log.read_text()
    after = ss.load("small", home.path)
    assert result_table(after).equals(result_table(small.results))
    assert after.curves.equals(small.results.curves)
    for row in after.trials.to_pylist():
        if row["key"] in finished:
            assert row == finished[row["key"]], "a finished trial was run again"

    client = mlflow.MlflowClient(home.tracking_uri)
    runs = client.search_runs([after.record.experiment_id], f"tags.`{tags.ROLE}` = 'trial'")
    assert sorted(run.data.tags[tags.KEY] for run in runs) == after.trials["key"].to_pylist()
