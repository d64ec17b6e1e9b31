"""A member's numbers are its own: not its pack's, its neighbours' or its place's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from trainables import ImageData, LockstepPack, Member, Recipe, register_model

MakePack = Callable[..., LockstepPack]
MakeMember = Callable[..., Member]
Numbers = Callable[[LockstepPack], dict[str, list[tuple[Any, ...]]]]


class DropoutNet(nn.Module):
    """Small, with dropout; raises at some training step if ``raise_below`` is set: which step is drawn."""

    def __init__(self, pixels: int, num_classes: int, raise_below: float = 0.0) -> None:
        super().__init__()
        self.raise_below = raise_below
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, num_classes)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and torch.rand(()) < self.raise_below:
            raise ArithmeticError("the model's\n  dice said so")
        logits: torch.Tensor = self.layers(images)
        return logits


def add_models() -> None:
    def dropout(*, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
        return DropoutNet(in_channels * image_size**2, num_classes)

    def raises(*, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
        return DropoutNet(in_channels * image_size**2, num_classes, raise_below=0.1)

    register_model("dropout", dropout)
    register_model("raises", raises)


def regrouped(members: list[Member], make_pack: MakePack, numbers: Numbers, **asked: Any) -> None:
    """Asserts that packs of 1, 2 and all, and another order, give the same to the bit."""
    together = numbers(make_pack(members, **asked))
    alone: dict[str, Any] = {}
    for one in members:
        alone |= numbers(make_pack([one], **asked))
    pairs: dict[str, Any] = {}
    for at in range(0, len(members), 2):
        pairs |= numbers(make_pack(members[at : at + 2], **asked))
    shuffled = numbers(make_pack([members[at] for at in torch.randperm(len(members)).tolist()], **asked))
    assert together == alone == pairs == shuffled
    trained = [str(rows) for rows in together.values() if len(rows) > 1]
    assert len(set(trained)) == len(trained) > 1


@pytest.mark.parametrize("model", ["vit_p_micro", "vit_c_micro"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_any_grouping_gives_the_same_to_the_bit(
    model: str, optimizer: str, make_pack: MakePack, member: MakeMember, numbers: Numbers
) -> None:
    members = [member(index) for index in range(6)]
    regrouped(members, make_pack, numbers, model=model, optimizer=optimizer)


def test_a_diverging_neighbour_changes_nothing(make_pack: MakePack, member: MakeMember, numbers: Numbers) -> None:
    members = [member(0), member(1, lr=1e6), member(2), member(3, lr=float("nan")), member(4), member(5, lr=-1.0)]
    regrouped(members, make_pack, numbers)
    pack = make_pack(members)
    assert numbers(pack)[members[0].key] == numbers(make_pack([member(0)]))[members[0].key]
    ends = [result.status for result in pack.results()]
    # A negative learning rate is refused by torch when the optimizer is built.
    assert ends == ["completed", "diverged", "completed", "diverged", "completed", "failed"]


def test_dropout_draws_from_the_members_own_generator(
    make_pack: MakePack, member: MakeMember, numbers: Numbers
) -> None:
    add_models()
    regrouped([member(index) for index in range(6)], make_pack, numbers, model="dropout")


def test_a_raising_neighbour_changes_nothing(make_pack: MakePack, member: MakeMember, numbers: Numbers) -> None:
    add_models()
    members = [member(index) for index in range(6)]
    regrouped(members, make_pack, numbers, model="raises", epochs=3)
    pack = make_pack(members, model="raises", epochs=3)
    ends = numbers(pack)
    statuses = [result.status for result in pack.results()]
    assert {"failed", "completed"} == set(statuses)
    reasons = {result.reason for result in pack.results() if result.status == "failed"}
    assert reasons == {"ArithmeticError: the model's dice said so"}
    # Whoever got through an epoch before raising has the numbers of that epoch.
    assert all(rows[-1][3] == len(rows) - 1 for rows in ends.values())


def test_a_model_that_overwrites_its_images_changes_nothing_for_others(
    make_pack: MakePack, member: MakeMember, numbers: Numbers
) -> None:
    class Overwrites(DropoutNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.sub_(1.0))

    register_model("overwrites", lambda **sizes: Overwrites(sizes["image_size"] ** 2, sizes["num_classes"]))
    regrouped([member(0), member(1)], make_pack, numbers, model="overwrites")


def test_the_key_has_no_influence_and_the_seed_has(make_pack: MakePack, member: MakeMember, numbers: Numbers) -> None:
    first = member(0)
    renamed = Member(key="other", seed=first.seed, hyperparameters=first.hyperparameters)
    reseeded = Member(key="third", seed=first.seed + 1, hyperparameters=first.hyperparameters)
    ends = numbers(make_pack([first, renamed, reseeded]))
    assert ends[first.key] == ends["other"] != ends["third"]


def test_the_study_seed_has_an_influence(make_pack: MakePack, member: MakeMember, numbers: Numbers) -> None:
    assert numbers(make_pack([member(0)])) != numbers(make_pack([member(0)], study_seed=6))


def test_global_generators_are_left_as_they_were(make_pack: MakePack, member: MakeMember, numbers: Numbers) -> None:
    add_models()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = numbers(make_pack([member(0), member(1)], model="raises"))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(12)
    assert numbers(make_pack([member(0), member(1)], model="raises")) == first


def test_one_member_agrees_with_a_plain_loop(small_data: ImageData, make_pack: MakePack, member: MakeMember) -> None:
    """The whole of a training against the same written out with torch alone."""
    from torch.nn.functional import cross_entropy

    from trainables import batch_order, create_model, create_optimizer, lr_multiplier

    recipe = Recipe(batch_size=40, warmup_epochs=1.0, label_smoothing=0.2, grad_clip=0.5)
    pack = make_pack([member(0)], recipe=recipe, model="vit_c_micro")
    rows = [pack.run_epoch()[0] for _ in range(2)]

    torch.manual_seed(member(0).seed)
    model = create_model("vit_c_micro", num_classes=10, image_size=16, in_channels=1)
    optimizer = create_optimizer("sgd", model, member(0).hyperparameters)
    for epoch in (1, 2):
        losses = []
        model.train()
        for step, index in enumerate(batch_order(160, 40, study_seed=5, epoch=epoch), start=4 * (epoch - 1)):
            optimizer.zero_grad()
            images = (small_data.train_images[index] / 255 - small_data.mean[0]) / small_data.std[0]
            loss = cross_entropy(model(images), small_data.train_labels[index], label_smoothing=0.2)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            factor = lr_multiplier(step, total_steps=8, warmup_steps=4)
            for group in optimizer.param_groups:
                group["lr"] = 0.02 * factor
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            logits = model((small_data.eval_images / 255 - small_data.mean[0]) / small_data.std[0])
        row = rows[epoch - 1]
        assert (row.key, row.epoch) == (member(0).key, epoch)
        assert row.train_loss == pytest.approx(sum(losses) / 4, rel=1e-6)
        assert row.eval_loss == pytest.approx(cross_entropy(logits, small_data.eval_labels).item(), rel=1e-5)
        assert row.error == 100 * (logits.argmax(1) != small_data.eval_labels).double().mean().item()
        assert row.lr == 0.02 * factor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_keeps_generators_apart(make_pack: MakePack, member: MakeMember, numbers: Numbers) -> None:
    add_models()
    members = [member(0), member(1)]
    together = numbers(make_pack(members, model="dropout", device="cuda"))
    alone = numbers(make_pack(members[1:], model="dropout", device="cuda"))
    for ours, theirs in zip(together[members[1].key][:-1], alone[members[1].key][:-1], strict=True):
        assert ours[1] == pytest.approx(theirs[1], rel=1e-4)
