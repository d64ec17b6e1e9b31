"""Evaluation of a fused pack: on a CPU each member alone, to the bit; on a GPU all members together."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainables import UNREADABLE, ImageData, LockstepPack, Member, Recipe, create_model, register_model
from trainables.data.dataset import Batch, Reading
from trainables.training.fused import pack as packs
from trainables.training.fused.choice import Choice
from trainables.training.fused.members import FusedMembers
from trainables.training.fused.pack import FusedPack

MakeMember = Callable[..., Member]
DOUBLE = 1e-9


def group(member: MakeMember) -> list[Member]:
    """Four, the second of which diverges."""
    return [member(at, lr=lr, weight_decay=0.05) for at, lr in enumerate((0.001, 1e30, 0.003, 0.002))]


def trained(kind: type[LockstepPack], members: list[Member], data: ImageData, **asked: Any) -> LockstepPack:
    recipe = Recipe(batch_size=32, **asked.pop("recipe", {}))
    pack = kind(members, data=data, recipe=recipe, **{"optimizer": "adamw", "epochs": 2, "study_seed": 5, **asked})
    while not pack.finished:
        pack.run_epoch()
    return pack


@pytest.mark.parametrize("part", ["model", "ema"])
def test_on_a_cpu_the_numbers_are_those_of_each_model_alone(
    part: str, small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FusedMembers, "evaluate", lambda *_: pytest.fail("the members were evaluated together"))
    recipe = {"ema_horizon": 0.3} if part == "ema" else {}
    fused = trained(FusedPack, group(member), small_data, model="vit_c_micro", recipe=recipe)
    assert fused.note is None
    mean, std = (torch.tensor(own).view(-1, 1, 1) for own in (small_data.mean, small_data.std))
    images, labels = small_data.eval_images.float().div(255).sub(mean).div(std), small_data.eval_labels
    states = fused.state_dict()["members"]
    assert [result.status for result in fused.results()] == ["completed", "diverged", "completed", "completed"]
    for result in fused.results():
        if result.status == "completed":
            model = create_model("vit_c_micro", num_classes=10, image_size=16, in_channels=images.shape[1]).eval()
            model.load_state_dict(states[result.key][part])
            with torch.no_grad():
                logits = model(images)
            loss = float(functional.cross_entropy(logits, labels, reduction="sum")) / len(labels)
            wrong = int((logits.argmax(1) != labels).sum())
            assert (result.history[-1].eval_loss, result.error) == (loss, 100.0 * wrong / len(labels))


class SomeUnreadable(ImageData):
    """Every seventh image of a batch cannot be read."""

    def train_batches(self, reading: Reading, **rest: Any) -> Iterator[Batch]:
        return self._with_holes(super().train_batches(reading, **rest))

    def eval_batches(self, reading: Reading) -> Iterator[Batch]:
        return self._with_holes(super().eval_batches(reading))

    def _with_holes(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            labels = batch.labels.clone()
            labels[::7] = UNREADABLE
            yield replace(batch, labels=labels)


class InDouble(nn.Module):
    """A model whose parameters and logits are float64."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(images.double())
        return logits


@pytest.mark.parametrize("recipe", [{}, {"ema_horizon": 0.3}, {"precise_batch_norm": 64}])
def test_together_they_have_the_numbers_of_the_loop(
    recipe: dict[str, Any], small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "_evaluates_together", lambda _device: True)
    register_model("in-double", lambda **sizes: InDouble(create_model("vit_c_micro", **sizes)))
    data = SomeUnreadable(**{field.name: getattr(small_data, field.name) for field in fields(small_data)})
    looped, fused = (
        trained(kind, group(member), data, model="in-double", recipe=recipe) for kind in (LockstepPack, FusedPack)
    )
    assert fused.note is None
    assert [result.status for result in fused.results()].count("completed") == 3
    for one, other in zip(looped.results(), fused.results(), strict=True):
        assert (one.status, one.epochs_done) == (other.status, other.epochs_done)
        for row, again in zip(one.history, other.history, strict=True):
            assert row.error == again.error
            assert row.eval_loss == pytest.approx(again.eval_loss, abs=DOUBLE)


@pytest.mark.parametrize("recipe", [{}, {"mixup": 0.2, "cutmix": 1.0}])
def test_images_that_cannot_be_read_count_in_no_gradient(
    recipe: dict[str, Any], small_data: ImageData, member: MakeMember
) -> None:
    register_model("in-double", lambda **sizes: InDouble(create_model("vit_c_micro", **sizes)))
    data = SomeUnreadable(**{field.name: getattr(small_data, field.name) for field in fields(small_data)})
    members = [member(at, lr=0.003, label_smoothing=0.1 * at) for at in range(3)]
    looped, fused, whole = (
        trained(kind, members, images, model="in-double", recipe=recipe)
        for kind, images in ((LockstepPack, data), (FusedPack, data), (FusedPack, small_data))
    )
    assert fused.note is None
    losses = [
        [row.train_loss for result in pack.results() for row in result.history] for pack in (looped, fused, whole)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=DOUBLE)
    assert losses[0] != pytest.approx(losses[2], abs=0.01)


@pytest.mark.parametrize("measure", [True, False])
def test_memory_that_runs_out_in_evaluation_counts_nothing_twice(
    measure: bool, small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "_evaluates_together", lambda _device: True)
    monkeypatch.setattr(Choice, "way", "fused")
    argmax = torch.Tensor.argmax

    def full(self: torch.Tensor, dim: int) -> torch.Tensor:
        if dim == 2:
            raise torch.OutOfMemoryError("full")
        return argmax(self, dim)

    monkeypatch.setattr(torch.Tensor, "argmax", full)
    register_model("in-double", lambda **sizes: InDouble(create_model("vit_c_micro", **sizes)))
    kind: Any = partial(FusedPack, measure=measure)
    if not measure:
        with pytest.raises(torch.OutOfMemoryError):
            trained(kind, group(member), small_data, model="in-double")
        return
    looped, fused = (trained(one, group(member), small_data, model="in-double") for one in (LockstepPack, kind))
    assert fused.note == "OutOfMemoryError: full"
    for one, other in zip(looped.results(), fused.results(), strict=True):
        assert (one.status, one.error) == (other.status, other.error)
        for row, again in zip(one.history, other.history, strict=True):
            assert row.eval_loss == pytest.approx(again.eval_loss, abs=DOUBLE)
