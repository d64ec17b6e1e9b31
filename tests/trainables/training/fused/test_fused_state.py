"""A fused pack may be stopped, continued, pruned, and continued by a pack of the other kind."""

import math
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.training.fused.running_mean import RunningMean
from trainables import ImageData, LockstepPack, Member, Recipe, register_model
from trainables.training.fused import pack as packs
from trainables.training.fused.members import FusedMembers
from trainables.training.fused.pack import FusedPack
from trainables.training.member import MemberTraining

MakeMember = Callable[..., Member]
Kind = type[LockstepPack]
NEAR = 2e-4


def make(kind: Kind, members: list[Member], data: ImageData, **asked: Any) -> LockstepPack:
    recipe = Recipe(batch_size=32, warmup_epochs=0.5, ema_horizon=0.3, grad_clip=2.0)
    both: dict[str, Any] = {"model": "vit_c_micro", "optimizer": "adamw", "epochs": 3, "study_seed": 5, **asked}
    return kind(members, data=data, recipe=recipe, **both)


def numbers(pack: LockstepPack) -> dict[str, list[tuple[float, ...]]]:
    while not pack.finished:
        pack.run_epoch()
    return {
        result.key: [(row.train_loss, row.eval_loss, row.error) for row in result.history] for result in pack.results()
    }


def near(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, rows in one.items():
        assert len(rows) == len(other[key]) > 0
        for row, again in zip(rows, other[key], strict=True):
            assert row[:2] == pytest.approx(again[:2], abs=NEAR)


def through_a_file(pack: LockstepPack, folder: Path) -> Any:
    torch.save(pack.state_dict(), folder / "pack.pt")
    return torch.load(folder / "pack.pt", weights_only=True)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize(
    ("first", "then"), [(LockstepPack, FusedPack), (FusedPack, LockstepPack), (FusedPack, FusedPack)]
)
def test_either_kind_continues_the_other_in_the_middle_of_an_epoch(
    first: Kind, then: Kind, optimizer: str, small_data: ImageData, member: MakeMember, tmp_path: Path
) -> None:
    members = [member(at, lr=0.002) for at in range(3)]
    expected = numbers(make(LockstepPack, members, small_data, optimizer=optimizer))
    begun = make(first, members, small_data, optimizer=optimizer)
    begun.run_epoch()
    asked = count(1)
    assert begun.run_epoch(lambda: next(asked) == 2) == []
    assert (begun.epoch, begun.step) == (1, 2)
    rest = make(then, members, small_data, optimizer=optimizer)
    rest.load_state_dict(through_a_file(begun, tmp_path))
    near(expected, numbers(rest))
    near(expected, numbers(begun))


def test_a_fused_pack_twice_is_the_same_to_the_bit(small_data: ImageData, member: MakeMember, tmp_path: Path) -> None:
    members = [member(at, lr=0.002) for at in range(3)]
    expected = numbers(make(FusedPack, members, small_data))
    begun = make(FusedPack, members, small_data)
    begun.run_epoch()
    again = make(FusedPack, members, small_data)
    again.load_state_dict(through_a_file(begun, tmp_path))
    assert numbers(again) == expected


def test_members_that_are_stopped_change_nothing_for_the_others(small_data: ImageData, member: MakeMember) -> None:
    members = [member(at, lr=0.002) for at in range(4)]
    expected = numbers(make(LockstepPack, members, small_data))
    pack = make(FusedPack, members, small_data)
    pack.run_epoch()
    pack.stop({members[1].key: "badly"})
    asked = count(1)
    pack.run_epoch(lambda: next(asked) == 2)
    pack.stop({members[3].key: "badly"})
    found = numbers(pack)
    assert isinstance(pack, FusedPack)
    assert pack.note is None
    assert [result.status for result in pack.results()] == ["completed", "pruned", "completed", "pruned"]
    assert [len(found[one.key]) for one in members] == [3, 1, 3, 1]
    near({one.key: expected[one.key][: len(found[one.key])] for one in members}, found)


class CarriesMean(RunningMean):
    """Its logits in training depend on what it has seen."""

    def note(self, logits: torch.Tensor) -> None:
        self.mean.mul_(0.9).add_(logits.square().mean(0), alpha=0.1)


@pytest.mark.parametrize("model", ["vit_c_micro", "carries-mean"])
@pytest.mark.parametrize("measure", [False, True], ids=["continued", "measuring"])
def test_a_member_that_has_blown_up_is_compared_as_any_other(
    measure: bool, model: str, small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_model(
        "carries-mean",
        lambda *, num_classes, image_size, in_channels: CarriesMean(in_channels * image_size**2, num_classes),
    )
    members = [member(at, lr=lr) for at, lr in enumerate((0.002, 1e30, 0.004))]
    recipe = Recipe(batch_size=16, warmup_epochs=0.0)
    asked: dict[str, Any] = {"model": model, "optimizer": "adamw", "data": small_data, "recipe": recipe}
    pack = FusedPack(members, measure=measure, epochs=2, study_seed=5, **asked)
    if not measure:
        begun, steps = LockstepPack(members, epochs=2, study_seed=5, **asked), count(1)
        begun.run_epoch(lambda: next(steps) == 2)
        pack.load_state_dict(begun.state_dict())
    sane = []
    require_near = FusedMembers._require_near

    def watched(self: FusedMembers, together: torch.Tensor, alone: torch.Tensor) -> None:
        sane.append(bool(alone.isfinite().all()) and float(alone.abs().max()) < 1e4)
        require_near(self, together, alone)

    monkeypatch.setattr(FusedMembers, "_require_near", watched)
    pack.run_epoch()
    assert sane == [True] * 3
    assert measure or pack.note is None
    assert [result.status for result in pack.results()] == ["running", "diverged", "running"]


def _a_second_of(now: list[float], method: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        now[0] += 1.0
        return method(*given, **named)

    return timed


def test_the_times_of_the_members_sum_to_the_packs(
    small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "_evaluates_together", lambda _device: True)
    build = MemberTraining.build

    def slowly(self: MemberTraining) -> None:
        # Outside of fused steps one member takes more than the others.
        self.own_seconds += 1e-3 * (self.member.seed == 100)
        build(self)

    monkeypatch.setattr(MemberTraining, "build", slowly)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    for name in ("backward", "evaluate"):
        monkeypatch.setattr(FusedMembers, name, _a_second_of(now, getattr(FusedMembers, name)))
    pack = make(FusedPack, [member(at, lr=0.002) for at in range(3)], small_data)
    numbers(pack)
    seconds = [result.seconds for result in pack.results()]
    assert sum(seconds) == pytest.approx(pack.train_seconds + pack.eval_seconds)
    assert seconds == pytest.approx([sum(seconds) / 3] * 3, rel=0.01)
    steps = math.ceil(small_data.num_train / 32)
    assert sum(seconds) == pytest.approx(3 * (steps + 1))
