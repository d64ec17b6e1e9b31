"""Packs that run out of memory: a worker's address space is limited, so that torch's allocator really fails."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import stablesweep as ss
from stablesweep.home import Home
from stablesweep.plan import make_plan
from stablesweep.status import read_states
from tests.support import result_table, start_command

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

STUDY: dict[str, Any] = {
    "name": "hungry",
    "dataset": "digits",
    "imports": ["hungry"],
    "arms": ["hungry/sgd"],
    "space": {"lr": {"around": 0.02}, "weight_decay": {"around": 1e-4}},
    "phases": {"stability": {"draws": 3, "epochs": 2}},
    "pack": {"size": 3, "spread": False},
}


def run(folder: Path, study: dict[str, Any], *, limited: bool) -> str:
    """Run the real command on a study to its end; what it printed."""
    folder.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("hungry.py"), folder)
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    (folder / "limit").unlink(missing_ok=True)
    if limited:
        (folder / "limit").touch()
    log = folder / "log"
    log.unlink(missing_ok=True)
    process = start_command("run", "study.yaml", folder=folder, log=log, STABLESWEEP_HOME=str(folder / "home"))
    assert process.wait(timeout=400) == 0, log.read_text()
    return log.read_text()


def test_a_pack_that_runs_out_of_memory_trains_in_halves_which_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run(tmp_path / "little", STUDY, limited=True)
    assert "a pack of hungry/sgd did not fit into memory; from here on its packs have at most 2 trials" in printed
    assert "Traceback" not in printed
    home = Home.at(tmp_path / "little" / "home")
    packs = {state.pack for state in read_states(home, "hungry").values()}
    assert len(packs) == 2, "three trials of which two fit"

    more = {**STUDY, "phases": {"stability": {"draws": 7, "epochs": 2}}}
    monkeypatch.syspath_prepend(str(tmp_path / "little"))
    planned = make_plan(ss.Study.model_validate(more), home)
    assert [len(pack.trials) for pack in planned.packs] == [1, 2, 1], "the first three trials have their results"

    run(tmp_path / "much", STUDY, limited=False)
    little, much = (ss.load("hungry", tmp_path / where / "home") for where in ("little", "much"))
    assert result_table(little).equals(result_table(much))
    assert little.curves.equals(much.curves)
    assert set(little.trials["status"].to_pylist()) == {"completed"}
