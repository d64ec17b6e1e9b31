"""Imports kept in a folder: they come back equal, whole or not at all, and stay inside it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dashboards.imports import UnusableResults, import_results, list_imports, load_import, save_import
from dashboards.statistics.costs import ArmCost
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]


@pytest.fixture
def record(tmp_path: Path) -> StudyRecord:
    path = tmp_path / "sweep.csv"
    path.write_text("draw,arm,lr,unit_lr,error\n0,m/sgd,0.1,0.25,30\n1,m/sgd,0.4,0.5,20\n0,m/lion,0.01,0.25,40\n")
    return import_results(path, name="first", sampler="random")


def _same(one: StudyRecord, other: StudyRecord) -> bool:
    return all(
        getattr(one, name).equals(getattr(other, name))
        if name in ("trials", "curves", "units")
        else getattr(one, name) == getattr(other, name)
        for name in StudyRecord.__dataclass_fields__
    )


def test_an_import_comes_back_equal(record: StudyRecord, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "imports"
    assert list_imports(folder) == []
    assert save_import(record, folder / "first", options={"sampler": "random"}) == folder / "first"
    back = load_import(folder / "first")
    assert _same(back, record)
    assert back.trials.schema.metadata == record.trials.schema.metadata
    about = json.loads((folder / "first" / "import.json").read_text())
    assert (about["study"], about["source"], about["options"]) == ("first", record.source, {"sampler": "random"})
    assert about["when"].endswith("+00:00")
    assert sorted(path.name for path in folder.iterdir()) == ["first"]
    assert list_imports(folder) == ["first"]


def test_any_record_can_be_kept(make_record: MakeRecord, tmp_path: Path) -> None:
    record = replace(make_record(), costs={"a/sgd": ArmCost(parameters=7, gpus=0.5)}, hardware="one <GPU>")
    assert _same(load_import(save_import(record, tmp_path / "quickstart")), record)


def test_an_import_is_replaced_only_if_said(record: StudyRecord, tmp_path: Path) -> None:
    save_import(record, tmp_path / "first")
    with pytest.raises(UnusableResults, match=r"there is an import of this name; .* say replace"):
        save_import(record, tmp_path / "first")
    (tmp_path / "first" / "leftover").write_text("x")
    other = replace(record, hardware="new")
    save_import(other, tmp_path / "first", replace=True)
    assert load_import(tmp_path / "first").hardware == "new"
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == [
        *("curves.parquet", "import.json", "trials.parquet", "units.parquet")
    ]


def test_nothing_but_an_import_is_replaced(record: StudyRecord, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "thesis.tex").write_text("x")
    with pytest.raises(UnusableResults, match="there is something else than an import"):
        save_import(record, tmp_path / "first", replace=True)
    assert (tmp_path / "first" / "thesis.tex").exists()


def test_what_cannot_be_written_leaves_the_old_one(record: StudyRecord, tmp_path: Path) -> None:
    save_import(record, tmp_path / "first")
    with pytest.raises(TypeError):
        save_import(record, tmp_path / "first", options={"no": object()}, replace=True)
    assert _same(load_import(tmp_path / "first"), record)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["first"]


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "", ".hidden", "a" * 81, "a\n"])
def test_names_stay_in_the_folder(record: StudyRecord, tmp_path: Path, name: str) -> None:
    with pytest.raises(UnusableResults, match="study: got"):
        save_import(replace(record, study=name), tmp_path / "imports" / name)
    assert not (tmp_path / "imports").exists()
    with pytest.raises(UnusableResults, match="study 'first' is kept in a folder of its own name"):
        save_import(record, tmp_path / "imports")


def test_damage_is_named(record: StudyRecord, tmp_path: Path) -> None:
    save_import(record, tmp_path / "first")
    with pytest.raises(UnusableResults, match=r"second: there is no import; imports beside it: first"):
        load_import(tmp_path / "second")
    about = tmp_path / "first" / "import.json"
    text = about.read_text()
    for damaged, message in (
        ("{", "damaged"),
        ('{"format": 9}', "format 9 is not known"),
        ('{"format": 1}', "damaged"),
    ):
        about.write_text(damaged)
        with pytest.raises(UnusableResults, match=message):
            load_import(tmp_path / "first")
    about.write_text(text)
    (tmp_path / "first" / "trials.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnusableResults, match=r"trials.parquet: it cannot be read"):
        load_import(tmp_path / "first")
