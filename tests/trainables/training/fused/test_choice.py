"""The faster way is found out on a pack's first steps, and every step counts."""

from collections.abc import Callable
from typing import Any

import pytest

from trainables import FusedPack, ImageData, LockstepPack, Member, Recipe, create_pack
from trainables.training import modes
from trainables.training.fused import choice as choices
from trainables.training.fused.choice import TIMED, UNTIMED, Choice
from trainables.training.fused.members import FusedMembers

MakeMember = Callable[..., Member]


class Clock:
    """Stands still but for what is put on it."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(choices, "time", clock)
    return clock


def try_all(choice: Choice, clock: Clock, seconds: dict[str, list[float]]) -> list[str]:
    ways = []
    while not choice.decided:
        ways.append(choice.way)
        with choice.timed():
            clock.now += seconds[choice.way].pop(0)
    return ways


def test_each_way_is_tried_in_turn_and_the_first_step_does_not_count(clock: Clock) -> None:
    waits = []
    choice = Choice(["loop", "fused"], lambda: waits.append(1))
    steps = UNTIMED + TIMED
    ways = try_all(choice, clock, {"loop": [0.5] * steps, "fused": [8.0, *[0.25] * (steps - 1)]})
    assert ways == ["loop"] * steps + ["fused"] * steps
    assert choice.way == "fused"
    assert (choice.step_seconds("loop"), choice.step_seconds("fused")) == (0.5, 0.25)
    assert len(waits) == 4 * steps
    with choice.timed():
        pass
    assert len(waits) == 4 * steps


def test_a_single_way_is_not_timed() -> None:
    choice = Choice(["fused"], lambda: pytest.fail("nothing to wait for"))
    with choice.timed():
        assert (choice.decided, choice.way) == (True, "fused")


def make(data: ImageData, member: MakeMember, *, alone: bool = False, **asked: Any) -> LockstepPack:
    recipe = Recipe(batch_size=16, warmup_epochs=0.5, ema_horizon=0.3)
    members = [member(at, lr=0.002) for at in range(1 if alone else 3)]
    return create_pack(
        members, model="vit_c_micro", optimizer="adamw", epochs=3, study_seed=5, data=data, recipe=recipe, **asked
    )


@pytest.mark.parametrize("slow", ["loop", "fused"])
def test_the_slower_way_is_left(
    slow: str, small_data: ImageData, member: MakeMember, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kind, method in (("loop", LockstepPack, "_train_members"), ("fused", FusedMembers, "backward")):
        if name == slow:
            patient = getattr(kind, method)

            def slowly(*args: Any, _real: Any = patient) -> None:
                clock.now += 0.25
                _real(*args)

            monkeypatch.setattr(kind, method, slowly)
    monkeypatch.setattr(modes, "_measures", lambda _device: True)
    expected, pack = make(small_data, member, mode="loop"), make(small_data, member)
    for one in (expected, pack):
        while not one.finished:
            one.run_epoch()
    assert isinstance(pack, FusedPack)
    assert pack.way == {"loop": "fused", "fused": "loop"}[slow]
    assert (pack.note is None) == (slow == "loop")
    if slow == "fused":
        assert pack.note == "fused steps took 250 ms, those of the loop 0 ms"
    for looped, result in zip(expected.results(), pack.results(), strict=True):
        assert [row.eval_loss for row in result.history] == pytest.approx(
            [row.eval_loss for row in looped.history], abs=2e-4
        )


def test_modes_on_a_cpu(small_data: ImageData, member: MakeMember) -> None:
    kinds = {mode: type(make(small_data, member, mode=mode)) for mode in ("auto", "loop", "fused")}
    assert kinds == {"auto": LockstepPack, "loop": LockstepPack, "fused": FusedPack}


def test_auto_measures_on_a_gpu_where_there_is_a_choice(
    small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [modes._measures(device) for device in ("cpu", "cuda", "cuda:1", "mps", "xpu")] == [
        False,
        True,
        True,
        False,
        False,
    ]
    monkeypatch.setattr(modes, "_measures", lambda _device: True)
    assert type(make(small_data, member)) is FusedPack
    assert type(make(small_data, member, alone=True)) is LockstepPack
