"""Torch's modes stay with the generator that set them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables import CustomPack, Member, Metrics, TrainingContext, one_at_a_time
from trainables.custom.modes import TorchModes

PackOf = Callable[..., CustomPack]
MakeMember = Callable[..., Member]
Finish = Callable[[CustomPack], dict[str, list[tuple[Any, ...]]]]


def modes() -> tuple[bool, bool, torch.dtype]:
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    yield
    found = modes()
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    assert found == (True, False, torch.float32)


@contextmanager
def gradients_off() -> Iterator[None]:
    torch.set_grad_enabled(False)
    yield
    torch.set_grad_enabled(True)


@contextmanager
def float64_from_now_on() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield


YIELDING: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "plain": nullcontext,
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "off": gradients_off,
    "float64": float64_from_now_on,
}


def fit(one: Member, context: TrainingContext) -> Iterator[Metrics]:
    """Fits a line; the hyperparameter ``yields`` says in which mode it yields."""
    generator = torch.Generator().manual_seed(one.seed)
    weights = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=float(one.hyperparameters["lr"]))
    context.keep_state(lambda: {"grad": torch.is_grad_enabled(), "weights": weights.detach()})
    for _ in range(context.first_epoch, context.epochs + 1):
        inputs = torch.randn(8, 2, generator=generator)
        loss = ((inputs @ weights.to(inputs.dtype) - inputs.sum(1)) ** 2).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        with YIELDING[str(one.hyperparameters["yields"])]():
            yield {"error": loss.item(), "bytes": loss.element_size()}


def fit_each_in_a_generator_of_its_own(
    members: Sequence[Member], context: TrainingContext
) -> Iterator[Mapping[str, Metrics]]:
    if len(members) > 1:
        raise RuntimeError("one by one, please")
    for metrics in fit(members[0], context):
        yield {members[0].key: metrics}


@pytest.mark.parametrize("trainable", [one_at_a_time(fit), fit_each_in_a_generator_of_its_own])
@pytest.mark.parametrize("how", YIELDING)
def test_the_mode_that_a_member_yields_in_reaches_no_other(
    how: str, trainable: Any, pack_of: PackOf, member: MakeMember, finish: Finish
) -> None:
    members = [member(0, yields="plain"), member(1, yields=how), member(2, yields="plain")]
    # Plain torch is what says how it is alone.
    expected = {
        one.key: [
            metrics["error"]
            for metrics in fit(one, TrainingContext(model="net", optimizer="sgd", epochs=3, study_seed=5))
        ]
        for one in (members[0], member(1, yields="plain"), members[2])
    }
    alone = {key: rows for one in members for key, rows in finish(pack_of(trainable, [one])).items()}
    together = finish(pack_of(trainable, members))
    assert together == alone
    for key, rows in together.items():
        assert (rows[-1][0], rows[-1][4]) == ("completed", None)
        if (key, how) != ("m1", "float64"):
            assert [row[1] for row in rows[:-1]] == expected[key]
    sizes = [dict(row[-1])["bytes"] for row in together["m1"][:-1]]
    assert sizes == ([4.0, 8.0, 8.0] if how == "float64" else [4.0] * 3)


@pytest.mark.parametrize("how", ["no_grad", "inference", "off"])
def test_a_state_is_kept_in_the_mode_of_its_member(how: str, pack_of: PackOf, member: MakeMember) -> None:
    pack = pack_of(one_at_a_time(fit), [member(0, yields="plain"), member(1, yields=how)])
    pack.run_epoch()
    kept = pack.state_dict()["kept"]
    assert [kept[key][1]["own"]["grad"] for key in ("m0", "m1")] == [True, False]


def fall(own: TorchModes) -> None:
    with own.active():
        torch.set_default_dtype(torch.bfloat16)
        raise ZeroDivisionError


def test_modes_begin_as_those_outside_and_are_restored_when_something_is_raised() -> None:
    torch.set_default_dtype(torch.float64)
    with torch.inference_mode():
        own = TorchModes()
    torch.set_default_dtype(torch.float32)
    with own.active():
        assert modes() == (False, True, torch.float64)
    with pytest.raises(ZeroDivisionError):
        fall(own)
    assert modes() == (True, False, torch.float32)
    with own.active():
        assert modes() == (False, True, torch.bfloat16)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.booleans() | st.sampled_from([torch.float16, torch.float32, torch.float64]),
        ),
        max_size=20,
    )
)
def test_each_sees_what_it_has_set_itself(steps: list[tuple[str, bool | torch.dtype]]) -> None:
    own = {"a": TorchModes(), "b": TorchModes()}
    expected = {"a": (True, torch.float32), "b": (True, torch.float32)}
    for who, setting in steps:
        with own[who].active():
            assert modes() == (expected[who][0], False, expected[who][1])
            if isinstance(setting, bool):
                torch.set_grad_enabled(setting)
                expected[who] = (setting, expected[who][1])
            else:
                torch.set_default_dtype(setting)
                expected[who] = (expected[who][0], setting)
        assert modes() == (True, False, torch.float32)
