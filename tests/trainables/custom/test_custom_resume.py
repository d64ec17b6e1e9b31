"""A custom pack that was saved, read back and continued is the pack that was never stopped."""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch

from trainables import CustomPack, Member, TrainingContext, one_at_a_time
from trainables.custom.faults import TrainableFault
from trainables.custom.state import plain_copy

PackOf = Callable[..., CustomPack]
MakeMember = Callable[..., Member]
Finish = Callable[[CustomPack], dict[str, list[tuple[Any, ...]]]]
Yields = Iterator[Mapping[str, Any]]


def through_a_file(pack: CustomPack) -> Any:
    file = io.BytesIO()
    torch.save(pack.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def continued(pack: CustomPack, again: CustomPack) -> CustomPack:
    again.load_state_dict(through_a_file(pack))
    return again


def test_an_mlp_continues_to_the_bit(pack_of: PackOf, member: MakeMember, finish: Finish, fit_mlp: Any) -> None:
    members = [member(0), member(1, lr=1e20), member(2)]
    trainable = one_at_a_time(fit_mlp)
    expected = finish(pack_of(trainable, members, epochs=5))
    assert [rows[-1][0] for rows in expected.values()] == ["completed", "diverged", "completed"]
    pack = pack_of(trainable, members, epochs=5)
    state = pack.state_dict()
    while not pack.finished:
        pack.run_epoch()
        state = through_a_file(pack)
        torch.rand(3)
        pack = pack_of(trainable, members, epochs=5)
        pack.load_state_dict(state)
        assert pack.epoch == len(pack.results()[0].history)
    assert finish(pack) == expected
    assert state["epoch"] == 5


def test_a_state_does_not_move_on_and_can_be_used_twice(
    pack_of: PackOf, member: MakeMember, finish: Finish, fit_mlp: Any
) -> None:
    def make() -> CustomPack:
        return pack_of(one_at_a_time(fit_mlp), [member(0), member(1)], epochs=4)

    pack = make()
    pack.run_epoch()
    state = pack.state_dict()
    expected = finish(pack)
    for _ in range(2):
        again = make()
        again.load_state_dict(state)
        assert again.state_dict()["epoch"] == 1
        assert finish(again) == expected


def test_only_the_epochs_that_are_left_are_trained(pack_of: PackOf, member: MakeMember, descend: Any) -> None:
    starts: list[tuple[list[str], int, Any]] = []

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        starts.append(([one.key for one in members], context.first_epoch, context.state))
        yield from descend(members, context)

    pack = pack_of(train, [member(0), member(1)])
    pack.run_epoch()
    pack.run_epoch()
    again = continued(pack, pack_of(train, [member(1)]))
    assert (again.epoch, len(starts)) == (2, 1)
    (row,) = again.run_epoch()
    assert row.error == pytest.approx(100 * 0.6**6)
    assert row.epoch == 3
    assert starts[1] == (["m1"], 3, {"m1": pytest.approx(0.6**2)})


def test_without_a_state_a_pack_starts_over_and_what_has_ended_stays(
    pack_of: PackOf, member: MakeMember, finish: Finish
) -> None:
    trained = []

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        assert (context.first_epoch, context.state) == (1, None)
        trained.append([one.key for one in members])
        for epoch in range(1, context.epochs + 1):
            bad = {"error": math.nan} if epoch == 2 else {"error": 2.0}
            yield {one.key: bad if one.key == "m1" else {"error": float(one.seed - epoch)} for one in members}

    members = [member(index) for index in range(4)]
    expected = finish(pack_of(train, members))
    pack = pack_of(train, members)
    pack.run_epoch()
    pack.stop({"m3": "too slow"})
    pack.run_epoch()
    before = {result.key: result for result in pack.results()}
    again = continued(pack, pack_of(train, members))
    after = {result.key: result for result in again.results()}
    assert again.epoch == 0
    assert [repr(after[key]) for key in ("m1", "m3")] == [repr(before[key]) for key in ("m1", "m3")]
    assert [(after[key].history, after[key].seconds, after[key].status) for key in ("m0", "m2")] == [
        ((), 0, "running")
    ] * 2
    found = finish(again)
    assert found.pop("m3")[-1] == ("pruned", None, 102.0, 1, "too slow")
    assert {**found, "m3": expected["m3"]} == expected
    assert trained[-1] == ["m0", "m2"]


def test_an_ended_pack_stays_ended(pack_of: PackOf, member: MakeMember, descend: Any) -> None:
    pack = pack_of(descend, [member(0)])
    while not pack.finished:
        pack.run_epoch()
    again = continued(pack, pack_of(descend, [member(0)]))
    assert again.finished
    assert repr(again.results()) == repr(pack.results())
    fresh = continued(pack_of(descend, [member(0)]), pack_of(descend, [member(0)]))
    assert (fresh.epoch, fresh.finished) == (0, False)


def raising_together(descend: Any, starts: list[tuple[str, ...]]) -> Callable[..., Yields]:
    """A descent whose generator raises in epoch 3 if it trains m1 or more than one member."""

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        keys = tuple(one.key for one in members)
        starts.append(keys)
        for epoch, yielded in enumerate(descend(members, context), start=context.first_epoch):
            if epoch == 3 and (len(keys) > 1 or "m1" in keys):
                raise ArithmeticError("no")
            yield yielded

    return train


def test_a_pause_is_taken_while_epochs_are_repeated(
    pack_of: PackOf, member: MakeMember, finish: Finish, descend: Any
) -> None:
    starts: list[tuple[str, ...]] = []
    train = raising_together(descend, starts)
    members = [member(index) for index in range(3)]

    def make() -> CustomPack:
        return pack_of(train, members, epochs=5)

    expected = finish(make())
    assert [rows[-1][:1] + rows[-1][3:] for rows in expected.values()] == [
        ("completed", 5, None),
        ("failed", 2, "ArithmeticError: no"),
        ("completed", 5, None),
    ]
    starts.clear()
    pack, pauses = make(), 0
    while not pack.finished:
        epoch = pack.epoch
        done = pack.run_epoch(lambda: True)
        pauses += not done
        assert pack.epoch == epoch + bool(done)
        pack = continued(pack, make())
    assert pauses == 6
    assert finish(pack) == expected
    # m0 ... m2 together at first, then never again.
    assert [keys for keys in starts if len(keys) > 1] == [("m0", "m1", "m2")] * 3


def test_a_state_that_no_checkpoint_can_hold_is_told_once_and_costs_no_trial(
    pack_of: PackOf, member: MakeMember, finish: Finish, caplog: pytest.LogCaptureFixture
) -> None:
    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        context.keep_state(lambda: {one.key: {"model": {"place": [one]}} for one in members})
        for _ in range(context.first_epoch, context.epochs + 1):
            yield {one.key: {"error": 1.0} for one in members}

    pack = pack_of(train, [member(0), member(1)])
    pack.run_epoch()
    again = continued(pack, pack_of(train, [member(0), member(1)]))
    assert again.epoch == 0
    pack.run_epoch()
    pack.state_dict()
    (record,) = caplog.records
    assert record.getMessage() == (
        "trainable 'mine': its state cannot be kept (the state of 'm0'['model']['place'][0] is of type "
        "trainables.training.records.Member; keep tensors, numbers, texts, bytes, None, lists, tuples and dicts only); "
        "a continued pack starts over."
    )
    assert finish(again) == finish(pack)


@pytest.mark.parametrize(
    ("state_of", "message"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: [1], "did not return a mapping from members' keys"),
        (lambda: {"model": 1}, "did not return a mapping from members' keys"),
    ],
)
def test_a_state_that_is_not_by_key_is_told(
    state_of: Any, message: str, pack_of: PackOf, member: MakeMember, caplog: pytest.LogCaptureFixture
) -> None:
    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        context.keep_state(state_of)
        while True:
            yield {one.key: {"error": 1.0} for one in members}

    pack = pack_of(train, [member(0)])
    pack.run_epoch()
    assert continued(pack, pack_of(train, [member(0)])).epoch == 0
    assert message in caplog.text


def test_a_state_that_runs_out_of_memory_is_the_processes(pack_of: PackOf, member: MakeMember) -> None:
    def out_of_memory() -> Any:
        raise MemoryError

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        context.keep_state(out_of_memory)
        while True:
            yield {one.key: {"error": 1.0} for one in members}

    pack = pack_of(train, [member(0)])
    pack.run_epoch()
    with pytest.raises(MemoryError):
        pack.state_dict()


def test_a_plain_copy_is_what_weights_only_loads() -> None:
    from collections import OrderedDict, defaultdict

    import numpy as np

    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    value = {
        "a": OrderedDict(weight=weight),
        1: (None, True, 2**200, 1.5, 1j, "text", b"bytes"),
        "c": [defaultdict(int, x=1)],
    }
    file = io.BytesIO()
    torch.save(plain_copy(value), file)
    with torch.no_grad():
        weight.zero_()
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert loaded["a"]["weight"].tolist() == [1.0, 2.0]
    assert (loaded[1], loaded["c"]) == (value[1], [{"x": 1}])
    for other in (np.float64(1.0), np.zeros(2), {1, 2}, object(), {np.int64(1): 2}):
        with pytest.raises(TrainableFault, match="keep tensors, numbers"):
            plain_copy({"x": other})


@pytest.fixture
def state(pack_of: PackOf, member: MakeMember, descend: Any) -> dict[str, Any]:
    pack = pack_of(descend, [member(0)], options={"size": 1})
    pack.run_epoch()
    return pack.state_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mlp"}, "model = 'net', the study asks for 'mlp'"),
        ({"optimizer": "adamw"}, "optimizer = 'sgd', the study asks for 'adamw'"),
        ({"options": {"size": 2}}, "options = {'size': 1}, the study asks for {'size': 2}"),
        ({"epochs": 4}, "epochs = 3, the study asks for 4"),
        ({"study_seed": 6}, "study_seed = 5, the study asks for 6"),
        ({"device": "cuda:1"}, "device = 'cpu', the study asks for 'cuda'"),
    ],
)
def test_another_studys_state_is_refused(
    changes: dict[str, Any], message: str, state: dict[str, Any], pack_of: PackOf, member: MakeMember, descend: Any
) -> None:
    with pytest.raises(ValueError, match=message):
        pack_of(descend, [member(0)], **{"options": {"size": 1}, **changes}).load_state_dict(state)


def test_another_members_state_is_refused(
    state: dict[str, Any], pack_of: PackOf, member: MakeMember, descend: Any
) -> None:
    def load(*members: Member) -> None:
        pack_of(descend, members, options={"size": 1}).load_state_dict(state)

    with pytest.raises(ValueError, match=r"member 'm0': the checkpoint has hyperparameters .*0\.7"):
        load(member(0, lr=0.7))
    with pytest.raises(ValueError, match="has seed 100, the study asks for 1"):
        load(Member(key="m0", seed=1, hyperparameters={"lr": 0.1}))
    with pytest.raises(ValueError, match="the checkpoint has no member 'm1'"):
        load(member(0), member(1))


@pytest.mark.parametrize("damaged", [None, [], {}, {"format": 99}, {"format": 1}, {"format": 1, "asked": {}}])
def test_something_else_is_refused(damaged: Any, pack_of: PackOf, member: MakeMember, descend: Any) -> None:
    with pytest.raises(ValueError, match="the checkpoint"):
        pack_of(descend, [member(0)]).load_state_dict(damaged)


@pytest.mark.parametrize("missing", ["epoch", "alone", "kept"])
def test_a_damaged_state_is_refused(
    missing: str, state: dict[str, Any], pack_of: PackOf, member: MakeMember, descend: Any
) -> None:
    del state[missing]
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        pack_of(descend, [member(0)], options={"size": 1}).load_state_dict(state)


def test_only_members_that_are_live_are_kept(pack_of: PackOf, member: MakeMember) -> None:
    def train_one(one: Member, context: TrainingContext) -> Iterator[Mapping[str, float]]:
        model: Any = {"weight": 1.0}
        context.keep_state(lambda: {"weight": model["weight"]})
        for epoch in range(context.first_epoch, context.epochs + 1):
            if (one.key, epoch) == ("m1", 2):
                model.clear()
                raise ValueError("gone")
            yield {"error": 1.0}

    pack = pack_of(one_at_a_time(train_one), [member(0), member(1)])
    pack.run_epoch()
    assert sorted(pack.state_dict()["kept"]) == ["m0", "m1"]
    pack.run_epoch()
    assert sorted(through_a_file(pack)["kept"]) == ["m0"]
    assert continued(pack, pack_of(one_at_a_time(train_one), [member(0), member(1)])).epoch == 2


def test_a_pack_of_trainables_own_states_leaves_out_who_has_ended(
    pack_of: PackOf, member: MakeMember, descend: Any
) -> None:
    pack = pack_of(descend, [member(0), member(1)])
    pack.run_epoch()
    pack.stop({"m0": "too slow"})
    assert pack.state_dict()["kept"] == {"m1": (1, pytest.approx(0.6))}
