"""Two thousand trials that train nothing through the real path, while workers die at random.

Slow: some three minutes, most of them starts of processes: five packs, and one more start for each death.
"""

import os
import random
import shutil
import signal
import statistics
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

import stablesweep as ss
from dashboards import tags
from stablesweep.home import Home
from stablesweep.status import read_states
from tests.faults.harness import WORKER
from tests.faults.processes import session
from tests.support import start_command

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

NOOP = Path(__file__).with_name("noop.py")
"""Copied, never imported here: its trainable would be registered in the process of the tests."""
TRIALS = 2000
EPOCHS = 6
KILLS = 4
PACKS = 5
MOST_GROWTH_MB = 60.0
"""Of the driver, in which the recorder's threads run, from the first pack's results to those before the last. All results together take a
fraction."""
STUDY: dict[str, Any] = {
    "name": "soak",
    "imports": ["noop"],
    "trainable": "noop",
    "arms": ["none/none"],
    "space": {"lr": {"log_uniform": [1e-3, 1.0]}},
    "phases": {"stability": {"draws": TRIALS, "epochs": EPOCHS}},
    "pack": {
        "size": TRIALS // PACKS,
        # At most two packs at a time on any machine: their results come one after the other.
        "cpus": ((os.cpu_count() or 1) + 1) // 2,
        "checkpoint_every_s": 0,
        "max_failures": KILLS,
    },
}


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def training_worker(driver: int, chance: random.Random) -> int | None:
    """A process that trains a pack now."""
    workers = [one.pid for one in session(driver) if WORKER in one.title]
    return chance.choice(workers) if workers else None


def watch(process: subprocess.Popen[bytes], home: Home, log: Path) -> tuple[int, list[tuple[int, float]]]:
    """Kill workers now and then; how many, and over time how many trials were finished and what the driver held, MB."""
    chance, killed, held = random.Random(0), 0, []
    next_kill = time.monotonic() + 5
    while process.poll() is None:
        states = read_states(home, "soak").values()
        done = sum(state.status == "completed" for state in states)
        with suppress(OSError):
            held.append((done, resident_mb(process.pid)))
        if killed < KILLS and time.monotonic() > next_kill and any(state.status == "running" for state in states):
            victim = training_worker(process.pid, chance)
            if victim is not None:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed += 1
                next_kill = time.monotonic() + chance.uniform(2, 10)
        time.sleep(2)
    assert process.returncode == 0, log.read_text()
    return killed, held


def test_two_thousand_trials_none_lost_none_twice(tmp_path: Path) -> None:
    shutil.copy(NOOP, tmp_path)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    home, log = Home.at(tmp_path / "home"), tmp_path / "log"
    process = start_command("run", "study.yaml", "--home", str(home.path), folder=tmp_path, log=log)
    try:
        killed, held = watch(process, home, log)
    finally:
        for one in session(process.pid):
            one.kill()
    assert killed == KILLS
    assert "Traceback" not in log.read_text()

    results = ss.load("soak", home.path)
    assert Counter(results.trials["status"].to_pylist()) == {"completed": TRIALS}
    for row in results.trials.to_pylist():
        assert row["error"] == 100 * row["lr"] / EPOCHS
    assert results.curves.num_rows == TRIALS * EPOCHS

    runs = mlflow.MlflowClient(home.tracking_uri).search_runs(
        [results.record.experiment_id], f"tags.`{tags.ROLE}` = 'trial'", max_results=2 * TRIALS
    )
    assert sorted(run.data.tags[tags.KEY] for run in runs) == results.trials["key"].to_pylist()

    # Before the first results all is still being imported, and after the last ones comes the report.
    levels = sorted({done for done, _ in held if 0 < done < TRIALS})
    assert len(levels) >= 2
    medians = {level: statistics.median(mb for done, mb in held if done == level) for level in levels}
    assert medians[levels[-1]] - medians[levels[0]] < MOST_GROWTH_MB, medians
