import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from trainables import CustomPack, Member, Metrics, TrainingContext, one_at_a_time

PackOf = Callable[..., CustomPack]
MakeMember = Callable[..., Member]
Finish = Callable[[CustomPack], dict[str, list[tuple[Any, ...]]]]


def test_members_side_by_side_are_what_they_are_alone(
    pack_of: PackOf, member: MakeMember, finish: Finish, fit_mlp: Any
) -> None:
    trainable = one_at_a_time(fit_mlp)
    members = [member(index) for index in range(3)]
    together = finish(pack_of(trainable, members))
    assert together == finish(pack_of(trainable, members[::-1]))
    for one in members:
        assert finish(pack_of(trainable, [one])) == {one.key: together[one.key]}


def test_a_member_is_what_its_generator_yields_after_seeding_torch(
    pack_of: PackOf, member: MakeMember, monkeypatch: pytest.MonkeyPatch, fit_mlp: Any
) -> None:
    # Here the other two kinds of noise are left out: their seeding is a matter of ours.
    monkeypatch.setattr(random, "random", lambda: 0.5)
    monkeypatch.setattr(np.random, "normal", lambda: 0.25)
    members = [member(0), member(1)]
    pack = pack_of(one_at_a_time(fit_mlp), members)
    while not pack.finished:
        pack.run_epoch()
    for one, result in zip(members, pack.results(), strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(one.seed)
            by_hand = list(fit_mlp(one, TrainingContext(model="net", optimizer="sgd", epochs=3, study_seed=5)))
        assert [row.error for row in result.history] == [metrics["error"] for metrics in by_hand]


def test_global_generators_are_the_members_and_else_as_they_were(pack_of: PackOf, member: MakeMember) -> None:
    def draw(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        for _ in range(context.epochs):
            yield {"error": random.random(), "numpy": float(np.random.random()), "torch": float(torch.rand(()))}

    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    expected = (random.random(), np.random.random(), float(torch.rand(())))
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    pack = pack_of(one_at_a_time(draw), [member(0), member(1)])
    rows = [row for _ in range(3) for row in pack.run_epoch()]
    assert (random.random(), np.random.random(), float(torch.rand(()))) == expected
    values = [value for row in rows for value in (row.error, *row.more.values())]
    assert len(set(values)) == 18
    assert [row.error for row in rows if row.key == "m0"] == [
        own.random() for own in [random.Random(member(0).seed)] for _ in range(3)
    ]
    torch_rows = [row.more["torch"] for row in rows if row.key == "m1"]
    assert torch_rows == [
        float(torch.rand((), generator=own)) for own in [torch.Generator().manual_seed(101)] for _ in range(3)
    ]


@pytest.mark.parametrize("when", [0, 1, 2])
def test_a_member_that_raises_fails_alone(
    when: int, pack_of: PackOf, member: MakeMember, finish: Finish, fit_mlp: Any
) -> None:
    starts: list[str] = []

    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        starts.append(one.key)
        for epoch, metrics in enumerate(fit_mlp(one, context)):
            if (one.key, epoch) == ("m1", when):
                raise RuntimeError("no\nmore")
            yield metrics

    members = [member(index) for index in range(3)]
    expected = finish(pack_of(one_at_a_time(fit_mlp), members))
    found = finish(pack_of(one_at_a_time(train_one), members))
    assert found.pop("m1")[-1][3:] == (when, "RuntimeError: no more")
    del expected["m1"]
    assert found == expected
    assert starts == ["m0", "m1", "m2"]


def test_a_member_that_ends_early_fails_alone(pack_of: PackOf, member: MakeMember) -> None:
    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        for _ in range(1 if one.key == "m0" else context.epochs):
            yield {"error": 1.0}

    pack = pack_of(one_at_a_time(train_one), [member(0), member(1)])
    while not pack.finished:
        pack.run_epoch()
    assert [(result.status, result.reason) for result in pack.results()] == [
        ("failed", "the trainable ended after epoch 1 of 3"),
        ("completed", None),
    ]


def test_memory_errors_are_the_processes(pack_of: PackOf, member: MakeMember) -> None:
    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        yield {"error": 1.0}
        raise torch.OutOfMemoryError("no more")

    pack = pack_of(one_at_a_time(train_one), [member(0), member(1)])
    pack.run_epoch()
    with pytest.raises(torch.OutOfMemoryError):
        pack.run_epoch()


def test_each_generator_is_closed_when_its_member_is_no_longer_wanted(pack_of: PackOf, member: MakeMember) -> None:
    events: list[str] = []

    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        try:
            for epoch in range(1, context.epochs + 1):
                yield {"error": float("nan") if (one.key, epoch) == ("m0", 1) else 1.0}
        finally:
            events.append(f"{one.key} closed")
            if one.key == "m0":
                raise OSError("cannot clean up")

    pack = pack_of(one_at_a_time(train_one), [member(index) for index in range(3)])
    pack.run_epoch()
    events.append("second")
    pack.stop({"m2": "too slow"})
    pack.run_epoch()
    events.append("third")
    pack.run_epoch()
    assert events == ["second", "m0 closed", "m2 closed", "third", "m1 closed"]
    assert [result.status for result in pack.results()] == ["diverged", "completed", "pruned"]


def test_options_are_each_members_own(pack_of: PackOf, member: MakeMember) -> None:
    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        context.options["seen"].append(one.key)
        for _ in range(context.epochs):
            yield {"error": float(len(context.options["seen"]))}

    pack = pack_of(one_at_a_time(train_one), [member(0), member(1)], options={"seen": []})
    assert [row.error for row in pack.run_epoch()] == [1.0, 1.0]


def test_time_is_charged_to_whom_it_was_spent_on(pack_of: PackOf, member: MakeMember) -> None:
    import time

    def train_one(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        for _ in range(context.epochs):
            time.sleep(0.05 if one.key == "m0" else 0)
            yield {"error": 1.0}

    pack = pack_of(one_at_a_time(train_one), [member(0), member(1)])
    pack.run_epoch()
    slow, fast = pack.results()
    assert slow.seconds > fast.seconds
    assert slow.seconds + fast.seconds == pytest.approx(pack.train_seconds)


def test_it_is_a_decorator_that_keeps_the_name() -> None:
    @one_at_a_time
    def regression(one: Member, context: TrainingContext) -> Iterator[Metrics]:
        """Fits a line."""
        yield {"error": 1.0}

    name: Any = regression
    assert (name.__name__, name.__doc__) == ("regression", "Fits a line.")
    members: Sequence[Member] = [Member(key="a", seed=0, hyperparameters={})]
    context = TrainingContext(model="m", optimizer="o", epochs=1, study_seed=0)
    assert list(regression(members, context)) == [{"a": {"error": 1.0}}]
