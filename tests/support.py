"""A small study, and running it in this process."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

import stablesweep as ss
from stablesweep.home import Home
from stablesweep.run import RunOutcome, run_study

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
