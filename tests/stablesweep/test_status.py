"""`status` of a study of which trials failed and were lost, from its ledger and record alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from stablesweep.cli import main
from stablesweep.home import Home
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.messages import Message, TrialEnded
from stablesweep.record import Record
from tests.mlflow_server import story
from tests.support import small_study

DRAWS = 10


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


def ends(home: Home, *given: tuple[str, str]) -> None:
    """Let the first trials of the study end so (status and reason), and the others complete."""
    folder = home.study("small")
    folder.path.mkdir(parents=True)
    study = small_study(phases={"stability": {"draws": DRAWS, "epochs": 1}})
    trials = to_trials(write_ledger(folder.ledger, study))
    record = Record(folder.record)
    for place, trial in enumerate(trials):
        status, reason = given[place] if place < len(given) else ("completed", "")
        messages: list[Message] = story(trial, 1, status)
        assert isinstance(messages[-1], TrialEnded)
        record.apply([*messages[:-1], replace(messages[-1], reason=reason or None)])
    record.close()


def status_of(home: Home) -> list[str]:
    shown = CliRunner().invoke(main, ["status", "small", "--home", str(home.path)])
    assert shown.exit_code == 0, shown.output
    return shown.output.splitlines()


def test_each_reason_is_said_once_with_what_to_do(home: Home) -> None:
    ends(home, *[("failed", "ValueError: no")] * 2, *[("lost", "the node went away")] * (DRAWS - 1))
    lines = status_of(home)
    found = lines.index(f"{DRAWS - 1} lost (2 arms): the node went away")
    assert lines[found + 1] == "2 failed (vit_c_micro/sgd): ValueError: no"
    assert lines[found + 2] == "`run --retry-lost` trains what was lost again."


def test_many_reasons_and_long_ones_are_cut(home: Home) -> None:
    ends(home, *[("failed", f"ValueError: {number} {'x' * 500}\x1b[2J") for number in range(8)])
    lines = [line for line in status_of(home) if "failed (" in line]
    assert len(lines) == 5
    assert all(len(line) < 200 and "\x1b" not in line for line in lines)
    assert "and 3 more reasons; the report lists them" in status_of(home)
    assert not any("--retry-lost" in line for line in status_of(home))


def test_a_study_in_which_nothing_went_wrong_says_nothing(home: Home) -> None:
    ends(home, ("diverged", "loss is not finite"))
    assert not any("failed (" in line or "lost (" in line or "not finite" in line for line in status_of(home))
