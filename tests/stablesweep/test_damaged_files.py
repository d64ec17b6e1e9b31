"""A ledger and a record that were truncated, emptied, overwritten or changed by a bit: refused, and restored. No Ray."""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result

import stablesweep as ss
from dashboards.tables import result_columns
from stablesweep.errors import LedgerError, StablesweepError
from stablesweep.home import Home
from stablesweep.ledger import read_ledger, write_ledger
from stablesweep.record import Record
from stablesweep.trials import plan_trials
from tests.finished_study import call
from tests.full_disk import files_in, fill, small_disk
from tests.mlflow_server import story
from tests.support import small_study

RESULT = ["key", "status", "error", "best_error", "epochs_done", "seconds", "reason"]


@pytest.fixture
def home(finished: Home) -> Iterator[Home]:
    """A home with a finished study, whose files may be damaged."""
    files = [finished.study("done").ledger, finished.study("done").record]
    kept = [file.read_bytes() for file in files]
    yield finished
    for file, content in zip(files, kept, strict=True):
        file.write_bytes(content)


def study_file(home: Home) -> str:
    return str(home.study("done").study_file)


def damaged(content: bytes) -> dict[str, bytes]:
    """What may have become of a file."""
    middle, changed = len(content) // 2, bytearray(content)
    changed[content.find(b"vit_c")] ^= 4
    return {
        "emptied": b"",
        "one byte": content[:1],
        "cut in the middle": content[:middle],
        "cut by a byte": content[:-1],
        "zeros": bytes(len(content)),
        "text": b"this is no ledger\n" * 100,
        "a bit": bytes(changed),
    }


def refused(result: Result, path: Path) -> None:
    """One sentence that names the file."""
    assert result.exit_code in (1, 2), result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stderr.startswith(f"Error: {path}: ")


@pytest.mark.parametrize("kind", damaged(b"abc"))
def test_a_damaged_ledger_is_refused_by_all_that_need_it(home: Home, kind: str) -> None:
    ledger = home.study("done").ledger
    ledger.write_bytes(damaged(ledger.read_bytes())[kind])
    found = ledger.read_bytes()
    for command, study in (("run", study_file(home)), ("status", "done"), ("plan", study_file(home))):
        result = call(home, command, study)
        refused(result, ledger)
        assert "mlflow artifacts download --run-id" in result.stderr
    assert call(home, "list").exit_code == 2
    assert ledger.read_bytes() == found


def test_the_command_in_the_message_restores_the_ledger(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = home.study("done").ledger
    content = ledger.read_bytes()
    ledger.write_bytes(content[:1000])
    before = result_columns(ss.load("done", home.path).trials)
    _, command, _ = call(home, "status", "done").stderr.split("`")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert ledger.read_bytes() == content
    again = call(home, "run", study_file(home))
    assert again.exit_code == 0, again.output
    assert "Nothing to train: all 12 trials" in again.output
    # The study file of this home has its hyperparameters in another order.
    assert result_columns(ss.load("done", home.path).trials).select(before.column_names).equals(before)


def test_a_password_of_the_tracking_server_is_not_in_the_message(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = home.study("done").ledger
    ledger.write_bytes(b"")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example")
    said = call(home, "status", "done").stderr
    assert "secret" not in said
    assert "`mlflow artifacts download --run-id" in said


def test_a_ledger_without_a_record_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    path.write_text("no ledger")
    with pytest.raises(LedgerError, match=r"restore it from the artifact ledger\.parquet of the study's run in MLflow"):
        read_ledger(path)
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.parquet"]


def test_no_changed_bit_of_a_ledger_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    table = write_ledger(path, small_study())
    content, seeded = path.read_bytes(), random.Random(0)
    noticed = 0
    for place in seeded.sample(range(len(content)), 500):
        changed = bytearray(content)
        changed[place] ^= 1 << seeded.randrange(8)
        path.write_bytes(changed)
        try:
            found = read_ledger(path)
        except LedgerError:
            noticed += 1
            continue
        assert found.equals(table), place
        assert (found.schema.metadata or {}).items() >= table.schema.metadata.items(), place
    assert noticed > 250


def test_a_ledger_of_an_earlier_version_has_no_digest_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    table = write_ledger(path, small_study())
    pq.write_table(table, path)
    assert read_ledger(path).equals(table, check_metadata=True)
    assert write_ledger(path, small_study()).equals(table, check_metadata=True)


# SQLite does without the last byte of a page that is not full.
@pytest.mark.parametrize("kind", sorted(damaged(b"abc").keys() - {"cut by a byte"}))
def test_a_damaged_record_is_refused_and_loses_no_trial(home: Home, kind: str) -> None:
    record = home.study("done").record
    content = record.read_bytes()
    damage = damaged(content)[kind]
    record.write_bytes(damage)
    for command, study in (("run", study_file(home)), ("status", "done"), ("plan", study_file(home))):
        result = call(home, command, study)
        refused(result, record)
        assert "move it away" in result.stderr
    assert record.read_bytes() == damage


def test_no_changed_bit_of_a_record_changes_a_result(tmp_path: Path) -> None:
    path, trials = tmp_path / "record.db", plan_trials(small_study())
    record = Record(path)
    for number, trial in enumerate(trials):
        record.apply(story(trial, 2, "diverged" if number == 0 else "completed", 3.0 + number))
    expected = [[getattr(state, name) for name in RESULT] for state in record.trials()]
    keys = [trial.key for trial in trials]
    reported = record.epochs(keys)
    assert len(reported) == 2 * len(trials)
    record.close()
    content, seeded = path.read_bytes(), random.Random(0)
    noticed = 0
    # Most of so small a file is empty space.
    places = [place for place, byte in enumerate(content) if byte]
    for place in seeded.sample(places, 400):
        changed = bytearray(content)
        changed[place] ^= 1 << seeded.randrange(8)
        path.write_bytes(changed)
        try:
            record = Record(path)
        except StablesweepError:
            noticed += 1
            continue
        assert [[getattr(state, name) for name in RESULT] for state in record.trials()] == expected, place
        try:
            epochs = record.epochs(keys)
        except StablesweepError:
            noticed += 1
        else:
            assert epochs == reported, place
        record.close()
    assert noticed > 100


def test_a_record_of_an_earlier_version_has_no_seals_and_is_read(tmp_path: Path) -> None:
    import sqlite3

    path, trials = tmp_path / "record.db", plan_trials(small_study())
    record = Record(path)
    record.apply(story(trials[0], 2, "completed"))
    expected = record.trials(), record.epochs([trials[0].key])
    record.close()
    with sqlite3.connect(path) as connection:
        for table in ("trials", "epochs"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN seal")
    record = Record(path)
    assert (record.trials(), record.epochs([trials[0].key])) == expected
    record.apply(story(trials[1], 2, "completed"))
    assert [state.status for state in record.trials()] == ["completed", "completed"]


@pytest.mark.faults
def test_a_record_without_room_or_permission_is_not_to_be_moved_away(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1) as disk:
        filler = fill(disk)
        with pytest.raises(StablesweepError, match=r"record\.db: .*full.*; make room on its disk") as error:
            Record(disk / "record.db")
        assert "move it away" not in str(error.value)
        assert files_in(disk) == {filler.name}
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StablesweepError, match=r"record\.db: .*; make room.* readable and writable") as error:
            Record(disk / "record.db")
        assert "move it away" not in str(error.value)


def test_a_damaged_ledger_in_mlflow_ends_a_report_with_a_sentence(home: Home) -> None:
    (artifact,) = home.path.glob("mlartifacts/done/*/artifacts/ledger.parquet")
    content = artifact.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 3] ^= 1
    before = result_columns(ss.load("done", home.path).trials)
    shutil.rmtree(home.snapshots, ignore_errors=True)
    try:
        artifact.write_bytes(changed)
        result = call(home, "report", "done")
        assert result.exit_code == 1
        assert "ledger.parquet of MLflow run" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    finally:
        artifact.write_bytes(content)
    assert result_columns(ss.load("done", home.path).trials).equals(before)
