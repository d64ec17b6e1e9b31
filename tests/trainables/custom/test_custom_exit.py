"""A trainable that asks for the end of the process, or is there when the process is told to end."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from trainables import CustomPack, Member, Metrics, TrainingContext, one_at_a_time

PackOf = Callable[..., CustomPack]
MakeMember = Callable[..., Member]
Finish = Callable[[CustomPack], dict[str, list[tuple[Any, ...]]]]
Yields = Iterator[Mapping[str, Any]]
Act = Callable[[], Any]


def acting(key: str, act: Act) -> dict[str, Any]:
    """Both kinds of trainables; the member with this key acts in its second epoch."""

    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        for epoch in range(context.first_epoch, context.epochs + 1):
            if (one.key, epoch) == (key, 2):
                act()
            yield {"error": 10.0 * one.seed + epoch}

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        for epoch in range(context.first_epoch, context.epochs + 1):
            if epoch == 2 and key in [one.key for one in members]:
                act()
            yield {one.key: {"error": 10.0 * one.seed + epoch} for one in members}

    return {"alone": one_at_a_time(train_one), "together": train}


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def sigterm_exits() -> Iterator[None]:
    """SIGTERM raises SystemExit wherever the process is, as it does in Ray's workers."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    yield
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("kind", ["alone", "together"])
@pytest.mark.parametrize(
    ("act", "code"), [(sys.exit, ""), (lambda: sys.exit(3), "3"), (lambda: sys.exit("no\ndata"), "no data")]
)
def test_who_exits_fails_and_changes_nothing_for_the_others(
    kind: str, act: Act, code: str, pack_of: PackOf, member: MakeMember, finish: Finish
) -> None:
    members = [member(index) for index in range(3)]
    expected = finish(pack_of(acting("nobody", act)[kind], members))
    found = finish(pack_of(acting("m1", act)[kind], members))
    failed = found.pop("m1")
    assert failed[:-1] == expected.pop("m1")[:1]
    assert failed[-1][0] == "failed"
    assert failed[-1][4] == f"the trainable called sys.exit({code}); raise an exception that says what is wrong"
    assert found == expected


@pytest.mark.parametrize("kind", ["alone", "together"])
@pytest.mark.parametrize(("act", "raised"), [(interrupt, KeyboardInterrupt), (terminate, SystemExit)])
def test_the_end_of_the_process_is_not_the_trainables(
    kind: str, act: Act, raised: type[BaseException], pack_of: PackOf, member: MakeMember, sigterm_exits: None
) -> None:
    pack = pack_of(acting("m1", act)[kind], [member(0), member(1)])
    pack.run_epoch()
    with pytest.raises(raised):
        pack.run_epoch()
    assert [result.status for result in pack.results()] == ["running", "running"]


def test_exits_while_states_are_kept_or_cleaned_up_cost_no_trial(
    pack_of: PackOf, member: MakeMember, caplog: pytest.LogCaptureFixture
) -> None:
    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        context.keep_state(lambda: sys.exit(4))
        try:
            for _ in range(context.epochs):
                yield {"error": 1.0}
        finally:
            sys.exit(5)

    pack = pack_of(one_at_a_time(train_one), [member(0)], epochs=2)
    pack.run_epoch()
    assert pack.state_dict()["kept"] == {}
    pack.run_epoch()
    assert [result.status for result in pack.results()] == ["completed"]
    assert "its state cannot be kept (the trainable called sys.exit(4)" in caplog.text
    assert "raised while it was closed (the trainable called sys.exit(5)" in caplog.text


def test_a_process_that_ends_while_a_trainable_is_closed_ends(
    pack_of: PackOf, member: MakeMember, sigterm_exits: None
) -> None:
    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        try:
            yield {"error": 1.0}
        finally:
            terminate()

    pack = pack_of(one_at_a_time(train_one), [member(0)], epochs=1)
    with pytest.raises(SystemExit):
        pack.run_epoch()
