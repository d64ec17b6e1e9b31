"""Whatever members do, in whatever packs and however interrupted: each gets what it gets alone."""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainables import CustomPack, Member, TrainingContext

Finish = Callable[[CustomPack], dict[str, list[tuple[Any, ...]]]]
EPOCHS = 4
MISFORTUNES = ("none", "raises together", "raises", "ends", "says so", "diverges", "is left out", "bad metric")


def misfortune(member: Member, epoch: int) -> str:
    return str(member.hyperparameters["what"]) if member.hyperparameters["when"] == epoch else "none"


def scripted(keeps_state: bool) -> Callable[[Sequence[Member], TrainingContext], Iterator[Mapping[str, Any]]]:
    """A recurrence for each member, with the misfortune that its hyperparameters name."""

    def train(members: Sequence[Member], context: TrainingContext) -> Iterator[Mapping[str, Any]]:
        values = {one.key: one.seed if context.state is None else context.state[one.key] for one in members}
        if keeps_state:
            context.keep_state(lambda: {key: value for key, value in values.items() if key not in context.stopped()})
        for epoch in range(context.first_epoch, context.epochs + 1):
            yielded: dict[str, Any] = {}
            for one in members:
                values[one.key] = (values[one.key] * 1103515245 + 12345) % 2**31
                what = misfortune(one, epoch)
                if what == "raises" or (what == "raises together" and len(members) > 1):
                    raise ArithmeticError(f"in epoch {epoch}")
                if what == "ends":
                    return
                if what != "is left out":
                    yielded[one.key] = {
                        "says so": ArithmeticError(f"in epoch {epoch}"),
                        "diverges": {"error": math.inf},
                        "bad metric": {"error": "bad"},
                    }.get(what, {"error": float(values[one.key] % 1000)})
            yield yielded

    return train


def saying(answer: bool) -> Callable[[], bool]:
    return lambda: answer


def passed_on(pack: CustomPack, make: Callable[[], CustomPack]) -> CustomPack:
    file = io.BytesIO()
    torch.save(pack.state_dict(), file)
    file.seek(0)
    again = make()
    again.load_state_dict(torch.load(file, weights_only=True))
    return again


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scripts=st.lists(
        st.tuples(st.sampled_from(MISFORTUNES), st.integers(1, EPOCHS), st.booleans()), min_size=1, max_size=5
    ),
    keeps_state=st.booleans(),
    interruptions=st.lists(st.sampled_from(["none", "checkpoint", "pause"]), max_size=12),
)
def test_a_member_gets_what_it_gets_alone(
    pack_of: Callable[..., CustomPack],
    finish: Finish,
    scripts: list[tuple[str, int, bool]],
    keeps_state: bool,
    interruptions: list[str],
) -> None:
    members = [
        Member(key=f"m{index}", seed=index, hyperparameters={"what": what, "when": when})
        for index, (what, when, _) in enumerate(scripts)
    ]
    trainable = scripted(keeps_state)
    alone = {key: rows for one in members for key, rows in finish(pack_of(trainable, [one], epochs=EPOCHS)).items()}
    found = {}
    for half in (True, False):
        own = [one for one, (_, _, first) in zip(members, scripts, strict=True) if first is half]
        if own:

            def make(own: list[Member] = own) -> CustomPack:
                return pack_of(trainable, own, epochs=EPOCHS)

            pack = make()
            for interruption in interruptions:
                if not pack.finished:
                    pack.run_epoch(saying(interruption == "pause"))
                if interruption != "none":
                    pack = passed_on(pack, make)
            found.update(finish(pack))
    assert found == alone
