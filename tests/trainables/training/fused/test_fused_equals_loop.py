"""A fused pack computes what a looped one does: to 1e-9 in float64, to a stated tolerance in float32."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from trainables import ImageData, LockstepPack, Member, Recipe, create_model, register_model
from trainables.training.fused.pack import FusedPack

MakeMember = Callable[..., Member]
STEPS = 20
DOUBLE, SINGLE = 1e-9, 2e-4
"""Of losses, after 20 steps. In float32 a rounding grows while it is trained on: seen were 3e-6."""


class InDouble(nn.Module):
    """A model whose parameters and logits are float64."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(images.double())
        return logits


@pytest.fixture
def data(small_data: ImageData) -> ImageData:
    return small_data


def in_double(name: str) -> str:
    def factory(**sizes: int) -> nn.Module:
        return InDouble(create_model(name, **sizes))

    register_model(own := f"{name.replace(':', '-')}-in-double", factory)
    return own


def trained(kind: type[LockstepPack], members: list[Member], data: ImageData, **asked: Any) -> LockstepPack:
    recipe = {"batch_size": 32, "warmup_epochs": 0.5, **asked.pop("recipe", {})}
    length: dict[str, int] = {"epochs": STEPS // 5, "study_seed": 5}
    pack = kind(members, data=data, recipe=Recipe(**recipe), **{**length, **asked})
    while not pack.finished:
        pack.run_epoch()
    return pack


def furthest(looped: LockstepPack, fused: LockstepPack) -> float:
    """The largest difference of a loss, of members that end alike; of losses above 1 as a share."""
    apart = 0.0
    for one, other in zip(looped.results(), fused.results(), strict=True):
        assert (one.key, one.status, one.epochs_done) == (other.key, other.status, other.epochs_done)
        for row, again in zip(one.history, other.history, strict=True):
            assert row.lr == again.lr
            pairs = ((row.train_loss, again.train_loss), (row.eval_loss, again.eval_loss))
            apart = max(apart, *(abs(a - b) / max(1.0, abs(a)) for a, b in pairs))
    return apart


def weights(pack: LockstepPack, part: str) -> dict[str, dict[str, torch.Tensor]]:
    return {key: state[part] for key, state in pack.state_dict()["members"].items() if state[part] is not None}


def group(member: MakeMember) -> list[Member]:
    """Five, the middle one of which diverges."""
    rates = (0.001, 0.003, 1e30, 0.004, 0.002)
    return [member(at, lr=lr, weight_decay=0.05 * at) for at, lr in enumerate(rates)]


STUDIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped, averaged, mixed": {"grad_clip": 0.5, "ema_horizon": 0.2, "ema_every": 3, "mixup": 0.2, "cutmix": 1.0},
    "precise": {"precise_batch_norm": 64, "label_smoothing": 0.0, "lr_update": "epoch"},
}


@pytest.mark.parametrize("recipe", STUDIES.values(), ids=STUDIES)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("model", ["vit_c_micro", "vit_p_micro"])
def test_in_float64_the_numbers_are_those_of_the_loop(
    model: str, optimizer: str, recipe: dict[str, Any], data: ImageData, member: MakeMember
) -> None:
    asked = {"model": in_double(model), "optimizer": optimizer, "recipe": recipe}
    looped, fused = (trained(kind, group(member), data, **asked) for kind in (LockstepPack, FusedPack))
    assert isinstance(fused, FusedPack)
    assert fused.note is None
    assert [result.status for result in fused.results()].count("diverged") == 1
    assert furthest(looped, fused) < DOUBLE
    errors = [[row.error for row in result.history] for result in looped.results()]
    assert errors == [[row.error for row in result.history] for result in fused.results()]
    for part in ("model", "ema") if "ema_horizon" in recipe else ("model",):
        for key, own in weights(looped, part).items():
            other = weights(fused, part)[key]
            assert all(torch.allclose(own[name], other[name], rtol=0, atol=DOUBLE) for name in own), (key, part)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("model", ["vit_c_micro", "vit_p_micro"])
def test_in_float32_they_are_near_it(model: str, optimizer: str, data: ImageData, member: MakeMember) -> None:
    looped, fused = (
        trained(kind, group(member), data, model=model, optimizer=optimizer, recipe={"grad_clip": 1.0})
        for kind in (LockstepPack, FusedPack)
    )
    assert 0 < furthest(looped, fused) < SINGLE


@pytest.mark.parametrize("model", ["timm:resnet18", "timm:efficientnet_lite0", "regnety_1gf"])
def test_other_models_too(model: str, data: ImageData, member: MakeMember) -> None:
    # At a rate at which rounding does not grow: these have batch norms over eight numbers here.
    members = [member(at, lr=1e-7 * (at + 1)) for at in range(2)]
    few = ImageData(
        name="few",
        train_images=data.train_images[:32],
        train_labels=data.train_labels[:32],
        eval_images=data.eval_images[:8],
        eval_labels=data.eval_labels[:8],
        num_classes=10,
        mean=data.mean,
        std=data.std,
    )
    asked: dict[str, Any] = {"model": in_double(model), "optimizer": "sgd", "recipe": {"batch_size": 8}, "epochs": 1}
    looped, fused = (trained(kind, members, few, **asked) for kind in (LockstepPack, FusedPack))
    assert isinstance(fused, FusedPack)
    assert fused.note is None
    assert [result.status for result in fused.results()] == ["completed"] * 2
    assert furthest(looped, fused) < DOUBLE


OWN: dict[str, list[dict[str, float]]] = {
    "adamw": [{"beta1": 0.8, "beta2": 0.99}, {"eps": 1e-3, "weight_decay": 0.0}, {"label_smoothing": 0.3}],
    "sgd": [{"momentum": 0.0}, {"momentum": 0.5, "nesterov": False}, {"weight_decay": 0.0, "warmup_epochs": 2.0}],
}


@pytest.mark.parametrize("optimizer", OWN)
def test_each_member_has_its_own_hyperparameters(optimizer: str, data: ImageData, member: MakeMember) -> None:
    members = [member(at, lr=0.003, **{"weight_decay": 0.1, **own}) for at, own in enumerate([{}, *OWN[optimizer]])]
    asked = {"model": in_double("vit_c_micro"), "optimizer": optimizer}
    looped, fused = (trained(kind, members, data, **asked) for kind in (LockstepPack, FusedPack))
    assert furthest(looped, fused) < DOUBLE
    losses = [result.history[-1].eval_loss for result in fused.results()]
    assert len(set(losses)) == len(losses)


def test_own_schedules_averages_and_clipping(data: ImageData, member: MakeMember) -> None:
    own: list[dict[str, float]] = [{"ema_every": 4}, {"ema_horizon": 0.4}, {"grad_clip": 0.1}, {"min_lr_fraction": 0.3}]
    members = [member(at, lr=0.003, weight_decay=0.1, **values) for at, values in enumerate(own)]
    recipe = {"ema_horizon": 0.2, "grad_clip": 2.0}
    asked: dict[str, Any] = {"model": in_double("vit_c_micro"), "optimizer": "adamw", "recipe": recipe}
    looped, fused = (trained(kind, members, data, **asked) for kind in (LockstepPack, FusedPack))
    assert furthest(looped, fused) < DOUBLE
    for key, averaged in weights(looped, "ema").items():
        assert all(
            torch.allclose(averaged[name], weights(fused, "ema")[key][name], rtol=0, atol=DOUBLE) for name in averaged
        )


class PartlyUsed(nn.Module):
    """Has a layer that no logit depends on, one that is never trained, and a tied one."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__()
        self.unused = nn.Linear(4, 4)
        self.frozen = nn.Linear(pixels, 16).requires_grad_(False)
        self.first = nn.Linear(16, 16)
        self.again = nn.Linear(16, 16)
        self.again.weight = self.first.weight
        self.scale = nn.Parameter(torch.ones(()))
        self.last = nn.Linear(16, num_classes)
        self.passes: torch.Tensor
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        hidden = self.first(self.frozen(images.flatten(1).double())).relu()
        logits: torch.Tensor = self.last(self.again(hidden) * self.scale)
        return logits


def test_unused_fixed_and_tied_parameters(data: ImageData, member: MakeMember) -> None:
    register_model(
        "partly-used",
        lambda *, num_classes, image_size, in_channels: PartlyUsed(in_channels * image_size**2, num_classes).double(),
    )
    asked = {"model": "partly-used", "optimizer": "adamw", "recipe": {"ema_horizon": 0.3}}
    looped, fused = (trained(kind, group(member), data, **asked) for kind in (LockstepPack, FusedPack))
    assert isinstance(fused, FusedPack)
    assert fused.note is None
    assert furthest(looped, fused) < DOUBLE
    for key, own in weights(looped, "model").items():
        other = weights(fused, "model")[key]
        assert own.keys() == other.keys()
        # Weight decay would have changed it.
        assert torch.equal(own["unused.weight"], other["unused.weight"])
        assert torch.equal(own["frozen.weight"], other["frozen.weight"])
        assert torch.allclose(own["first.weight"], other["again.weight"], rtol=0, atol=DOUBLE)


class ManyLayers(nn.Module):
    """Kinds of layers that built-in models do not have: groups, padding modes, norms without gains or statistics."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1, padding_mode="reflect"),
            nn.GroupNorm(2, 8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, groups=4, padding="same", padding_mode="circular", bias=False),
            nn.BatchNorm2d(8, affine=False, momentum=0.3),
            nn.SiLU(),
            nn.Conv2d(8, 8, 3, groups=8, stride=2, dilation=2),
            nn.BatchNorm2d(8, track_running_stats=False),
            nn.AvgPool2d(2),
            nn.GroupNorm(4, 8, affine=False),
            nn.Flatten(),
            nn.LayerNorm(8 * 3 * 3, elementwise_affine=False),
            nn.Linear(8 * 3 * 3, 16, bias=False),
            nn.LayerNorm(16, bias=False),
            nn.PReLU(),
            nn.Linear(16, 16),
            nn.BatchNorm1d(16),
            nn.Linear(16, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images.double())
        return logits


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_layers_of_many_kinds(optimizer: str, data: ImageData, member: MakeMember) -> None:
    register_model(
        "many-layers", lambda *, num_classes, image_size, in_channels: ManyLayers(in_channels, num_classes).double()
    )
    asked = {"model": "many-layers", "optimizer": optimizer, "recipe": {"ema_horizon": 0.3, "precise_batch_norm": 64}}
    looped, fused = (trained(kind, group(member), data, **asked) for kind in (LockstepPack, FusedPack))
    assert fused.note is None
    assert furthest(looped, fused) < DOUBLE
    for part in ("model", "ema"):
        for key, own in weights(looped, part).items():
            other = weights(fused, part)[key]
            assert all(torch.allclose(own[name], other[name], rtol=0, atol=DOUBLE) for name in own), (key, part)


class Expires(nn.Linear):
    """Its logits are NaN from a certain training step on."""

    def __init__(self, pixels: int, num_classes: int, steps: int) -> None:
        super().__init__(pixels, num_classes)
        self.left: torch.Tensor
        self.register_buffer("left", torch.tensor(steps))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.left -= 1
        return torch.where(self.left < 0, torch.nan, super().forward(images.flatten(1).double()))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("lives", [0, 1, 7], ids=["first step", "second step", "second epoch"])
def test_a_member_whose_loss_becomes_nan_changes_nothing_for_the_others(
    lives: int, optimizer: str, data: ImageData, member: MakeMember
) -> None:
    steps = iter([1000, lives, 1000] * 2)
    register_model(
        "expires",
        lambda *, num_classes, image_size, in_channels: Expires(
            in_channels * image_size**2, num_classes, next(steps)
        ).double(),
    )
    members = [member(at, lr=0.003, weight_decay=0.05) for at in range(3)]
    asked: dict[str, Any] = {
        "model": "expires",
        "optimizer": optimizer,
        "recipe": {"grad_clip": 0.5, "ema_horizon": 0.3, "mixup": 0.2},
        "epochs": 3,
    }
    looped, fused = (trained(kind, members, data, **asked) for kind in (LockstepPack, FusedPack))
    assert fused.note is None
    assert [result.status for result in fused.results()] == ["completed", "diverged", "completed"]
    assert fused.results()[1].epochs_done == lives // 5
    assert [result.reason for result in looped.results()] == [result.reason for result in fused.results()]
    assert furthest(looped, fused) < DOUBLE
    for key, own in weights(looped, "ema").items():
        other = weights(fused, "ema")[key]
        assert all(torch.allclose(own[name], other[name], rtol=0, atol=DOUBLE) for name in own)


class NeverTheLast(nn.Linear):
    """Its last class is impossible."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images.flatten(1).double())
        return torch.cat([logits[:, :-1], torch.full_like(logits[:, -1:], -torch.inf)], dim=1)


@pytest.mark.parametrize("smoothing", [(0.0, 0.1, 0.0), (0.0, 0.0, 0.0)])
def test_an_impossible_class_counts_nothing_without_smoothing(
    smoothing: tuple[float, ...], data: ImageData, member: MakeMember
) -> None:
    register_model(
        "never-the-last",
        lambda *, num_classes, image_size, in_channels: NeverTheLast(in_channels * image_size**2, num_classes).double(),
    )
    members = [member(at, lr=0.003, label_smoothing=share) for at, share in enumerate(smoothing)]
    asked: dict[str, Any] = {"model": "never-the-last", "optimizer": "adamw", "epochs": 2}
    more = replace(data, num_classes=11)
    looped, fused = (trained(kind, members, more, **asked) for kind in (LockstepPack, FusedPack))
    assert fused.note is None
    assert [result.status for result in fused.results()] == [
        "diverged" if share else "completed" for share in smoothing
    ]
    assert furthest(looped, fused) < DOUBLE


HALF = 2e-3
"""Of losses under bfloat16 autocast, after 20 steps: seen were 4e-4, as from float32, so dtypes are compared too."""


@pytest.mark.parametrize("model", ["vit_c_micro", "vit_p_micro"])
def test_in_bfloat16_they_are_near_it(model: str, data: ImageData, member: MakeMember) -> None:
    dtypes: set[tuple[str, torch.dtype]] = set()

    def watched(**sizes: int) -> nn.Module:
        created = create_model(model, **sizes)
        for name, module in created.named_modules():
            module.register_forward_hook(partial(note, name))
        return created

    def note(name: str, module: nn.Module, _images: Any, result: Any) -> None:
        if module.training and torch.is_autocast_enabled("cpu"):
            dtypes.add((name, result.dtype))

    register_model("watched", watched)
    members = [member(at, lr=0.0005 * (at + 1), weight_decay=0.05) for at in range(3)]
    asked = {"model": "watched", "optimizer": "adamw", "recipe": {"precision": "bfloat16"}}
    looped = trained(LockstepPack, members, data, **asked)
    of_loop = set(dtypes)
    dtypes.clear()
    fused = trained(FusedPack, members, data, **asked)
    assert fused.note is None
    assert 0 < furthest(looped, fused) < HALF
    assert dtypes == of_loop
    assert {dtype for _, dtype in dtypes} >= {torch.bfloat16}
    single = trained(LockstepPack, members, data, model=model, optimizer="adamw")
    assert furthest(looped, single) > 0
