"""What docs/spaces.md shows runs, and its YAML and Python say the same."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from search_spaces import SearchSpace, named_space
from search_spaces.conformance import DistributionConformance

TEXT = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(code: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A program as a module of its own, so that what it defines can be pickled."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


@pytest.mark.parametrize("title", ["Distributions", "Conditions"])
def test_yaml_and_python_make_the_same_space(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,), (code,) = blocks(section(title), "yaml"), blocks(section(title), "python")
    program = run(code, f"docs_spaces_{title.lower()}", tmp_path, monkeypatch)
    assert SearchSpace(yaml.safe_load(text)) == program.space


@pytest.mark.parametrize("number", range(len(blocks(TEXT, "python")) - 3))
def test_every_other_program_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [code for code in blocks(TEXT, "python") if "PowerLaw" not in code and "Conditional" not in code]
    assert isinstance(run(programs[number], f"docs_spaces_{number}", tmp_path, monkeypatch).space, SearchSpace)


def test_the_names_of_spaces_are_known() -> None:
    (text,) = blocks(section("The paper's spaces"), "yaml")
    assert [len(named_space(name)) for name in yaml.safe_load(text).values()] == [2, 2]


def test_a_distribution_of_the_readers_own_passes_its_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definition, test = blocks(section("A distribution of your own"), "python")
    # A kind is registered once in a process, and another test has this one.
    code = (definition + test).replace("power_law", "power_law_of_the_docs")
    case = run(code, "docs_power_law", tmp_path, monkeypatch).TestPowerLaw()
    for name in dir(DistributionConformance):
        if name.startswith("test_"):
            getattr(case, name)()
