"""How members end, what a pack reports, and what it refuses."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from trainables import LockstepPack, Member, Recipe, UnknownName, register_model
from trainables.training.failures import ExchangeBroken, MemberFailedAlone, is_out_of_memory

MakePack = Callable[..., LockstepPack]
MakeMember = Callable[..., Member]


def run(pack: LockstepPack) -> LockstepPack:
    while not pack.finished:
        pack.run_epoch()
    return pack


def small(sizes: dict[str, int]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(sizes["image_size"] ** 2, sizes["num_classes"]))


def test_a_completed_member(make_pack: MakePack, member: MakeMember) -> None:
    pack = run(make_pack([member(0)], epochs=3))
    (result,) = pack.results()
    errors = [row.error for row in result.history]
    assert (result.status, result.reason, result.epochs_done, pack.epoch) == ("completed", None, 3, 3)
    assert (result.error, result.best_error) == (errors[-1], min(errors))
    assert [row.epoch for row in result.history] == [1, 2, 3]
    assert all(0 <= error <= 100 and (error * 80 / 100).is_integer() for error in errors)
    assert result.history[-1].train_loss < result.history[0].train_loss


def test_a_running_member(make_pack: MakePack, member: MakeMember) -> None:
    pack = make_pack([member(0)])
    assert (pack.epoch, pack.finished, pack.results()[0].best_error) == (0, False, None)
    (row,) = pack.run_epoch()
    (result,) = pack.results()
    assert (result.status, result.error, result.best_error, result.epochs_done) == ("running", None, row.error, 1)
    assert result.history == (row,)


def test_members_times_sum_to_the_packs(make_pack: MakePack, member: MakeMember) -> None:
    pack = run(make_pack([member(0), member(1, lr=1e6), member(2)]))
    results = pack.results()
    assert sum(result.seconds for result in results) == pytest.approx(pack.train_seconds + pack.eval_seconds)
    assert results[0].seconds == pytest.approx(sum(row.seconds for row in results[0].history))
    assert results[1].history == ()
    assert results[1].seconds > 0


def test_a_diverged_member_stops_with_a_reason(make_pack: MakePack, member: MakeMember) -> None:
    pack = make_pack([member(0, lr=1e6), member(1)])
    assert [row.key for row in pack.run_epoch()] == [member(1).key]
    diverged, other = run(pack).results()
    assert (diverged.status, diverged.error, diverged.best_error, diverged.epochs_done) == ("diverged", None, None, 0)
    assert diverged.reason is not None
    assert "training loss" in diverged.reason
    assert "\n" not in diverged.reason
    assert other.status == "completed"


def test_an_exploded_member_has_diverged_though_its_loss_is_finite(make_pack: MakePack, member: MakeMember) -> None:
    # At the zero head every loss is near ln(10) = 2.303: the limit is put just below and far above.
    for explode, status in ((0.9, "diverged"), (100.0, "completed")):
        recipe = Recipe(batch_size=32, explode=explode)
        (result,) = run(make_pack([member(0, lr=1e-6)], recipe=recipe)).results()
        assert result.status == status
        if status == "diverged":
            assert result.reason is not None
            assert f"in epoch 1 exceeds {0.9 * math.log(10):.4g}" in result.reason


def test_a_non_finite_evaluation_is_divergence(make_pack: MakePack, member: MakeMember) -> None:
    class OnlyTrains(nn.Module):
        def __init__(self, sizes: dict[str, int]) -> None:
            super().__init__()
            self.layers = small(sizes)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.layers(images)
            return logits if self.training else logits / 0

    register_model("only_trains", lambda **sizes: OnlyTrains(sizes))
    (result,) = run(make_pack([member(0)], model="only_trains")).results()
    assert (result.status, result.epochs_done) == ("diverged", 0)
    assert result.reason is not None
    assert result.reason.startswith("evaluation loss is")


def test_a_pack_without_live_members_is_finished(make_pack: MakePack, member: MakeMember) -> None:
    pack = make_pack([member(0, lr=1e6)], epochs=50)
    assert pack.run_epoch() == []
    assert pack.finished
    with pytest.raises(RuntimeError, match="the pack is finished"):
        pack.run_epoch()


def raising(error: BaseException) -> Callable[..., nn.Module]:
    def factory(**sizes: int) -> nn.Module:
        raise error

    return factory


def test_a_factory_that_raises_fails_its_members(make_pack: MakePack, member: MakeMember) -> None:
    register_model("broken", raising(KeyError("no\nweights " + "x" * 400)))
    pack = make_pack([member(0), member(1)], model="broken")
    assert pack.run_epoch() == []
    for result in pack.results():
        assert (result.status, result.error, result.epochs_done) == ("failed", None, 0)
        assert result.reason is not None
        assert result.reason.startswith("KeyError: ")
        assert len(result.reason) == 300
        assert "\n" not in result.reason


def test_logits_of_another_shape_fail_with_a_clear_reason(make_pack: MakePack, member: MakeMember) -> None:
    register_model("short", lambda **sizes: small({**sizes, "num_classes": 9}))
    (result,) = run(make_pack([member(0)], model="short")).results()
    assert result.reason == "ValueError: the model returned (32, 9) instead of logits of shape (32, 10)"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("host"),
        torch.OutOfMemoryError("device"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        KeyboardInterrupt(),
        SystemExit(1),
    ],
)
def test_what_is_the_processes_propagates(error: BaseException, make_pack: MakePack, member: MakeMember) -> None:
    register_model("greedy", raising(error))
    pack = make_pack([member(0)], model="greedy")
    with pytest.raises(type(error)):
        pack.run_epoch()
    # Half an epoch must neither be saved nor continued.
    with pytest.raises(RuntimeError, match="interrupted half-way"):
        pack.state_dict()
    with pytest.raises(RuntimeError, match="interrupted half-way"):
        pack.run_epoch()


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (ValueError("out of memory"), False),
        (MemberFailedAlone("a", "ValueError: out of memory"), False),
        (ExchangeBroken("another worker of the pack is gone (RuntimeError: out of memory)"), False),
    ],
)
def test_what_is_out_of_memory(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) is memory


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vit_q_micro"}, "unknown model 'vit_q_micro'"),
        ({"optimizer": "sdg"}, "unknown optimizer 'sdg'; did you mean 'sgd'"),
        ({"epochs": 0}, "epochs: got 0, expected 1 or more"),
        ({"recipe": Recipe(batch_size=161)}, "batch_size: got 161, expected 1 to 160"),
        ({"study_seed": -1}, "study seed: got -1"),
    ],
)
def test_a_bad_pack_is_refused(changes: dict[str, Any], message: str, make_pack: MakePack, member: MakeMember) -> None:
    with pytest.raises(ValueError, match=message):
        make_pack([member(0)], **changes)


def test_bad_members_are_refused(make_pack: MakePack, member: MakeMember) -> None:
    with pytest.raises(ValueError, match="members: got none"):
        make_pack([])
    with pytest.raises(ValueError, match="key 'stability/arm/000000/0' occurs twice"):
        make_pack([member(0), member(0)])
    with pytest.raises(ValueError, match="seed is -1"):
        make_pack([Member(key="a", seed=-1, hyperparameters={"lr": 1.0, "weight_decay": 0.0})])
    with pytest.raises(UnknownName, match="unknown hyperparameter 'beta1'; optimizer 'sgd' takes lr, momentum"):
        make_pack([member(0, beta1=0.5)])
    with pytest.raises(ValueError, match="hyperparameter 'lr' is missing"):
        make_pack([Member(key="a", seed=0, hyperparameters={"weight_decay": 0.0})])
