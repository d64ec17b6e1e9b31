"""What docs/packs.md says of settings holds: they exist, and the defaults are those that it shows."""

import re
from pathlib import Path

import pytest
import yaml

from stablesweep.study import Pack
from stablesweep.study_file import load_study
from trainables.training.fused.choice import TIMED, UNTIMED
from trainables.training.fused.members import TOLERANCE
from trainables.training.fused.updates import UPDATES

TEXT = (Path(__file__).parents[2] / "docs" / "packs.md").read_text(encoding="utf-8")
SETTINGS = re.findall(r"--set (pack\.[^ `]+)", TEXT)


def test_the_defaults_are_those_of_the_program() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    shown = yaml.safe_load(block)["pack"]
    assert shown == {name: value for name, value in Pack().model_dump().items() if name in shown}


@pytest.mark.parametrize("setting", sorted(set(SETTINGS)))
def test_a_setting_can_be_given(setting: str) -> None:
    key, _, value = setting.removeprefix("pack.").partition("=")
    assert load_study("quickstart", [setting]).pack.model_dump()[key] == yaml.safe_load(value)


def test_every_setting_of_packs_is_named() -> None:
    later = {"max_failures", "checkpoint_every_s"}  # docs/faults.md
    assert [name for name in Pack.model_fields if name not in TEXT and name not in later] == []


def test_the_figures_are_those_of_the_code() -> None:
    tolerances = [f"{value:g}".replace("e-0", "e-") for value in TOLERANCE.values()]
    assert sorted(tolerances) == ["0.001", "1e-9"]
    assert "to 1e-3 of the largest logit in float32 (computed without TF32), 1e-9 in float64" in TEXT
    assert (UNTIMED + TIMED, UNTIMED) == (4, 1)
    assert sorted(UPDATES) == ["adamw", "sgd"]
