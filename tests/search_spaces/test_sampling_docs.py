"""What docs/samplers.md says and shows."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from search_spaces import NON_ADAPTIVE, SearchSpace, Uniform, adaptive_sampler_names, grid_points, require_sampler

TEXT = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def names_in_table(title: str) -> set[str]:
    """The names in the first column of the table that follows a title."""
    table = TEXT.partition(f"\n## {title}\n")[2].partition("\n###")[0].partition("\n```")[0]
    return set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table, flags=re.MULTILINE))))


def test_the_tables_name_every_sampler() -> None:
    assert names_in_table("For an EDF") == set(NON_ADAPTIVE)
    assert names_in_table("For a search") == set(adaptive_sampler_names())


def test_the_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs_samplers.py").write_text("".join(blocks("python")), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    program = importlib.import_module("docs_samplers")
    assert all(set(setting) == {"lr", "weight_decay"} for setting in [*program.settings, *program.grid, *program.batch])


def test_the_study_files_samplers_are_known() -> None:
    (text,) = blocks("yaml")
    phases = yaml.safe_load(text)["phases"]
    require_sampler(phases["search"]["sampler"])
    assert phases["stability"]["sampler"] in NON_ADAPTIVE


def test_a_grid_over_three_dimensions_leaves_the_band() -> None:
    space = SearchSpace({name: Uniform(0.0, 1.0) for name in "abc"})
    errors = [point["a"] for point in grid_points(space, 10)]
    distance = stats.kstest(errors, stats.uniform.cdf).statistic
    assert distance == pytest.approx(1 / (2 * 10))
    assert distance > np.sqrt(np.log(2 / 0.05) / (2 * 1000))
