"""The studies of the benchmark of statistics."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from analysis import ARMS, ARMS_OF, built
from made_up import made_up

from dashboards import list_studies, read_study


def arms_in(trials: pa.Table) -> int:
    return int(pc.count_distinct(trials["arm"]).as_py())


def test_each_part_has_as_many_arms_as_its_heading_says(empty_mlflow: Path, tmp_path: Path) -> None:
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    uri = built(tmp_path, 24, 2)
    (study,) = list_studies(uri)
    written, in_memory = arms_in(read_study(uri, study).trials), arms_in(made_up(24, ARMS, 2).trials)
    assert dict.fromkeys(("statistics", "report"), in_memory) | {"refresh": written} == ARMS_OF


def test_another_process_writes_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.sync.build", writer)
    assert built(tmp_path, 24, 2) != str(os.getpid())


def writer(folder: Path, trials: int, epochs: int) -> str:
    return str(os.getpid())
