"""A small study, and running it in this process."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

import stablesweep as ss
from stablesweep.home import Home
from stablesweep.run import RunOutcome, run_study
from stablesweep.status import read_states

# The upper end of the learning rates is far beyond what trains: some draws diverge, as draws do.
SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "digits", "image_size": 16},
    "arms": ["vit_p_micro/adamw", "vit_c_micro/sgd"],
    "space": {
        "weight_decay": {"around": 1e-4},
        "adamw": {"lr": {"around": 4e-3}},
        "sgd": {"lr": {"log_uniform": [0.01, 1000.0]}},
    },
    "phases": {"stability": {"draws": 4, "epochs": 2}},
    "pack": {"size": 24},
}


def small_study(**changes: Any) -> ss.Study:
    return ss.Study.model_validate({**SMALL, **changes})


@dataclass(frozen=True)
class Ran:
    """A study that was run here."""

    home: Home
    outcome: RunOutcome
    output: str
    results: ss.Results


def run_here(study: ss.Study, folder: Path, **options: Any) -> Ran:
    """Run a study in this process and keep what it printed."""
    home, text = Home.at(folder), io.StringIO()
    outcome = run_study(study, home, Console(file=text, width=200), **options)
    return Ran(home=home, outcome=outcome, output=text.getvalue(), results=ss.load(study.name, folder))


def result_table(results: ss.Results) -> pa.Table:
    """What must not depend on circumstances: the trials table without run ids, packs and times."""
    from dashboards.tables import result_columns

    return result_columns(results.trials)


def start_command(*arguments: str, folder: Path, log: Path, **variables: str) -> subprocess.Popen[bytes]:
    """``stablesweep`` with these arguments in a process group of its own, as a terminal runs it."""
    clean: Mapping[str, str] = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "stablesweep", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env={**clean, **variables},
        )


def wait_for_results(
    process: subprocess.Popen[bytes], home: Home, study: str, log: Path, enough: Callable[[list[str]], bool]
) -> None:
    """Wait until the statuses in a running study's record are enough."""
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up:
        assert process.poll() is None, log.read_text()
        if enough([state.status for state in read_states(home, study).values()]):
            return
        time.sleep(0.2)
    raise AssertionError(f"no such results within 300 s: {log.read_text()}")
