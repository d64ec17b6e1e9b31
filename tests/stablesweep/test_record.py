import sqlite3
import threading
from pathlib import Path

import pytest

from stablesweep.errors import StablesweepError
from stablesweep.messages import EpochDone, SampleSkipped, TrialEnded, TrialStarted
from stablesweep.record import Published, Record


def started(key: str, pack: str = "p0", at: float = 100.0) -> TrialStarted:
    return TrialStarted(key=key, pack=pack, started=at)


def epoch(key: str, number: int, error: float = 50.0) -> EpochDone:
    return EpochDone(key=key, epoch=number, train_loss=1.0, error=error, lr=0.1, seconds=2.0)


def ended(key: str, status: str = "completed", error: float | None = 5.0) -> TrialEnded:
    return TrialEnded(key=key, status=status, error=error, best_error=4.0, epochs_done=2, seconds=4.0)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "deep" / "record.db")


def test_a_trial_goes_from_running_to_its_result(record: Record) -> None:
    record.apply([started("a"), epoch("a", 1), epoch("a", 2)])
    (state,) = record.trials()
    assert (state.status, state.last_epoch, state.published) == ("running", 2, "")
    record.apply([ended("a")])
    (state,) = record.trials()
    assert (state.status, state.error, state.best_error, state.seconds) == ("completed", 5.0, 4.0, 4.0)


def test_a_result_is_written_once(record: Record) -> None:
    record.apply([started("a"), epoch("a", 1), ended("a")])
    record.apply([started("a", pack="p9", at=999.0), epoch("a", 1, 1.0), epoch("a", 2, 1.0), ended("a", error=1.0)])
    (state,) = record.trials()
    assert (state.pack, state.started, state.error, state.last_epoch) == ("p0", 100.0, 5.0, 1)
    assert [row.error for row in record.epochs(["a"])] == [50.0]


def test_a_continued_trial_keeps_its_start_and_repeats_nothing(record: Record) -> None:
    record.apply([started("a"), epoch("a", 1)])
    record.pause()
    assert record.trials()[0].status == "pending"
    record.apply([started("a", pack="p1", at=500.0), epoch("a", 1), epoch("a", 2)])
    (state,) = record.trials()
    assert (state.status, state.pack, state.started, state.last_epoch) == ("running", "p1", 100.0, 2)
    assert len(record.epochs(["a"])) == 2


def test_messages_are_written_all_or_none(record: Record) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        record.apply([started("a"), epoch("a", None)])  # type: ignore[arg-type]
    assert record.trials() == []


def test_lost_trials_alone_can_be_opened_again(record: Record) -> None:
    for key, status in [("a", "completed"), ("b", "diverged"), ("c", "failed"), ("d", "lost")]:
        record.apply([started(key), ended(key, status, 5.0 if status == "completed" else None)])
    assert record.reopen_lost() == 1
    assert [state.status for state in record.trials()] == ["completed", "diverged", "failed", "pending"]


def test_another_tracking_store_gets_everything_again(record: Record) -> None:
    record.publish_to("study-run", {})
    record.apply([started("a"), started("b")])
    record.note_published([Published(key="a", run_id="run-a", status="completed", epoch=2)])
    record.set_curves_published("p0", 2)
    record.publish_to("study-run", {"a": "run-a", "b": "run-b"})
    states = {state.key: state for state in record.trials()}
    assert (states["a"].published, states["b"].run_id, states["b"].published) == ("completed", "run-b", "")
    record.apply([ended("a"), ended("b")])
    assert record.packs_without_curves() == {}
    record.publish_to("other-run", {})
    assert all(state.run_id is None and state.published == "" for state in record.trials())
    assert record.packs_without_curves() == {"p0": ["a", "b"]}


def test_unpublished_are_those_of_which_mlflow_lacks_something(record: Record) -> None:
    record.apply([started(key) for key in "abcd"])
    record.apply([epoch("a", 1), epoch("b", 1), ended("c"), ended("d")])
    assert [state.key for state in record.unpublished()] == ["a", "b", "c", "d"]
    record.note_published(
        [
            Published(key="a", run_id="run-a", status="running", epoch=1),
            Published(key="b", run_id="run-b", status="running", epoch=0),
            Published(key="c", run_id="run-c", status="running", epoch=0),
            Published(key="d", run_id="run-d", status="completed", epoch=0),
        ]
    )
    assert [state.key for state in record.unpublished()] == ["b", "c"]
    record.apply([epoch("a", 2)])
    unpublished, trials = record.unpublished(), record.trials()
    assert unpublished == trials[:3]
    assert [(state.last_epoch, state.published_epoch, state.run_id) for state in unpublished[:2]] == [
        (2, 1, "run-a"),
        (1, 0, "run-b"),
    ]
    record.pause()
    assert [state.status for state in record.unpublished()] == ["pending", "pending", "completed"]


def test_curves_are_due_when_all_trials_of_a_pack_have_ended(record: Record) -> None:
    record.apply([started("a"), started("b"), started("c", pack="p1"), ended("a"), ended("c", "lost", None)])
    assert record.packs_without_curves() == {"p1": ["c"]}
    record.apply([ended("b")])
    assert record.packs_without_curves() == {"p0": ["a", "b"], "p1": ["c"]}
    record.set_curves_published("p0", 2)
    assert record.packs_without_curves() == {"p1": ["c"]}
    # A trial that a later pack took over makes the file that is there one of another number of trials.
    record.apply([started("d"), ended("d")])
    assert record.packs_without_curves() == {"p0": ["a", "b", "d"], "p1": ["c"]}


def test_two_threads_write_the_same_file(record: Record) -> None:
    record.apply([started("a")])

    def write(offset: int) -> None:
        own = Record(record.path)
        for number in range(50):
            own.apply([epoch("a", offset + number)])
        own.close()

    threads = [threading.Thread(target=write, args=(offset,)) for offset in (1, 51)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(record.epochs(["a"])) == 100


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StablesweepError, match="move it away") as error:
        Record(path)
    assert str(path) in str(error.value)


def test_a_negative_zero_is_no_damage(record: Record) -> None:
    zero = EpochDone(key="a", epoch=1, train_loss=-0.0, error=-0.0, lr=-0.0, seconds=-0.0)
    end = TrialEnded(key="a", status="completed", error=-0.0, best_error=-0.0, epochs_done=1, seconds=-0.0)
    record.apply([started("a"), zero, end])
    record.close()
    again = Record(record.path)
    (state,) = again.trials()
    assert (state.status, state.error, state.best_error, state.seconds) == ("completed", 0.0, 0.0, 0.0)
    (row,) = again.epochs(["a"])
    assert (row.train_loss, row.error, row.lr, row.seconds) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("text", ["x\ud800y", "x\x00y", "x\x1by", "x\u202ey"])
def test_a_text_that_no_file_can_hold_or_a_terminal_obeys(record: Record, text: str) -> None:
    end = TrialEnded(key="a", status="failed", reason=f"ValueError: {text}")
    record.apply([started("a"), end, SampleSkipped(problem=f"{text}.png: cannot be decoded")])
    record.close()
    again = Record(record.path)
    assert [state.reason for state in again.trials()] == ["ValueError: x\ufffdy"]
    assert again.skipped_samples() == ["x\ufffdy.png: cannot be decoded"]


def test_an_epoch_of_no_trial_is_damage(record: Record) -> None:
    record.apply([started("a"), epoch("a", 1), epoch("a", 2), ended("a")])
    record.close()
    with sqlite3.connect(record.path) as connection:
        connection.execute("UPDATE epochs SET key = 'q' WHERE epoch = 2")
    with pytest.raises(StablesweepError, match=r"2 epochs are there, and its trials have 1\); move it away"):
        Record(record.path)


def test_a_file_that_cannot_be_opened_is_not_to_be_moved_away(tmp_path: Path) -> None:
    (tmp_path / "record.db").mkdir()
    with pytest.raises(StablesweepError, match=r"record\.db: .*unable to open database file.*make room") as error:
        Record(tmp_path / "record.db")
    assert "move it away" not in str(error.value)


def test_the_file_is_plain_sqlite(record: Record) -> None:
    record.apply([started("a")])
    with sqlite3.connect(record.path) as connection:
        assert connection.execute("SELECT key, status FROM trials").fetchall() == [("a", "running")]
