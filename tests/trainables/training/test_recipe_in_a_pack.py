"""What the recipe asks for is what a pack does: averages, precise batch norm, rates, mixing, unreadable samples."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from trainables import UNREADABLE, Batch, ImageData, LockstepPack, Member, RandomCrop, Reading, Recipe, create_model

MakePack = Callable[..., LockstepPack]
MakeMember = Callable[..., Member]


def saved(pack: LockstepPack, part: str = "model", index: int = 0) -> Any:
    return list(pack.state_dict()["members"].values())[index][part]


def pixels(data: ImageData, images: torch.Tensor) -> torch.Tensor:
    return (images / 255 - data.mean[0]) / data.std[0]


def rebuilt(state: Any) -> torch.nn.Module:
    model = create_model("vit_c_micro", num_classes=10, image_size=16, in_channels=1)
    model.load_state_dict(state)
    return model.eval()


def test_the_averaged_weights_are_evaluated(make_pack: MakePack, member: MakeMember, small_data: ImageData) -> None:
    recipe = Recipe(batch_size=32, warmup_epochs=0.2, ema_horizon=0.5)
    pack = make_pack([member(0)], recipe=recipe, epochs=2)
    (row,) = pack.run_epoch()
    losses = {}
    for part in ("model", "ema"):
        with torch.no_grad():
            logits = rebuilt(saved(pack, part))(pixels(small_data, small_data.eval_images))
        losses[part] = cross_entropy(logits, small_data.eval_labels).item()
    assert row.eval_loss == pytest.approx(losses["ema"], rel=1e-5)
    assert losses["ema"] != pytest.approx(losses["model"], rel=1e-3)


def test_the_average_is_the_closed_form_of_the_weights(make_pack: MakePack, member: MakeMember) -> None:
    """Five steps an epoch, two epochs, a horizon of half the training: a share of a fifth after one step of warm-up."""
    recipe = Recipe(batch_size=32, warmup_epochs=0.2, ema_horizon=0.5)
    pack = make_pack([member(0)], recipe=recipe, epochs=2)
    weights = []
    while not pack.finished:
        pack.run_epoch(lambda: True)
        weights.append(saved(pack)["head.weight"])
    average = weights[0]
    for new in weights[1:]:
        average = average + (new - average) / 5
    assert len(weights) == 10
    torch.testing.assert_close(saved(pack, "ema")["head.weight"], average)


def test_precise_batch_norm_is_that_of_the_training_images_together(
    make_pack: MakePack, member: MakeMember, small_data: ImageData
) -> None:
    from trainables import batch_order

    # Statistics are of images as the evaluation has them: not mixed.
    pack = make_pack([member(0)], recipe=Recipe(batch_size=32, precise_batch_norm=90, mixup=0.8))
    (row,) = pack.run_epoch()
    state = saved(pack)
    model = rebuilt(state)
    layers: Any = model.patch_embed
    order = batch_order(160, 32, study_seed=5, epoch=1)[:3]  # 90 images are three batches
    with torch.no_grad():
        outputs = [layers.convs[0](pixels(small_data, small_data.train_images[index])) for index in order]
    means, variances = (torch.cat(outputs).mean((0, 2, 3)), torch.cat(outputs).var((0, 2, 3)))
    torch.testing.assert_close(state["patch_embed.convs.1.running_mean"], means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state["patch_embed.convs.1.running_var"], variances, rtol=1e-3, atol=1e-5)
    assert layers.convs[1].momentum == 0.1
    plain = make_pack([member(0)], recipe=Recipe(batch_size=32, mixup=0.8)).run_epoch()[0]
    assert plain.train_loss == row.train_loss
    assert plain.eval_loss != row.eval_loss


def test_precise_batch_norm_of_large_numbers_is_no_negative_variance() -> None:
    from trainables.training.batch_norm import recompute_statistics

    norm = torch.nn.BatchNorm2d(8)
    batches = [1000 + 0.1 * torch.randn(16, 8, 4, 4, generator=torch.Generator().manual_seed(at)) for at in range(7)]
    recompute_statistics(norm, batches)
    torch.testing.assert_close(
        norm.running_var, torch.cat(batches).double().var((0, 2, 3)).float(), rtol=0.02, atol=1e-6
    )
    assert bool((norm(batches[0]).isfinite()).all())


def test_rates_are_scaled_to_the_batch_size(make_pack: MakePack, member: MakeMember) -> None:
    recipe = Recipe(batch_size=32, lr_batch_size=256, warmup_epochs=0.0, min_lr_fraction=1.0)
    (row,) = make_pack([member(0)], recipe=recipe).run_epoch()
    assert row.lr == pytest.approx(0.02 / 8)


def test_a_recipe_with_everything_trains_and_depends_on_the_key_alone(
    make_pack: MakePack, member: MakeMember, numbers: Callable[[LockstepPack], Any]
) -> None:
    asked = {"base": "paper", "batch_size": 32, "warmup_epochs": 1.0, "random_erasing": 0.5, "grad_clip": 1.0}
    recipe = Recipe.model_validate({**asked, "ema_horizon": 0.2, "precise_batch_norm": 64})
    members = [member(0), member(1), member(2, lr=1e30)]
    together = numbers(make_pack(members, recipe=recipe))
    for one in members:
        assert numbers(make_pack([one], recipe=recipe)) == {one.key: together[one.key]}
    assert len(together[members[0].key]) == 3


def test_bfloat16_changes_the_last_digits_only(make_pack: MakePack, member: MakeMember) -> None:
    rows = [
        make_pack([member(0)], recipe=Recipe(batch_size=32, precision=p)).run_epoch()[0] for p in ("auto", "bfloat16")
    ]
    assert rows[0].train_loss != rows[1].train_loss
    assert rows[0].train_loss == pytest.approx(rows[1].train_loss, rel=0.02)


@dataclass
class WithHoles:
    """A dataset of which some samples cannot be read."""

    data: ImageData
    bad: tuple[int, ...]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def _with_holes(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            labels = batch.labels.clone()
            labels[list(self.bad)] = UNREADABLE
            yield Batch(images=batch.images, labels=labels, problems=tuple(f"row {row}: damaged" for row in self.bad))

    def train_batches(
        self, reading: Reading, *, study_seed: int, epoch: int, crop: RandomCrop | None
    ) -> Iterator[Batch]:
        return self._with_holes(self.data.train_batches(reading, study_seed=study_seed, epoch=epoch, crop=crop))

    def eval_batches(self, reading: Reading) -> Iterator[Batch]:
        return self._with_holes(self.data.eval_batches(reading))


def test_unreadable_samples_count_in_no_error_and_are_told(
    make_pack: MakePack, member: MakeMember, small_data: ImageData
) -> None:
    pack = make_pack([member(0)], data=WithHoles(small_data, (0, 3)))
    (row,) = pack.run_epoch()
    assert pack.take_problems() == {"row 0: damaged", "row 3: damaged"}
    assert pack.take_problems() == set()
    with torch.no_grad():
        logits = rebuilt(saved(pack))(pixels(small_data, small_data.eval_images))
    kept = torch.ones(80, dtype=torch.bool)
    kept[[0, 3]] = False  # of the one batch of 80
    wrong = (logits.argmax(1) != small_data.eval_labels)[kept]
    assert row.error == pytest.approx(100 * wrong.double().mean().item())
    assert row.eval_loss == pytest.approx(cross_entropy(logits[kept], small_data.eval_labels[kept]).item(), rel=1e-5)


def test_a_dataset_without_a_readable_evaluation_image_is_an_error(
    make_pack: MakePack, member: MakeMember, small_data: ImageData
) -> None:
    pack = make_pack([member(0)], data=WithHoles(small_data, tuple(range(80))), recipe=Recipe(batch_size=80))
    with pytest.raises(ValueError, match="'small': no evaluation image could be read"):
        pack.run_epoch()


def test_a_dataset_that_ends_early_is_an_error(make_pack: MakePack, member: MakeMember, small_data: ImageData) -> None:
    class Short(WithHoles):
        def train_batches(self, reading: Reading, **rest: Any) -> Iterator[Batch]:
            yield next(iter(self.data.train_batches(reading, **rest)))

    with pytest.raises(ValueError, match="epoch 1 ended after 1 of 5 steps"):
        make_pack([member(0)], data=Short(small_data, ())).run_epoch()


def test_a_batch_that_workers_cannot_share_is_refused(make_pack: MakePack, member: MakeMember) -> None:
    from trainables import Ranks

    with pytest.raises(ValueError, match="batch_size: 32 cannot be shared evenly by 3 workers"):
        make_pack([member(0)], ranks=Ranks(0, 3))
