import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from dashboards import tags
from trainables import CustomPack, Member, TrainingContext, UnknownName

PackOf = Callable[..., CustomPack]
MakeMember = Callable[..., Member]
Finish = Callable[[CustomPack], dict[str, list[tuple[Any, ...]]]]
Yields = Iterator[Mapping[str, Any]]


def yielding(outcomes: Callable[[Member, int], Any]) -> Callable[[Sequence[Member], TrainingContext], Yields]:
    """A trainable that yields for each member what a function of (member, epoch) returns."""

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        for epoch in range(context.first_epoch, context.epochs + 1):
            yield {member.key: outcomes(member, epoch) for member in members}

    return train


def test_a_descent_follows_its_closed_form(pack_of: PackOf, member: MakeMember, descend: Any) -> None:
    pack = pack_of(descend, [member(0), member(1), member(3)])
    assert not pack.finished
    first = pack.run_epoch()
    assert [row.key for row in first] == ["m0", "m1", "m3"]
    assert [row.epoch for row in first] == [1, 1, 1]
    assert (pack.epoch, pack.step, pack.eval_seconds, pack.take_problems()) == (1, 0, 0.0, set())
    while not pack.finished:
        pack.run_epoch()
    for result, lr in zip(pack.results(), (0.1, 0.2, 0.4), strict=True):
        x = (1 - 2 * lr) ** np.arange(1, 4)
        np.testing.assert_allclose([row.error for row in result.history], 100 * x**2, rtol=1e-12)
        np.testing.assert_allclose([row.more["gap"] for row in result.history], np.abs(x), rtol=1e-12)
        assert [row.lr for row in result.history] == pytest.approx([lr] * 3)
        assert all(math.isnan(row.train_loss) and math.isnan(row.eval_loss) for row in result.history)
        assert (result.status, result.epochs_done, result.reason) == ("completed", 3, None)
        assert result.error == result.best_error == result.history[-1].error
    with pytest.raises(RuntimeError, match="the pack is finished"):
        pack.run_epoch()


def test_metrics_that_have_columns_go_there(pack_of: PackOf, member: MakeMember) -> None:
    given = {
        "error": np.float32(12.5),
        "train_loss": torch.tensor(0.5),
        "eval_loss": 2,
        "lr": 0.25,
        "val/f1": np.int64(1),
        "auc": math.inf,
    }
    pack = pack_of(yielding(lambda *_: given), [member(0), Member(key="words", seed=0, hyperparameters={"lr": "high"})])
    row = pack.run_epoch()[0]
    assert (row.error, row.train_loss, row.eval_loss, row.lr) == (12.5, 0.5, 2.0, 0.25)
    assert row.more == {"val/f1": 1.0, "auc": math.inf}
    assert {type(value) for value in (row.error, row.train_loss, row.eval_loss, *row.more.values())} == {float}


@pytest.mark.parametrize("lr", ["high", None])
def test_without_a_learning_rate_there_is_none(pack_of: PackOf, lr: Any) -> None:
    values = {} if lr is None else {"lr": lr}
    pack = pack_of(yielding(lambda *_: {"error": 1}), [Member(key="a", seed=0, hyperparameters=values)])
    assert math.isnan(pack.run_epoch()[0].lr)


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"error": math.nan}, "error is nan in epoch 2"),
        ({"error": 10**400}, "error is inf in epoch 2"),
        ({"error": 5.0, "train_loss": -math.inf}, "training loss is -inf in epoch 2"),
    ],
)
def test_a_number_that_is_not_finite_is_divergence(
    metrics: Any, reason: str, pack_of: PackOf, member: MakeMember
) -> None:
    def outcomes(one: Member, epoch: int) -> Any:
        return metrics if (one.key, epoch) == ("m1", 2) else {"error": 7.0 - epoch}

    pack = pack_of(yielding(outcomes), [member(0), member(1)])
    pack.run_epoch()
    assert [row.key for row in pack.run_epoch()] == ["m0"]
    result = pack.results()[1]
    assert (result.status, result.reason, result.error, result.best_error) == ("diverged", reason, None, 6.0)
    assert [row.epoch for row in result.history] == [1]
    pack.run_epoch()
    assert pack.results()[1] == result
    assert pack.results()[0].status == "completed"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ({"train_loss": 1.0}, "yielded no metric 'error'; add it"),
        ({"error": "low"}, "metric 'error' is 'low', expected a number"),
        ({"error": True}, "metric 'error' is True, expected a number"),
        ({"error": 1.0, "f1": None}, "metric 'f1' is None, expected a number"),
        ({"error": 1.0, "f1": "x" * 99}, "metric 'f1' is a text of 99 characters, expected"),
        ({"error": torch.zeros(2)}, "metric 'error' is of type Tensor, expected a number"),
        ({"error": 1j}, "metric 'error' is of type complex, expected a number"),
        ({"error": 1.0, "epoch": 2}, "metric name 'epoch' cannot be used"),
        ({"error": 1.0, "seconds": 2}, "and none of key, epoch, seconds, final_error, best_error, epochs_done"),
        ({"error": 1.0, "../up": 2}, "metric name '../up' cannot be used"),
        ({"error": 1.0, 3: 2}, "metric name 3 cannot be used"),
        (None, "yielded NoneType, expected metrics by name"),
        (KeyError("no such column"), "KeyError: 'no such column'"),
        (SystemExit(2), "yielded SystemExit, expected metrics by name"),
    ],
)
def test_a_member_without_proper_metrics_fails_alone(
    outcome: Any, reason: str, pack_of: PackOf, member: MakeMember
) -> None:
    bad = yielding(lambda one, epoch: outcome if (one.key, epoch) == ("m0", 2) else {"error": 1.0})
    pack = pack_of(bad, [member(0), member(1)])
    while not pack.finished:
        pack.run_epoch()
    failed, other = pack.results()
    assert (failed.status, failed.epochs_done, failed.error, failed.best_error) == ("failed", 1, None, 1.0)
    assert reason in str(failed.reason)
    assert "\n" not in str(failed.reason)
    assert (other.status, other.epochs_done) == ("completed", 3)


@pytest.mark.parametrize("name", [tags.FINAL_ERROR, tags.BEST_ERROR, tags.EPOCHS_DONE, tags.SECONDS])
def test_the_metrics_of_a_whole_trial_are_nobody_elses(name: str, pack_of: PackOf, member: MakeMember) -> None:
    pack = pack_of(yielding(lambda *_: {"error": 1.0, name: 2.0}), [member(0)])
    assert pack.run_epoch() == []
    assert f"metric name {name!r} cannot be used" in str(pack.results()[0].reason)


def test_a_member_that_is_left_out_fails(pack_of: PackOf, member: MakeMember) -> None:
    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        for epoch in range(1, context.epochs + 1):
            yield {one.key: {"error": 1.0} for one in members if (one.key, epoch) != ("m0", 2)}

    pack = pack_of(train, [member(0), member(1)])
    for _ in range(3):
        pack.run_epoch()
    assert [result.status for result in pack.results()] == ["failed", "completed"]
    assert pack.results()[0].reason == "the trainable yielded nothing for this member in epoch 2"


def test_a_generator_that_ends_early_fails_who_is_to_be_trained(pack_of: PackOf, member: MakeMember) -> None:
    starts = []

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        starts.append(len(members))
        yield {one.key: {"error": 1.0 if one.key == "m0" else math.inf} for one in members}
        yield {one.key: {"error": 1.0} for one in members}

    pack = pack_of(train, [member(0), member(1)])
    while not pack.finished:
        pack.run_epoch()
    assert [(result.status, result.reason) for result in pack.results()] == [
        ("failed", "the trainable ended after epoch 2 of 3"),
        ("diverged", "error is inf in epoch 1"),
    ]
    assert pack.results()[0].epochs_done == 2
    assert starts == [2, 1]


@pytest.mark.parametrize("culprit", ["m0", "m1", "m2"])
@pytest.mark.parametrize("when", [1, 2, 3])
def test_who_makes_a_generator_raise_is_found_and_changes_nothing_for_the_others(
    culprit: str, when: int, pack_of: PackOf, member: MakeMember, finish: Finish, descend: Any
) -> None:
    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        for epoch, yielded in enumerate(descend(members, context), start=1):
            if epoch == when and culprit in yielded:
                raise ArithmeticError(f"cannot go on in epoch {epoch}")
            yield yielded

    members = [member(index) for index in range(3)]
    expected = finish(pack_of(descend, members))
    found = finish(pack_of(train, members))
    failed = found.pop(culprit)
    assert failed[:-1] == expected.pop(culprit)[: when - 1]
    assert failed[-1][0] == "failed"
    assert failed[-1][3:] == (when - 1, f"ArithmeticError: cannot go on in epoch {when}")
    assert found == expected


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"m9": {"error": 1.0}}, "the trainable yielded metrics for 'm9', which is no key of its members"),
        ([1.0], "the trainable yielded list, expected metrics by member's key"),
        (None, "the trainable yielded NoneType, expected"),
    ],
)
def test_what_belongs_to_nobody_fails_whom_it_comes_with(
    wrong: Any, reason: str, pack_of: PackOf, member: MakeMember
) -> None:
    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        keys = [one.key for one in members]
        for epoch in range(1, context.epochs + 1):
            yield wrong if (epoch, "m1" in keys) == (2, True) else {key: {"error": 1.0} for key in keys}

    pack = pack_of(train, [member(0), member(1)])
    while not pack.finished:
        pack.run_epoch()
    assert [result.status for result in pack.results()] == ["completed", "failed"]
    assert reason in str(pack.results()[1].reason)


@pytest.mark.parametrize(
    ("trainable", "reason"),
    [
        (lambda *_: None, "the trainable returned NoneType, expected an iterator; write it as a generator function"),
        (lambda *_: [{}], "the trainable returned list, expected an iterator"),
        (lambda members: iter([]), "TypeError: "),
    ],
)
def test_what_is_no_generator_function_fails_every_member(
    trainable: Any, reason: str, pack_of: PackOf, member: MakeMember
) -> None:
    pack = pack_of(trainable, [member(0), member(1)])
    assert pack.run_epoch() == []
    assert pack.finished
    assert [result.status for result in pack.results()] == ["failed", "failed"]
    assert all(reason in str(result.reason) for result in pack.results())


def out_of_memory(members: Sequence[Member], context: TrainingContext) -> Yields:
    yield {one.key: {"error": 1.0} for one in members}
    raise MemoryError


@pytest.mark.parametrize(
    "trainable", [out_of_memory, yielding(lambda one, epoch: MemoryError() if epoch == 2 else {"error": 1})]
)
def test_memory_errors_are_the_processes(trainable: Any, pack_of: PackOf, member: MakeMember) -> None:
    pack = pack_of(trainable, [member(0), member(1)])
    pack.run_epoch()
    with pytest.raises(MemoryError):
        pack.run_epoch()
    assert [result.status for result in pack.results()] == ["running", "running"]
    with pytest.raises(RuntimeError, match="make a new pack and load the last checkpoint"):
        pack.run_epoch()
    with pytest.raises(RuntimeError, match="interrupted half-way"):
        pack.state_dict()


def test_a_generator_hears_who_has_stopped_and_is_closed(pack_of: PackOf, member: MakeMember) -> None:
    heard: list[Any] = []

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        try:
            for epoch in range(1, context.epochs + 1):
                heard.append(sorted(context.stopped()))
                failed = KeyError() if epoch == 1 else {"error": 1.0}
                diverged = {"error": math.nan if epoch == 2 else 1.0}
                yield {one.key: {"m0": failed, "m1": diverged}.get(one.key, {"error": 1.0}) for one in members}
        finally:
            heard.append("closed")

    pack = pack_of(train, [member(index) for index in range(4)], epochs=5)
    for _ in range(3):
        pack.run_epoch()
    pack.stop({"m2": "too slow"})
    pack.run_epoch()
    assert heard == [[], ["m0"], ["m0", "m1"], ["m0", "m1", "m2"]]
    pack.stop({"m3": "too slow as well"})
    assert heard[-1] == "closed"
    assert pack.finished


def test_a_generator_is_closed_after_the_last_epoch(pack_of: PackOf, member: MakeMember) -> None:
    closed = []

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        try:
            while True:
                yield {one.key: {"error": 1.0} for one in members}
        finally:
            closed.append(True)

    pack = pack_of(train, [member(0)])
    while not pack.finished:
        assert closed == []
        pack.run_epoch()
    assert closed == [True]


def test_what_cleaning_up_raises_has_no_effect(
    pack_of: PackOf, member: MakeMember, caplog: pytest.LogCaptureFixture
) -> None:
    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        try:
            while True:
                yield {one.key: {"error": 1.0} for one in members}
        finally:
            raise OSError("the disk is full")

    pack = pack_of(train, [member(0)], epochs=1)
    pack.run_epoch()
    assert pack.results()[0].status == "completed"
    assert "OSError: the disk is full" in caplog.text


def test_a_stopped_member_keeps_its_history_and_changes_nothing(
    pack_of: PackOf, member: MakeMember, finish: Finish, descend: Any
) -> None:
    members = [member(index) for index in range(3)]
    expected = finish(pack_of(descend, members))
    pack = pack_of(descend, members)
    pack.run_epoch()
    pack.stop({"m1": "worse than the median", "m9": "of another pack"})
    assert [result.status for result in pack.results()] == ["running", "pruned", "running"]
    found = finish(pack)
    pruned = found.pop("m1")
    assert pruned[:-1] == expected.pop("m1")[:1]
    assert pruned[-1] == ("pruned", None, pruned[0][1], 1, "worse than the median")
    assert found == expected
    pack.stop({"m0": "too late"})
    assert pack.results()[0].status == "completed"


def test_a_member_may_be_stopped_before_the_first_epoch(pack_of: PackOf, member: MakeMember, descend: Any) -> None:
    pack = pack_of(descend, [member(0), member(1)])
    pack.stop({"m0": "not wanted"})
    assert [row.key for row in pack.run_epoch()] == ["m1"]


def test_the_context_says_what_was_asked_for(pack_of: PackOf, member: MakeMember) -> None:
    seen: list[TrainingContext] = []

    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        seen.append(copy.copy(context))
        context.options["sizes"].append(3)
        for one in members:
            assert isinstance(one.hyperparameters, dict)
            one.hyperparameters.clear()
        raise ValueError("no")
        yield {}

    options = {"sizes": [1, 2]}
    given = {"lr": 0.5, "momentum": 0.9}
    members = [Member(key=key, seed=1, hyperparameters=given) for key in "ab"]
    pack = pack_of(train, members, options=options, device="cpu", epochs=7)
    pack.run_epoch()
    assert given == {"lr": 0.5, "momentum": 0.9}
    assert options == {"sizes": [1, 2]}
    assert len(seen) == 3
    assert len({id(context.options["sizes"]) for context in seen}) == 3
    assert all(context.options == {"sizes": [1, 2, 3]} for context in seen)
    context = seen[0]
    asked = (context.model, context.optimizer, context.epochs, context.study_seed, context.device)
    assert asked == ("net", "sgd", 7, 5, "cpu")
    assert (context.first_epoch, context.state, context.stopped()) == (1, None, frozenset())


def test_times_add_up(pack_of: PackOf, member: MakeMember, descend: Any) -> None:
    def train(members: Sequence[Member], context: TrainingContext) -> Yields:
        for epoch, yielded in enumerate(descend(members, context), start=1):
            if epoch == 2 and len(members) > 1:
                raise ValueError("only alone")
            yield yielded

    pack = pack_of(train, [member(0), member(1)])
    rows = [row for _ in range(3) for row in pack.run_epoch()]
    assert pack.train_seconds > 0
    assert sum(result.seconds for result in pack.results()) == pytest.approx(pack.train_seconds)
    for result in pack.results():
        assert result.seconds == pytest.approx(sum(row.seconds for row in rows if row.key == result.key))
        assert [row for row in rows if row.key == result.key] == list(result.history)


@pytest.mark.parametrize(
    ("members", "changes", "message"),
    [
        ([], {}, "members: got none"),
        (["a", "a"], {}, "key 'a' occurs twice"),
        (["a"], {"epochs": 0}, "epochs: got 0, expected 1 or more"),
        (["a"], {"study_seed": -1}, "study seed: got -1, expected 0 or more"),
        (["a"], {"trainable": "mime"}, "unknown trainable 'mime'; did you mean 'mine'"),
    ],
)
def test_what_cannot_be_a_pack_is_refused(members: Any, changes: Any, message: str, pack_of: PackOf) -> None:
    with pytest.raises(ValueError, match=message):
        pack_of(yielding(lambda *_: None), [Member(key=key, seed=0, hyperparameters={}) for key in members], **changes)


def test_a_seed_is_not_negative_and_an_unknown_name_is_one(pack_of: PackOf) -> None:
    with pytest.raises(ValueError, match="member 'a': seed is -1, expected 0 or more"):
        pack_of(yielding(lambda *_: None), [Member(key="a", seed=-1, hyperparameters={})])
    with pytest.raises(UnknownName, match="unknown trainable 'other'"):
        pack_of(yielding(lambda *_: None), [Member(key="a", seed=1, hyperparameters={})], trainable="other")


def test_an_iterator_of_the_users_own_is_closed_when_it_goes_wrong(pack_of: PackOf, member: MakeMember) -> None:
    closed: list[int] = []

    class Wrong:
        def __init__(self, members: Sequence[Member], context: TrainingContext) -> None:
            self._size = len(members)

        def __iter__(self) -> Yields:
            return self

        def __next__(self) -> Mapping[str, Any]:
            return {"nobody": {"error": 1.0}}

        def close(self) -> None:
            closed.append(self._size)

    pack_of(Wrong, [member(0), member(1)]).run_epoch()
    assert closed == [2, 1, 1]
