"""Reading commands and the ledger where the disk is full: one sentence or a warning, and no half file. No Ray."""

import shutil
from pathlib import Path

import pytest
from click.testing import Result

import stablesweep as ss
from dashboards.tables import result_columns
from stablesweep.errors import StablesweepError
from stablesweep.home import Home
from stablesweep.ledger import read_ledger, write_ledger
from tests.finished_study import call
from tests.full_disk import files_in, fill, small_disk
from tests.support import small_study

pytestmark = pytest.mark.faults


def one_sentence(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr


@pytest.mark.filterwarnings("default")
def test_a_full_disk_for_copies_is_said_and_does_without(finished: Home, tmp_path: Path) -> None:
    """The copy of what MLflow has is a convenience: without room for it everything is read from MLflow."""
    expected = result_columns(ss.load("done", finished.path).trials)
    shutil.rmtree(finished.snapshots)
    with small_disk(finished.snapshots, 1) as disk:
        fill(disk)
        out = tmp_path / "trials.parquet"
        result = call(finished, "export", "done", "--out", str(out))
        assert result.exit_code == 0, result.output
        assert "the copy of study 'done' cannot be written" in result.stderr
        with pytest.warns(UserWarning, match="No space left on device"):
            assert result_columns(ss.load("done", finished.path).trials).equals(expected)
        # The lock and the folder take no room of a page; nothing else stays.
        assert {Path(name).name for name in files_in(disk)} <= {"filler", ".lock"}


def test_a_full_disk_for_the_report_leaves_the_old_one(finished: Home, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 12) as disk:
        path = disk / "report.html"
        assert call(finished, "report", "done", "--where", "draw<3", "--out", str(path)).exit_code == 0
        before = path.read_bytes()
        filler = fill(disk)
        said = one_sentence(call(finished, "report", "done", "--where", "draw<4", "--out", str(path)))
        assert str(path) in said
        assert "No space left on device" in said
        assert path.read_bytes() == before
        assert files_in(disk) == {"report.html", filler.name}


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv"])
def test_a_full_disk_for_an_export(finished: Home, tmp_path: Path, suffix: str) -> None:
    with small_disk(tmp_path / "small", 1) as disk:
        fill(disk)
        out = disk / f"trials.{suffix}"
        assert str(out) in one_sentence(call(finished, "export", "done", "--out", str(out)))
        assert files_in(disk) == {"filler"}


def test_a_full_disk_for_a_ledger_leaves_the_old_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1) as disk:
        path = disk / "studies" / "small" / "ledger.parquet"
        table = write_ledger(path, small_study())
        before = path.read_bytes()
        fill(disk)
        more = small_study(phases={"stability": {"draws": 400, "epochs": 2}})
        with pytest.raises(
            StablesweepError, match=r"ledger\.parquet: cannot be written \(.*No space left.*free some space"
        ):
            write_ledger(path, more)
        assert path.read_bytes() == before
        assert read_ledger(path).equals(table)
        assert files_in(disk) == {"filler", "studies/small/ledger.parquet"}
