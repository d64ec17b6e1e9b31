"""The user's optimizers and trainables by name, and their way into another process."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables import (
    Member,
    TrainingContext,
    UnknownName,
    UserEntries,
    install,
    one_at_a_time,
    register_optimizer,
    register_trainable,
    registry,
    trainable_names,
    user_entries,
)

ROOT = Path(__file__).parents[2]
USERS_CODE = """
import torch
from trainables import one_at_a_time, register_optimizer, register_trainable

@register_optimizer("halved")
def halved(groups, *, lr, weight_decay=0.0):
    return torch.optim.SGD(groups, lr=lr / 2, weight_decay=weight_decay)

@register_optimizer("tilted")
class Tilted(torch.optim.SGD):
    def __init__(self, params, lr, tilt=0.5):
        super().__init__(params, lr=lr, momentum=tilt)

def offset():
    return 0.5

@register_trainable("coin")
@one_at_a_time
def coin(member, context):
    for epoch in range(context.first_epoch, context.epochs + 1):
        yield {"error": float(torch.rand(())) + offset()}

@register_trainable("count")
def count(members, context):
    for epoch in range(context.first_epoch, context.epochs + 1):
        yield {member.key: {"error": epoch} for member in members}
"""
SEND = """
import {pickler}, trainables
with open({file!r}, "wb") as file:
    {pickler}.dump(trainables.user_entries(), file)
"""
TAKE = """
import pickle, sys
from torch import nn
import trainables
with open({file!r}, "rb") as file:
    entries = pickle.load(file)
trainables.install(entries)
trainables.install(entries)
model = nn.Linear(2, 1)
print(trainables.optimizer_names(), trainables.trainable_names())
print(trainables.create_optimizer("halved", model, {{"lr": 1.0}}).param_groups[0]["lr"])
print(trainables.create_optimizer("tilted", model, {{"lr": 1.0}}).param_groups[0]["momentum"])
members = [trainables.Member(key=key, seed=3, hyperparameters={{}}) for key in "ab"]
for name in ("coin", "count"):
    pack = trainables.CustomPack(members, trainable=name, model="m", optimizer="o", options={{}}, epochs=2, study_seed=0)
    while not pack.finished:
        pack.run_epoch()
    print([[row.error for row in result.history] for result in pack.results()])
print("users_code" in sys.modules)
"""


def count(members: Sequence[Member], context: TrainingContext) -> Iterator[Mapping[str, Any]]:
    for epoch in range(context.first_epoch, context.epochs + 1):
        yield {member.key: {"error": float(epoch)} for member in members}


def test_a_trainable_is_known_by_its_name() -> None:
    assert trainable_names() == ()
    assert register_trainable("count", count) is count

    @register_trainable("lines")
    @one_at_a_time
    def lines(member: Member, context: TrainingContext) -> Iterator[Mapping[str, float]]:
        yield {"error": 1.0}

    assert trainable_names() == ("count", "lines")
    assert (registry.user_trainable("count"), registry.user_trainable("lines")) == (count, lines)
    assert registry.user_trainable("other") is None
    registry.require_trainable("lines")
    with pytest.raises(UnknownName, match="unknown trainable 'line'; did you mean 'lines'\\? known: count, lines"):
        registry.require_trainable("line")


def test_a_trainables_name_follows_the_rules_of_all_names() -> None:
    register_trainable("count", count)
    with pytest.raises(ValueError, match="trainable 'count' is registered already; choose another name"):
        register_trainable("count", count)
    for name in ("", "a/b", "a b", "-a"):
        with pytest.raises(ValueError, match="use letters, digits"):
            register_trainable(name, count)
    not_callable: Any = "count"
    with pytest.raises(TypeError, match="trainable 'text': what is registered must be callable, got str"):
        register_trainable("text", not_callable)


def test_entries_are_copies_that_install_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    register_trainable("count", count)
    register_optimizer("adam", torch.optim.Adam)
    entries = user_entries()
    register_trainable("later", count)
    assert entries == UserEntries(
        models=entries.models,
        datasets=entries.datasets,
        optimizers={"adam": torch.optim.Adam},
        trainables={"count": count},
    )
    monkeypatch.setattr(registry, "_user_optimizers", {})
    monkeypatch.setattr(registry, "_user_trainables", {})
    install(entries)
    assert trainable_names() == ("count",)
    assert registry.optimizer_names() == ("adam", "adamw", "sgd")


@pytest.mark.parametrize(("pickler", "by_value"), [("pickle", False), ("ray.cloudpickle", True)])
def test_another_process_uses_what_this_one_registered(pickler: str, by_value: bool, tmp_path: Path) -> None:
    (tmp_path / "users_code.py").write_text(USERS_CODE)
    file, path = str(tmp_path / "entries.pickle"), f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n"
    # What a script or a notebook defines is in __main__, which another process does not have.
    define = USERS_CODE if by_value else "import users_code\n"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", path + code], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for code in (define + SEND.format(file=file, pickler=pickler), TAKE.format(file=file))
    ]
    names, halved, tilted, coin, counted, imported = outputs[1].splitlines()
    assert names == "('adamw', 'halved', 'sgd', 'tilted') ('coin', 'count')"
    assert (halved, tilted, imported) == ("0.5", "0.5", str(not by_value))
    torch_generator = torch.Generator().manual_seed(3)
    expected = [float(torch.rand((), generator=torch_generator)) + 0.5 for _ in range(2)]
    assert coin == str([expected, expected])
    assert counted == "[[1.0, 2.0], [1.0, 2.0]]"
