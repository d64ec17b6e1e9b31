"""The recorder's thread that makes messages durable, against a real SQLite file that another process holds."""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from stablesweep import recorder as recorder_module
from stablesweep.errors import StablesweepError
from stablesweep.mailbox import Mailbox
from stablesweep.messages import Message, Remark, TrialStarted
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from stablesweep.recorder import PUBLISH_SURELY_S, SHARE, Recorder, rest_s
from tests.waiting import wait_until


class Box:
    """Messages as a mailbox gives them, without a Ray actor behind it."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.stopped = False

    def drain(self) -> list[Message]:
        """All messages since the last call."""
        messages, self.waiting = self.waiting, []
        return messages

    def stop(self) -> None:
        """Remember that the workers were asked to stop."""
        self.stopped = True


def started(key: str) -> TrialStarted:
    return TrialStarted(key=key, pack="p", started=1.0)


def start_and_lock(path: Path, box: Box, stop: threading.Event) -> tuple[Recorder, list[Message], sqlite3.Connection]:
    """A recorder that has taken one message, and another process's hold on its file."""
    Record(path).close()
    heard: list[Message] = []
    recorder = Recorder(path, cast(Publisher, None), cast(Mailbox, box), stop, heard.extend)
    recorder.start()
    box.waiting = [started("before")]
    wait_until(lambda: len(heard) == 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return recorder, heard, other


def test_a_locked_record_loses_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablesweep.record.BUSY_S", 0.1)
    box, stop = Box(), threading.Event()
    recorder, heard, other = start_and_lock(tmp_path / "record.db", box, stop)
    box.waiting = [started("a")]
    wait_until(lambda: any("results wait in memory" in one.text for one in heard if isinstance(one, Remark)))
    assert len([one for one in heard if isinstance(one, TrialStarted)]) == 1
    other.execute("COMMIT")
    box.waiting = [started("b")]
    wait_until(lambda: len([one for one in heard if isinstance(one, TrialStarted)]) == 3)
    stop.set()
    wait_until(lambda: box.stopped)
    recorder.finish()
    assert [state.key for state in Record(tmp_path / "record.db").trials()] == ["a", "b", "before"]


def test_a_record_that_stays_locked_ends_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stablesweep.record.BUSY_S", 0.1)
    monkeypatch.setattr(recorder_module, "PATIENCE_S", 1.0)
    box, stop = Box(), threading.Event()
    recorder, heard, _other = start_and_lock(tmp_path / "record.db", box, stop)
    box.waiting = [started("a")]
    stop.set()
    # Else whoever asks would wait for as long as the record is held.
    assert not recorder.flush()
    with pytest.raises(StablesweepError, match=r"record\.db: cannot be written .*run again"):
        recorder.finish()
    assert len([one for one in heard if isinstance(one, TrialStarted)]) == 1


def test_the_more_a_round_of_publishing_takes_the_longer_it_rests() -> None:
    assert rest_s(0.0, 2) == 0
    assert rest_s(0.3, 2) == pytest.approx(0.3 / (2 * SHARE))
    assert rest_s(0.3, 64) == pytest.approx(0.3 / (64 * SHARE))
    assert rest_s(1000.0, 2) == PUBLISH_SURELY_S


class Rounds:
    """A publisher that says how much its rounds take."""

    def __init__(self) -> None:
        self.rounds, self.kept, self.trials_cpu_s = 0, 0, 1000.0

    def publish(self, record: Record) -> None:
        """One more round."""
        self.rounds += 1

    def keep_claim(self) -> None:
        """One more time."""
        self.kept += 1


def test_while_it_rests_it_says_that_the_study_is_still_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "PUBLISH_EVERY_S", 0.02)
    path, publisher = tmp_path / "record.db", Rounds()
    Record(path).close()
    recorder = Recorder(
        path, cast(Publisher, publisher), cast(Mailbox, Box()), threading.Event(), lambda messages: None
    )
    recorder.start()
    wait_until(lambda: publisher.kept > 3)
    assert publisher.rounds == 1
    recorder.finish()


def test_when_nobody_keeps_results_any_more_the_workers_are_asked_to_stop(tmp_path: Path) -> None:
    path, box, stop = tmp_path / "record.db", Box(), threading.Event()
    Record(path).close()

    def listen(_: Sequence[Message]) -> None:
        raise KeyError("an error of ours")

    recorder = Recorder(path, cast(Publisher, None), cast(Mailbox, box), stop, listen)
    recorder.start()
    box.waiting = [started("a")]
    wait_until(lambda: box.stopped)
    with pytest.raises(KeyError):
        recorder.finish()


def test_a_record_that_is_damaged_meanwhile_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    path, box, stop = tmp_path / "record.db", Box(), threading.Event()
    Record(path).close()
    recorder = Recorder(path, cast(Publisher, None), cast(Mailbox, box), stop, lambda messages: None)
    recorder.start()
    wait_until(lambda: recorder._rounds > 0)
    path.write_bytes(b"no database" * 1000)
    box.waiting = [started("a")]
    wait_until(stop.is_set)
    with pytest.raises(StablesweepError, match=r"record\.db: cannot be read or written"):
        recorder.finish()
