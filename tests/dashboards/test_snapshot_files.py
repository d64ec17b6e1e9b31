"""The local copy on the disk: damaged, of something else, not to be written, used by two processes."""

import multiprocessing
import shutil
import warnings
from pathlib import Path

import pytest

from dashboards.tracking.snapshot import Snapshot, default_folder
from dashboards.tracking.study import read_study
from tests.dashboards.rounds import EPOCHS, Rounds, check, same


@pytest.mark.parametrize("part", ["state.json", "runs", "ledger", "packs", "histories", "trials", "curves"])
@pytest.mark.parametrize("damage", ["empty", "flipped", "missing"])
def test_a_damaged_copy_is_thrown_away(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path, part: str, damage: str
) -> None:
    for key in rounds.keys[:4]:
        rounds.touch(key, "completed", EPOCHS)
    rounds.log_pack(rounds.keys[0])
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    folder = next((tmp_path / "copies").iterdir())
    path = next(folder.glob(f"{part}*"))
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2 if part == "state.json" else 20
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(b"" if damage == "empty" else flipped)
    fresh = Snapshot(tracking_uri, "demo", tmp_path / "copies")
    if (part, damage) == ("state.json", "missing"):
        found = fresh.refresh()
    else:
        with pytest.warns(UserWarning, match="this copy of study 'demo' cannot be used") as caught:
            found = fresh.refresh()
        assert caught[0].filename == __file__
    same(found, read_study(tracking_uri, "demo"))
    assert fresh.generation == snapshot.generation
    same(Snapshot(tracking_uri, "demo", tmp_path / "copies").refresh(), found)


def test_a_copy_of_another_server_or_version_is_thrown_away(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(snapshot, tracking_uri, "demo")
    elsewhere = tmp_path / "elsewhere.db"
    shutil.copy(tmp_path / "mlflow.db", elsewhere)
    with pytest.warns(UserWarning, match="its tracking is 'sqlite:"):
        Snapshot(f"sqlite:///{elsewhere}", "demo", tmp_path / "copies").refresh()
    monkeypatch.setattr("dashboards.tracking.snapshot_files.FORMAT", 3)
    with pytest.warns(UserWarning, match="its format is 2, not 3"):
        Snapshot(f"sqlite:///{elsewhere}", "demo", tmp_path / "copies").refresh()


def test_a_copy_that_cannot_be_written_is_said(rounds: Rounds, tracking_uri: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    snapshot = Snapshot(tracking_uri, "demo", tmp_path / "file")
    with pytest.warns(UserWarning, match="cannot be written"):
        found = snapshot.refresh()
    same(found, read_study(tracking_uri, "demo"))
    assert snapshot.refresh() is found


def test_only_what_changed_is_written(rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.log_pack(rounds.keys[0])
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    folder = next((tmp_path / "copies").iterdir())
    before = {path.name.split("-")[0]: path.name for path in folder.glob("*.parquet")}
    assert set(before) == {"runs", "ledger", "packs", "histories", "trials", "curves"}
    rounds.touch(rounds.keys[1], "running", 0)
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    after = {path.name.split("-")[0]: path.name for path in folder.glob("*.parquet")}
    assert {part for part in before if before[part] != after[part]} == {"runs", "trials", "histories"}
    assert {path.name for path in folder.iterdir()} == {*after.values(), "state.json", ".lock"}


def _refresh_often(uri: str, folder: str, times: int) -> None:
    warnings.simplefilter("error", UserWarning)
    for _ in range(times):
        Snapshot(uri, "demo", Path(folder)).refresh()


def test_two_processes_at_once(rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_refresh_often, args=(tracking_uri, str(tmp_path / "copies"), 4)) for _ in range(2)
    ]
    for process in others:
        process.start()
    number = 0
    while any(process.is_alive() for process in others):
        key = rounds.keys[number % len(rounds.keys)]
        rounds.touch(key, "completed" if number % 3 else "running", 1 + number % EPOCHS)
        rounds.announce()
        number += 1
    for process in others:
        process.join()
    assert [process.exitcode for process in others] == [0, 0]
    check(snapshot, tracking_uri, "demo")
    check(Snapshot(tracking_uri, "demo", tmp_path / "copies"), tracking_uri, "demo")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    uri = "postgresql://me:secret@db.example/mlflow"
    assert default_folder(uri).parent == tmp_path / "stablesweep" / "snapshots"
    assert default_folder(uri) == default_folder(uri.replace("secret", "changed"))
    assert default_folder(uri) != default_folder(uri.replace("mlflow", "other"))
    monkeypatch.chdir(tmp_path)
    assert default_folder("sqlite:///mlflow.db") == default_folder(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_folder(uri).parent == Path("/home/somebody/.cache/stablesweep/snapshots")
