"""A claim while its study runs: renewed, put back, lost to another process. A real store, no Ray."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from dashboards import tags
from dashboards.tracking.generation import digest
from dashboards.tracking.study import read_study
from stablesweep import claims, recorder
from stablesweep.claims import Claim
from stablesweep.errors import HomeBusy
from stablesweep.mailbox import Mailbox
from stablesweep.messages import Message
from stablesweep.owner import process_namespace
from tests.stablesweep.claim_store import Store, anothers, claim_there
from tests.waiting import wait_until


class Box:
    """A mailbox into which nothing is put, without a Ray actor behind it."""

    def drain(self) -> list[Message]:
        return []

    def stop(self) -> None:
        pass


def test_a_claim_is_renewed_once_a_minute_also_when_nothing_is_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = store.training()
    store.complete()
    publisher.publish(store.record)
    first, seen = store.there(), digest(read_study(store.uri, "small"))
    publisher.publish(store.record)
    assert store.there() == first
    now = time.monotonic() + claims.BEAT_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    publisher.publish(store.record)
    second = Claim.from_text(store.there())
    assert second is not None
    assert second.beat > json.loads(first)["beat"]
    assert replace(second, beat=0.0) == replace(Claim.from_text(first) or second, beat=0.0)
    publisher.publish(store.record)
    assert store.there() == second.as_text()
    # A reader sees nothing of it.
    assert digest(read_study(store.uri, "small")) == seen


def test_who_was_taken_over_stops_and_leaves_the_study_to_the_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = store.training()
    left = anothers().as_text()
    store.leave(left)
    store.complete()
    now = time.monotonic() + claims.BEAT_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(HomeBusy, match=r"process 71 on node-3 .* has taken over this study"):
        publisher.publish(store.record)
    assert store.client.search_runs([store.experiment], f"tags.`{tags.ROLE}` = 'trial'") == []
    publisher.end(finished=False, timing=None)
    assert store.there() == left


def dead_process() -> Claim:
    with subprocess.Popen(["true"]) as process:
        pass
    return anothers(host=socket.gethostname(), pid=process.pid, namespace=process_namespace())


@pytest.mark.parametrize(
    ("left", "who"),
    [
        (lambda: "", "another process has"),
        (lambda: dead_process().as_text(), r"process .*, has"),
        (lambda: anothers(age=claims.STALE_S + 1).as_text(), r"process 71 on node-3 .*, has"),
    ],
    ids=["released", "crashed", "not renewed"],
)
def test_who_was_taken_over_by_one_that_has_ended_stops_too(
    store: Store, monkeypatch: pytest.MonkeyPatch, left: Callable[[], str], who: str
) -> None:
    """Its runs are in the store, and this process, which could not reach it, does not know them."""
    publisher = store.training()
    store.leave(left())
    found = store.there()
    store.complete()
    now = time.monotonic() + claims.BEAT_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(
        HomeBusy, match=rf"^small: {who} taken over this study, .* and has ended; .*: run again to cont"
    ):
        publisher.publish(store.record)
    assert store.client.search_runs([store.experiment], f"tags.`{tags.ROLE}` = 'trial'") == []
    assert store.there() == found


def test_a_clock_that_was_put_back_is_no_other_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = store.claim()
    claim.renew()
    assert store.there() == ""
    claim.take()
    now, clock = time.monotonic() + claims.BEAT_S, time.time() - 2 * claims.MAX_AHEAD_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "time", lambda: clock)
    claim.renew()
    assert claim_there(store.client, "small").beat == round(clock, 3)


def test_the_recorder_of_who_was_taken_over_asks_for_a_stop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PUBLISH_EVERY_S", 0.1)
    monkeypatch.setattr(claims, "BEAT_S", 0.2)
    publisher, stop = store.publisher(), threading.Event()
    publisher.connect(store.record)
    running = recorder.Recorder(store.record.path, publisher, cast(Mailbox, Box()), stop, lambda _: None)
    running.start()
    time.sleep(1)
    assert not stop.is_set()

    def stops_after_takeover() -> bool:
        # Again and again: a renewal that had just read its own claim writes over another's.
        store.leave(anothers().as_text())
        return stop.wait(1)

    wait_until(stops_after_takeover, "the recorder asks for a stop")
    with pytest.raises(HomeBusy, match="has taken over this study"):
        running.finish()
