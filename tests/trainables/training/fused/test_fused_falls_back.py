"""What cannot be fused is trained in a loop, to the bit as a looped pack does, and a note says why."""

import gc
import re
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainables.training.fused.running_mean import RunningMean
from trainables import ImageData, LockstepPack, Member, Recipe, create_model, register_model, register_optimizer
from trainables.training.fused import pack as pack_module
from trainables.training.fused.choice import Choice
from trainables.training.fused.forward import StackedForward
from trainables.training.fused.members import FusedMembers
from trainables.training.fused.pack import FusedPack

MakeMember = Callable[..., Member]
Numbers = Callable[[LockstepPack], dict[str, list[tuple[Any, ...]]]]


class Net(nn.Module):
    """Linear, with something before."""

    def __init__(self, before: Callable[[torch.Tensor], torch.Tensor], pixels: int, num_classes: int) -> None:
        super().__init__()
        self.before, self.linear = before, nn.Linear(pixels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(self.before(images.flatten(1)) if self.training else images.flatten(1))
        return logits


def reads_a_value(features: torch.Tensor) -> torch.Tensor:
    return features * (1.0 if float(features.sum()) > 0 else 2.0)


class Remembers(nn.Module):
    """Has a tensor of its own that is no buffer: stacking does not see it."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__()
        self.linear, self.shift = nn.Linear(pixels, num_classes), torch.randn(num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(images.flatten(1)) + self.shift
        return logits


class BranchesOnWeights(nn.Linear):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images.flatten(1))
        return logits if bool(self.bias.sum() > 1e9) else logits * 0.5


class Loops(nn.Linear):
    """Has an operation for which torch would loop over the models."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images.flatten(1))
        return logits + torch.bincount(logits.argmax(1), minlength=self.out_features) * 0.01


class Assigns(RunningMean):
    """Keeps a running mean by putting a new tensor in its place."""

    def note(self, logits: torch.Tensor) -> None:
        self.mean = 0.9 * self.mean + 0.1 * logits.mean(0)


class HidesBatchNorm(nn.Linear):
    """Its batch norm is no module of it."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__(pixels, num_classes)
        self.hidden = [nn.BatchNorm1d(num_classes)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.hidden[0](super().forward(images.flatten(1)))
        return logits


class UsesMoreLater(nn.Linear):
    """A scale of its own is used from the fourth training step on."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__(pixels, num_classes)
        self.scale = nn.Parameter(torch.ones(num_classes))
        self.passes = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passes += self.training and torch.is_grad_enabled()
        logits = super().forward(images.flatten(1))
        return logits * self.scale if self.passes > 3 else logits


class BeforeAHeadOfZeros(Remembers):
    """What it remembers is not seen in its first logits."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__(pixels, num_classes)
        self.head = nn.Linear(num_classes, num_classes)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(super().forward(images))
        return logits


class DropsAttention(nn.Linear):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images[:, :1]
        dropped = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, dropout_p=0.5 * self.training)
        return super().forward(images.flatten(1)) + dropped.mean((1, 2, 3))[:, None]


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "dropout": lambda pixels, classes: nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(pixels, classes)),
    "remembers": Remembers,
    "branches": lambda pixels, classes: BranchesOnWeights(pixels, classes),
    "loops": lambda pixels, classes: Loops(pixels, classes),
    "assigns": lambda pixels, classes: Assigns(pixels, classes),
    "hides": lambda pixels, classes: HidesBatchNorm(pixels, classes),
    "zeros": lambda pixels, classes: BeforeAHeadOfZeros(pixels, classes),
    "drops-attention": lambda pixels, classes: DropsAttention(pixels, classes),
}
REASONS = {
    "dropout": "random",
    "remembers": "together give other logits than alone",
    "branches": "data-dependent|vmap",
    "loops": "vmap|bincount",
    "assigns": "assigns another tensor to mean",
    "hides": "no buffers of the model",
    "zeros": "together give other logits than alone",
    "drops-attention": "random",
}


def model(name: str) -> str:
    def factory(*, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
        return MODELS[name](in_channels * image_size**2, num_classes)

    register_model(name, factory)
    return name


def packs(members: list[Member], data: ImageData, **asked: Any) -> tuple[LockstepPack, FusedPack]:
    recipe = Recipe(batch_size=32, **asked.pop("recipe", {}))
    both: dict[str, Any] = {"optimizer": "adamw", "data": data, "recipe": recipe, "epochs": 2, "study_seed": 5, **asked}
    return LockstepPack(members, **both), FusedPack(members, **both)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_fused(name: str, small_data: ImageData, member: MakeMember, numbers: Numbers) -> None:
    looped, fused = packs([member(0), member(1, lr=1e30), member(2)], small_data, model=model(name))
    assert numbers(looped) == numbers(fused)
    assert fused.note is not None
    assert re.search(REASONS[name], fused.note), fused.note


def test_stochastic_depth(small_data: ImageData, member: MakeMember, numbers: Numbers) -> None:
    options = {"drop_path": 0.3}
    looped, fused = packs([member(0), member(1)], small_data, model="vit_p_micro", model_options=options)
    assert numbers(looped) == numbers(fused)
    assert fused.note is not None
    assert "random" in fused.note


def test_a_model_that_uses_more_of_itself_later(small_data: ImageData, member: MakeMember) -> None:
    register_model(
        "more", lambda *, num_classes, image_size, in_channels: UsesMoreLater(in_channels * image_size**2, num_classes)
    )
    _, fused = packs([member(0), member(1)], small_data, model="more")
    while not fused.finished:
        fused.run_epoch()
    assert fused.note == "RuntimeError: the loss depends on other parameters than in the first step"
    assert [result.status for result in fused.results()] == ["completed"] * 2


def test_another_optimizer(small_data: ImageData, member: MakeMember, numbers: Numbers) -> None:
    register_optimizer("own", torch.optim.Adam)
    for name in ("own", "torch:RMSprop"):
        looped, fused = packs([member(0), member(1)], small_data, model="vit_p_micro", optimizer=name)
        assert numbers(looped) == numbers(fused)
        assert fused.note == f"optimizer {name!r} has no fused form (adamw and sgd have one)"


def test_members_of_other_shapes(small_data: ImageData, member: MakeMember, numbers: Numbers) -> None:
    members = [member(0, blocks=1), member(1, blocks=2)]
    looped, fused = packs(members, small_data, model="vit_p_micro")
    assert numbers(looped) == numbers(fused)
    assert fused.note == "its members' models differ in shape"


def test_members_of_one_shape_with_other_options(small_data: ImageData, member: MakeMember, numbers: Numbers) -> None:
    looped, fused = packs([member(0, heads=1), member(1, heads=4)], small_data, model="vit_p_micro")
    assert numbers(looped) == numbers(fused)
    assert fused.note == "its members' models have different options"


def test_members_of_different_precision(small_data: ImageData, member: MakeMember, numbers: Numbers) -> None:
    members = [member(0, precision="float32"), member(1, precision="bfloat16")]
    looped, fused = packs(members, small_data, model="vit_p_micro")
    assert numbers(looped) == numbers(fused)
    assert fused.note == "its members have different precision"


def test_another_memory_layout(small_data: ImageData, member: MakeMember, numbers: Numbers) -> None:
    def channels_last(**sizes: int) -> nn.Module:
        return create_model("vit_c_micro", **sizes).to(memory_format=torch.channels_last)

    register_model("channels-last", channels_last)
    looped, fused = packs([member(0), member(1)], small_data, model="channels-last")
    assert numbers(looped) == numbers(fused)
    assert fused.note == "its models have parameters of another memory layout (channels_last)"
    for training in fused._members:
        assert training.status == "completed"
        assert not all(parameter.is_contiguous() for parameter in training.model.parameters())


def test_adamw_without_an_eps(small_data: ImageData, member: MakeMember, numbers: Numbers) -> None:
    looped, fused = packs([member(0), member(1, eps=0.0)], small_data, model="vit_p_micro")
    assert numbers(looped) == numbers(fused)
    assert fused.note == "adamw with an eps of 0 has no fused form"


class FailsLater(nn.Linear):
    """Raises in its n-th forward pass, wherever it runs."""

    passes = 0
    fails_at = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        FailsLater.passes += 1
        if FailsLater.passes == FailsLater.fails_at:
            raise ArithmeticError("enough")
        return super().forward(images.flatten(1))


def test_what_raises_in_the_middle_goes_on_in_a_loop(small_data: ImageData, member: MakeMember) -> None:
    register_model(
        "later", lambda *, num_classes, image_size, in_channels: FailsLater(in_channels * image_size**2, num_classes)
    )
    FailsLater.fails_at = 12
    looped, fused = packs([member(0), member(1)], small_data, model="later")
    while not fused.finished:
        fused.run_epoch()
    assert fused.note == "ArithmeticError: enough"
    FailsLater.fails_at = 0
    while not looped.finished:
        looped.run_epoch()
    for one, other in zip(looped.results(), fused.results(), strict=True):
        assert other.status == "completed"
        assert one.history[-1].eval_loss == pytest.approx(other.history[-1].eval_loss, abs=1e-4)


def test_memory_that_runs_out_is_the_whole_packs(
    small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(FailsLater, "forward", full)
    register_model(
        "later", lambda *, num_classes, image_size, in_channels: FailsLater(in_channels * image_size**2, num_classes)
    )
    _, fused = packs([member(0), member(1)], small_data, model="later")
    with pytest.raises(torch.OutOfMemoryError):
        fused.run_epoch()
    assert fused.note is None


def test_a_pack_that_may_choose_goes_on_in_a_loop_where_memory_does_not_suffice(
    small_data: ImageData, member: MakeMember, numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {
        "model": "vit_c_micro",
        "optimizer": "adamw",
        "data": small_data,
        "recipe": Recipe(batch_size=16, ema_horizon=0.5),
        "epochs": 1,
        "study_seed": 5,
    }
    members = [member(0), member(1)]
    differentiated, steps = FusedMembers._differentiated, count(1)

    def full(*given: Any) -> Any:
        if next(steps) == 3:
            raise torch.OutOfMemoryError("full")
        return differentiated(*given)

    monkeypatch.setattr(FusedMembers, "_differentiated", full)
    looped, choosing = LockstepPack(members, **asked), FusedPack(members, measure=True, **asked)
    for pack in (looped, choosing):
        pack.run_epoch()
    assert choosing.note == "OutOfMemoryError: full"
    for one, other in zip(looped.results(), choosing.results(), strict=True):
        assert other.status == "completed"
        assert one.history[-1].eval_loss == pytest.approx(other.history[-1].eval_loss, abs=1e-4)


def test_a_stack_goes_when_nothing_refers_to_it() -> None:
    forward = StackedForward(nn.Linear(2, 2))
    values = {"weight": torch.zeros(3, 2, 2), "bias": torch.zeros(3, 2)}
    assert forward(values, torch.zeros(4, 2), training=True).shape == (3, 4, 2)
    gone = weakref.ref(forward)
    gc.disable()
    try:
        del forward
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("why", ["training", "evaluation", "slower"])
def test_its_memory_is_free_before_the_loop_goes_on(
    why: str, small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks: list[weakref.ref[FusedMembers]] = []
    freed: list[bool] = []
    attach = FusedMembers.attach

    def attached(self: FusedMembers) -> None:
        stacks.append(weakref.ref(self))
        attach(self)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(FusedMembers, "attach", attached)
    monkeypatch.setattr(pack_module, "_evaluates_together", lambda _device: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(all(stack() is None for stack in stacks)))
    slower = "fused" if why == "slower" else "loop"
    monkeypatch.setattr(Choice, "step_seconds", lambda _self, way: float(way == slower))
    if why != "slower":
        monkeypatch.setattr(FusedMembers, {"training": "_differentiated", "evaluation": "evaluate"}[why], full)
    asked: dict[str, Any] = {"optimizer": "adamw", "data": small_data, "epochs": 1, "study_seed": 5}
    pack = FusedPack([member(0), member(1)], model="vit_p_micro", measure=True, recipe=Recipe(batch_size=16), **asked)
    pack.run_epoch()
    assert pack.note == (
        "fused steps took 1e+03 ms, those of the loop 0 ms" if why == "slower" else "OutOfMemoryError: full"
    )
    assert stacks
    assert freed == [True]
