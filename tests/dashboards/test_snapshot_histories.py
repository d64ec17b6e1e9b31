"""The local copy equals what is read in full, after any history: SQLite, a server, PostgreSQL."""

import random
from pathlib import Path

import pytest

from dashboards import quiet_mlflow, tags
from dashboards.tracking import search
from dashboards.tracking.snapshot import Snapshot
from tests.dashboards.postgres import postgres_server
from tests.dashboards.rounds import EPOCHS, HARDWARE, Rounds, check, purge
from tests.mlflow_server import Server

KINDS = ("start", "start", "epoch", "epoch", "end", "end", "restart", "delete", "restore", "purge", "other", "warn")
"""What can happen to a study; the first three twice as often as the others."""


def candidates(rounds: Rounds) -> dict[str, list[str]]:
    """By kind the trials or runs that it can happen to now."""
    running = [key for key, (status, _) in rounds.state.items() if status == "running"]
    ended = [key for key, (status, _) in rounds.state.items() if status != "running"]
    deleted = sorted(rounds.deleted)
    return {
        "start": [key for key in rounds.keys if key not in rounds.state],
        "epoch": running,
        "end": running,
        "restart": [key for key in ended if rounds.state[key][0] in ("lost", "failed")],
        "delete": ended,
        "restore": deleted,
        "purge": deleted,
        "other": [rounds.study_run],
        "warn": sorted(rounds.state),
    }


def random_step(rounds: Rounds, store: str, choice: random.Random) -> str:
    """One thing that happens to a study, of those that can happen now; returns what."""
    pick = choice.choice
    possible = candidates(rounds)
    what = pick([kind for kind in KINDS if possible[kind]])
    one = pick(possible[what])
    if what == "start":
        for key in choice.sample(possible[what], min(len(possible[what]), choice.randint(1, 3))):
            rounds.touch(key, "running", 0)
    elif what == "epoch":
        for key in possible[what]:
            rounds.touch(key, "running", min(rounds.state[key][1] + 1, EPOCHS))
    elif what == "end":
        status = pick(["completed", "completed", "diverged", "failed", "lost", "pruned"])
        rounds.touch(one, status, EPOCHS if status == "completed" else rounds.state[one][1])
        if choice.random() < 0.6:
            rounds.log_pack(one)
    elif what == "restart":
        rounds.touch(one, "running", 0)
    elif what == "delete":
        run_id = rounds.delete(one)
        if choice.random() < 0.3:
            del rounds.deleted[run_id]
            purge(store, run_id)
    elif what == "restore":
        rounds.client.restore_run(one)
        key = rounds.deleted.pop(one)
        if key not in rounds.runs:
            data = rounds.client.get_run(one).data
            rounds.runs[key] = one
            rounds.state[key] = data.tags[tags.STATUS], int(data.metrics.get(tags.EPOCHS_DONE, 0))
    elif what == "purge":
        del rounds.deleted[one]
        purge(store, one)
    elif what == "other":
        rounds.client.set_tag(one, tags.HARDWARE, HARDWARE)
        if rounds.draws < 12:
            rounds.extend(1)
    elif choice.random() < 0.4:
        rounds.damage_pack(one)
    else:
        # The ledger has none of the second kind.
        rounds.another_run(pick([one, f"{one}/0"]))
    # Not twice in a row: a run that was touched by two dying publishers is seen when a third one ends its round.
    if what in ("other", "warn") or rounds.number > rounds.announced + 1 or choice.random() < 0.7:
        rounds.announce()
        return what
    # The publisher dies; the next one takes the next number that nobody had.
    rounds.number = rounds.highest + 1
    return f"{what}, cut off"


def random_history(uri: str, store: str, folder: Path, study: str, steps: int, *, numbered: bool = True) -> None:
    choice = random.Random(study)
    with quiet_mlflow():
        rounds = Rounds(uri, folder / "writer", study, numbered=numbered)
        snapshot = Snapshot(uri, study, folder / "copies")
        done = []
        for step in range(steps):
            done += [random_step(rounds, store, choice) for _ in range(choice.randint(1, 3))]
            if step % 5 == 4:
                # A new process with what is on the disk.
                snapshot = Snapshot(uri, study, folder / "copies")
            try:
                check(snapshot, uri, study)
            except AssertionError as error:
                raise AssertionError(f"after {done}") from error
    assert len({what.split(",")[0] for what in done}) >= min(8, steps // 3)


@pytest.mark.parametrize("study", ["one", "a/b <i>three</i>"])
def test_equal_to_a_full_read_after_every_step(tracking_uri: str, tmp_path: Path, study: str) -> None:
    random_history(tracking_uri, tracking_uri, tmp_path, study, steps=20)


def test_a_study_without_numbers_is_read_in_full(tracking_uri: str, tmp_path: Path) -> None:
    random_history(tracking_uri, tracking_uri, tmp_path, "older version", steps=8, numbered=False)


def test_small_pages(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    random_history(tracking_uri, tracking_uri, tmp_path, "pages", steps=10)


def test_equal_through_a_server(tracking_uri: str, tmp_path: Path) -> None:
    server = Server(tmp_path, store=tracking_uri)
    try:
        server.start()
        random_history(server.uri, tracking_uri, tmp_path, "served", steps=7)
    finally:
        server.kill()


def test_equal_on_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow puts artifacts under the working folder unless a server says otherwise.
    monkeypatch.chdir(tmp_path)
    with postgres_server(tmp_path / "postgres.log") as store:
        random_history(store, store, tmp_path, "postgres", steps=8)
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "copies").rglob("*") if path.is_file())
    assert b"secret" not in on_disk
