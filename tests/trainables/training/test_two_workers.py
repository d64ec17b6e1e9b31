"""A pack on two processes is the pack on one, to float tolerance, at the same batch size."""

import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables import LockstepPack, Member, Recipe, load_dataset
from trainables.training.batch_norm import synchronise_batch_norm

MEMBERS = [
    Member(key="a", seed=1, hyperparameters={"lr": 0.02, "weight_decay": 1e-4}),
    Member(key="b", seed=2, hyperparameters={"lr": 0.005, "weight_decay": 1e-2}),
    Member(key="c", seed=3, hyperparameters={"lr": 1e30, "weight_decay": 0.0}),
]
RECIPE: dict[str, Any] = {
    "batch_size": 64,
    "warmup_epochs": 0.5,
    "ema_horizon": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "flip": 0.5,
}
# One process imports torch, timm and scikit-learn, some 10 s on a busy machine, and is forked for every pair of workers.
PARENT = """
import json, os, sys, traceback
import sklearn.datasets, timm, torch
from torch import distributed
from trainables import LockstepPack, Member, MemberFailedAlone, Ranks, Recipe, load_dataset, register_model
from trainables.training import ranks as ranks_module
from trainables.training.failures import ExchangeBroken
torch.set_num_threads(1)

def work(job, rank):
    os.environ.update(job["environment"], RANK=str(rank))
    sys.argv = ["", *job["arguments"]]
    os.dup2(os.open(job["errors"][rank], os.O_WRONLY | os.O_CREAT), 2)
    try:
        exec(job["program"], {**globals()})
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.stderr.flush()
    os._exit(0)

for line in sys.stdin:
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            work(json.loads(line), rank)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(json.dumps(codes), flush=True)
"""
PROGRAM = """
asked = torch.load(sys.argv[1], weights_only=True)
rank, folder = int(os.environ["RANK"]), sys.argv[2]
distributed.init_process_group("gloo")
ranks_module.ALL_HERE_WITHIN_S = 3
ranks = Ranks(rank, int(os.environ["WORLD_SIZE"]))

def raises(ranks, norm):
    def factory(*, num_classes, image_size, in_channels):
        layers = [torch.nn.Flatten(), torch.nn.Linear(in_channels * image_size**2, num_classes)]
        model = torch.nn.Sequential(*([torch.nn.BatchNorm2d(in_channels)] if norm else []), *layers)
        steps = []
        def count(module, inputs):
            steps.append(1)
            if rank in ranks and len(steps) == 3 and (not norm or torch.initial_seed() % 2):
                raise ArithmeticError("only here")
        model.register_forward_pre_hook(count)
        return model
    return factory

register_model("raises-on-the-second", raises([1], False))
register_model("raises-on-the-second-with-norm", raises([1], True))
register_model("raises-on-both-with-norm", raises([0, 1], True))
def pack():
    return LockstepPack(
        [Member(**member) for member in asked["members"]], model=asked["model"], optimizer=asked["optimizer"],
        data=load_dataset("digits", image_size=16), recipe=Recipe(**asked["recipe"]), epochs=2, study_seed=7, ranks=ranks,
    )
training = pack()
if asked["pause_at"]:
    assert training.run_epoch(lambda: training.step >= asked["pause_at"]) == []
    assert training.step == asked["pause_at"], training.step
    state = training.state_dict()
    if rank == 0:
        torch.save(state, folder + "/state.pt")
    distributed.barrier()
    training = pack()
    training.load_state_dict(torch.load(folder + "/state.pt", weights_only=True))
while not training.finished:
    try:
        training.run_epoch()
    except MemberFailedAlone as error:
        print(f"{error.key}: {error.reason}", file=sys.stderr, flush=True)
        os._exit(7)
    except ExchangeBroken as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(8)
    if training.epoch == 1:
        training.stop(asked["stop"])
rows = {r.key: [r.status, r.reason, [[e.train_loss, e.eval_loss, e.error, e.lr] for e in r.history]] for r in training.results()}
state = training.state_dict()
torch.save({"rows": rows, "state": state}, f"{folder}/rank{rank}.pt")
"""


@functools.cache
def parent() -> "subprocess.Popen[str]":
    """The process that is forked; its input ends, and so it does, with this process."""
    root = Path(__file__).resolve().parents[3]
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "platform")])}
    command = [sys.executable, "-c", PARENT]
    return subprocess.Popen(command, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def on_two(
    folder: Path,
    model: str,
    recipe: dict[str, Any],
    optimizer: str = "sgd",
    pause_at: int = 0,
    members: Sequence[Member] = MEMBERS,
    exit_codes: Sequence[int] = (0, 0),
    stop: dict[str, str] | None = None,
) -> list[Any]:
    folder.mkdir()
    asked = {
        "members": [{"key": m.key, "seed": m.seed, "hyperparameters": dict(m.hyperparameters)} for m in members],
        "model": model,
        "optimizer": optimizer,
        "recipe": recipe,
        "pause_at": pause_at,
        "stop": stop or {},
    }
    torch.save(asked, folder / "asked.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    files = [folder / f"errors{rank}" for rank in range(2)]
    job = {
        "program": PROGRAM,
        "arguments": [str(folder / "asked.pt"), str(folder)],
        "environment": {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"},
        "errors": [str(file) for file in files],
    }
    process = parent()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    codes = json.loads(process.stdout.readline())
    errors = [file.read_text() for file in files]
    assert codes == list(exit_codes), errors
    if any(exit_codes):
        return errors
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def on_one(
    model: str, recipe: dict[str, Any], optimizer: str = "sgd", members: Sequence[Member] = MEMBERS
) -> LockstepPack:
    pack = LockstepPack(
        members,
        model=model,
        optimizer=optimizer,
        data=load_dataset("digits", image_size=16),
        recipe=Recipe(**recipe),
        epochs=2,
        study_seed=7,
    )
    while not pack.finished:
        pack.run_epoch()
    return pack


def assert_close(two: Any, one: LockstepPack) -> None:
    weights = one.state_dict()["members"]
    for result in one.results():
        status, _, history = two["rows"][result.key]
        assert status == result.status
        for row, expected in zip(history, result.history, strict=True):
            assert row[:2] == pytest.approx([expected.train_loss, expected.eval_loss], rel=2e-4)
            assert row[2] == pytest.approx(expected.error, abs=0.6)
            assert row[3] == expected.lr
        for part in ("model", "ema"):
            for name, tensor in (weights[result.key][part] or {}).items():
                found = two["state"]["members"][result.key][part][name]
                torch.testing.assert_close(found, tensor, rtol=1e-2, atol=2e-3, msg=f"{part} {name}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What two workers get with a model that has batch norm."""
    return on_two(tmp_path_factory.mktemp("two") / "whole", "vit_c_micro", RECIPE)


def test_two_agree_with_one_with_batch_norm_over_both(whole: list[Any]) -> None:
    assert whole[0]["rows"] == whole[1]["rows"]
    assert_close(whole[0], on_one("vit_c_micro", RECIPE))
    assert {row[0] for row in whole[0]["rows"].values()} == {"completed", "diverged"}


# AdamW divides by the gradient's size: where that is about nothing, rounding errors grow with the rate.
@pytest.mark.parametrize(
    ("model", "optimizer", "lr"), [("vit_p_micro", "adamw", 1e-3), ("timm:test_resnet", "sgd", 0.02)]
)
def test_two_agree_with_one(model: str, optimizer: str, lr: float, tmp_path: Path) -> None:
    members = [Member(key="a", seed=1, hyperparameters={"lr": lr, "weight_decay": 1e-4})]
    two = on_two(tmp_path / "two", model, RECIPE, optimizer, members=members)
    assert two[0]["rows"] == two[1]["rows"]
    assert_close(two[0], on_one(model, RECIPE, optimizer, members))


def test_batch_norm_of_each_workers_part_gives_another_result(tmp_path: Path) -> None:
    one = on_one("vit_c_micro", RECIPE)
    apart = on_two(tmp_path / "apart", "vit_c_micro", {**RECIPE, "sync_batch_norm": False})
    assert apart[0]["rows"] == apart[1]["rows"]
    assert apart[0]["rows"]["a"][2][0][0] != pytest.approx(one.results()[0].history[0].train_loss, rel=1e-3)
    for key in ("a", "b"):
        for part in ("model", "ema"):
            first, second = (rank["state"]["members"][key][part] for rank in apart)
            for name, tensor in first.items():
                torch.testing.assert_close(tensor, second[name], rtol=0, atol=0)


def test_members_with_own_recipes_of_which_one_is_pruned(tmp_path: Path) -> None:
    """What each worker's batch norm sees is a member's own choice, and no other member's business."""
    owns: dict[str, dict[str, Any]] = {
        "together": {},
        "apart": {"sync_batch_norm": False},
        "smooth": {"label_smoothing": 0.3, "grad_clip": 0.5},
        "pruned": {"drop_path": 0.5},
    }
    members = [
        Member(key=key, seed=1, hyperparameters={"lr": 0.02, "weight_decay": 1e-4, **own}) for key, own in owns.items()
    ]
    recipe = {"batch_size": 64, "precise_batch_norm": 128}
    first, second = on_two(tmp_path / "two", "vit_c_micro", recipe, members=members, stop={"pruned": "enough"})
    assert first["rows"] == second["rows"]
    status, reason, history = first["rows"]["pruned"]
    assert (status, reason, len(history)) == ("pruned", "enough", 1)
    one = {result.key: result.history for result in on_one("vit_c_micro", recipe, members=members).results()}
    for key in ("together", "smooth"):
        for row, expected in zip(first["rows"][key][2], one[key], strict=True):
            assert row[:2] == pytest.approx([expected.train_loss, expected.eval_loss], rel=2e-4)
    assert first["rows"]["apart"][2][0][0] != pytest.approx(one["apart"][0].train_loss, rel=1e-3)
    for rank in (first, second):
        for name, tensor in rank["state"]["members"]["apart"]["model"].items():
            torch.testing.assert_close(tensor, first["state"]["members"]["apart"]["model"][name], rtol=0, atol=0)


def test_a_pack_on_two_continues_within_an_epoch_to_the_bit(whole: list[Any], tmp_path: Path) -> None:
    paused = on_two(tmp_path / "paused", "vit_c_micro", RECIPE, pause_at=8)
    assert [rank["rows"] for rank in paused] == [rank["rows"] for rank in whole]


def test_a_member_that_raises_on_one_worker_fails_on_all(tmp_path: Path) -> None:
    members = MEMBERS[:2]
    first, second = on_two(tmp_path / "two", "raises-on-the-second", {"batch_size": 64}, members=members)
    assert {row[0] for row in first["rows"].values()} == {row[0] for row in second["rows"].values()} == {"failed"}
    assert first["rows"]["a"][1] == "RuntimeError: it failed on another worker of its pack, see that worker's log"
    assert second["rows"]["a"][1] == "ArithmeticError: only here"


def odd_and_even_seeds() -> list[Member]:
    return [
        Member(key=key, seed=seed, hyperparameters={"lr": 0.02, "weight_decay": 0.0})
        for key, seed in (("a", 1), ("b", 2))
    ]


def test_a_member_that_raises_alone_in_an_exchange_is_named(tmp_path: Path) -> None:
    """The other worker waits in batch norm: this one says who failed, and the pack ends instead of mixing up sums."""
    model, members = "raises-on-the-second-with-norm", odd_and_even_seeds()
    errors = on_two(tmp_path / "two", model, {"batch_size": 64}, members=members, exit_codes=(8, 7))
    assert errors[1].strip().splitlines()[-1] == "a: ArithmeticError: only here"
    assert "another worker of the pack is gone" in errors[0]


def test_a_member_that_raises_on_both_workers_fails_and_its_neighbour_goes_on(tmp_path: Path) -> None:
    recipe = {"batch_size": 64, "precise_batch_norm": 128}
    first, second = on_two(tmp_path / "two", "raises-on-both-with-norm", recipe, members=odd_and_even_seeds())
    assert first["rows"] == second["rows"]
    assert first["rows"]["a"][:2] == ["failed", "ArithmeticError: only here"]
    assert first["rows"]["b"][0] == "completed"


def test_a_synchronised_norm_of_one_worker_is_the_norm() -> None:
    from torch import distributed

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        ours, torchs = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        synchronise_batch_norm(ours, 1)
        images = torch.randn(5, 3, 4, 4)
        inputs = [images.clone().requires_grad_(), images.clone().requires_grad_()]
        outputs = [ours(inputs[0]), torchs(inputs[1])]
        for output in outputs:
            output.pow(3).sum().backward()
        torch.testing.assert_close(outputs[0], outputs[1])
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.running_var, torchs.running_var)
        torch.testing.assert_close(ours.running_mean, torchs.running_mean)
        torch.testing.assert_close(ours.eval()(images), torchs.eval()(images))
        assert list(ours.state_dict()) == list(torchs.state_dict())
    finally:
        distributed.destroy_process_group()
