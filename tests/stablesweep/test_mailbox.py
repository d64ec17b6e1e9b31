"""The mailbox's actor as an object, without Ray: which crew gets which pack when, and what it remembers of messages."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stablesweep.mailbox import _Mailbox
from stablesweep.messages import EpochDone, TrialEnded
from tests.pack_job import pack_job

LONG_S = 60.0
"""Longer than anything here is waited for."""


def in_loop(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(steps, LONG_S))


def mailbox(*packs: str) -> _Mailbox:
    """One that keeps these packs."""
    box = _Mailbox()
    for pack in packs:
        box.put(pack_job(pack))
    return box


def epoch(number: int, error: float) -> EpochDone:
    return EpochDone(key="a", epoch=number, train_loss=1.0, error=error, lr=0.1, seconds=1.0)


def test_a_crew_gets_its_packs_in_order_however_late_they_come() -> None:
    async def steps() -> None:
        box = mailbox("first", "second", "others")
        assert box.assign("crew", "first")
        # Two workers of one crew ask for themselves.
        for _ in range(2):
            first = await box.next_job("crew", 0, LONG_S)
            assert first is not None
            assert first.name == "first"
        waiting = [asyncio.ensure_future(box.next_job("crew", 1, LONG_S)) for _ in range(2)]
        await asyncio.sleep(0)
        assert box.assign("other", "others")
        await asyncio.sleep(0.05)
        assert not any(one.done() for one in waiting)
        assert box.assign("crew", "second")
        assert [one.name for one in await asyncio.gather(*waiting) if one] == ["second", "second"]

    in_loop(steps())


def test_a_crew_that_gets_none_is_dismissed_for_good() -> None:
    async def steps() -> None:
        box = mailbox("first", "second")
        assert box.assign("crew", "first")
        assert await box.next_job("crew", 1, 0.01) is None
        # Else a pack would be handed to workers who have gone.
        assert not box.assign("crew", "second")
        assert await box.next_job("crew", 1, LONG_S) is None

    in_loop(steps())


def test_at_the_end_crews_leave_without_waiting_and_still_get_what_they_were_given() -> None:
    async def steps() -> None:
        box = mailbox("first", "second")
        assert box.assign("crew", "first")
        assert box.assign("crew", "second")
        waiting = asyncio.ensure_future(box.next_job("crew", 2, LONG_S))
        await asyncio.sleep(0)
        assert not box.closing()
        box.close()
        assert box.closing()
        assert await waiting is None

        late = mailbox("first")
        assert late.assign("crew", "first")
        late.close()
        job = await late.next_job("crew", 0, LONG_S)
        assert job is not None
        assert job.name == "first"
        assert await late.next_job("crew", 1, LONG_S) is None

    in_loop(steps())


def test_the_end_of_a_pack_is_heard_at_once_of_each_crew() -> None:
    async def steps() -> None:
        box = _Mailbox()
        box.assign("crew", "first")
        waiting = asyncio.ensure_future(box.wait_end("crew", "first"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        assert not box.has_ended("crew", "first")
        # The pack is taken up by other workers: what these say of it says nothing of the others.
        box.assign("other", "first")
        box.note_end("other", "first")
        await asyncio.sleep(0.01)
        assert not waiting.done()
        box.note_end("crew", "first")
        await waiting
        assert box.has_ended("crew", "first")

    in_loop(steps())


def test_what_is_asked_again_changes_nothing() -> None:
    async def steps() -> None:
        box = _Mailbox()
        for _ in range(2):
            assert box.assign("crew", "first")
            box.note_start("crew", "first", "here")
        box.note_end("crew", "first")
        assert await box.next_job("crew", 1, 0.01) is None
        assert box.starts("first") == 1

    in_loop(steps())


def test_only_workers_who_have_trained_no_other_pack_count_as_a_start() -> None:
    box = _Mailbox()
    for crew, pack in (("a", "first"), ("a", "second"), ("b", "second"), ("c", "second")):
        box.assign(crew, pack)
        box.note_start(crew, pack, f"node of {crew}")
    assert (box.starts("first"), box.starts("second"), box.starts("third")) == (1, 2, 0)
    assert box.nodes() == {"first": "node of a", "second": "node of c"}


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
def test_messages_are_taken_in_the_order_in_which_they_were_sent(order: list[int], again: list[int]) -> None:
    """Ray does not keep the order of calls of an asynchronous actor, and repeats those whose answer was lost."""
    box, drained = _Mailbox(), []
    for drain, number in enumerate([*order, *again]):
        box.push("one", number, [epoch(2 * number + 1, 1.0), epoch(2 * number + 2, 1.0)])
        box.push("other", number, [])
        drained += box.drain(drain)
    assert [message.epoch for message in drained if isinstance(message, EpochDone)] == list(range(1, 13))


def test_an_epoch_that_is_told_again_counts_once() -> None:
    box = _Mailbox()
    for number, message in enumerate((epoch(1, 50.0), epoch(2, 40.0), epoch(1, 50.0), epoch(2, 40.0), epoch(3, 30.0))):
        box.push("one", number, [message])
    assert box.failed(["a", "b"]) == {}
    box.push("other", 0, [TrialEnded(key="a", status="failed"), TrialEnded(key="b", status="failed")])
    assert box.failed(["b", "a", "c"]) == {"a": [50.0, 40.0, 30.0], "b": []}
    assert box.failed(["c"]) == {}
    assert len(box.drain(0)) == 7
    assert box.drain(1) == []


def test_messages_whose_answer_was_lost_are_drained_again() -> None:
    box = _Mailbox()
    box.push("one", 0, [epoch(1, 50.0)])
    lost = box.drain(0)
    box.push("one", 1, [epoch(2, 40.0)])
    assert box.drain(0) == lost == [epoch(1, 50.0)]
    assert box.drain(1) == [epoch(2, 40.0)]
    assert box.drain(2) == []


def test_nothing_stays_of_packs_and_curves_that_nobody_asks_for_again() -> None:
    """A job may hold a user's own data."""
    box = mailbox("first")
    box.push("one", 0, [epoch(1, 50.0), TrialEnded(key="a", status="completed")])
    box.drop("first")
    box.drop("first")
    assert box._jobs == {}
    assert box._errors == {}


def test_a_stop_is_the_answer_to_every_message_after_it() -> None:
    box = _Mailbox()
    assert not box.push("one", 0, [epoch(1, 50.0)])
    box.stop()
    assert box.push("one", 1, [])


def test_what_ran_out_first_is_remembered() -> None:
    box = _Mailbox()
    assert box.too_large("pack") is None
    box.note_too_large("pack", "memory")
    box.note_too_large("pack", "something else")
    assert box.too_large("pack") == "memory"
