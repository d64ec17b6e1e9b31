"""On a GPU no step waits for the one before it: neither in a loop nor fused.

AutoAugment and RandAugment are not among the recipes here: torchvision makes small tensors for them in ordinary memory
and copies these, for which a step waits. Where a copy was asked to go on by itself, but is from ordinary memory, torch
raises nothing: that ours are from pinned memory is seen in ``trainables.data.transfer`` alone.
"""

from collections.abc import Callable

import pytest
import torch

from trainables import ImageData, LockstepPack, Member, Recipe
from trainables.training.fused.pack import FusedPack

MakeMember = Callable[..., Member]


class Watch:
    """From the second step to the fourth, torch raises where this process would wait for the GPU; then the pack pauses."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        torch.cuda.set_sync_debug_mode("error" if self.asked < 4 else "default")
        return self.asked == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", [LockstepPack, FusedPack])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(batch_size=32, grad_clip=1.0, ema_horizon=0.5),
        Recipe(batch_size=32, crop="random_resized", flip=0.5, random_erasing=0.5, mixup=0.2, cutmix=1.0),
    ],
)
def test_nothing_waits_between_two_steps(
    kind: type[LockstepPack], recipe: Recipe, small_data: ImageData, member: MakeMember
) -> None:
    pack = kind(
        [member(0), member(1)],
        model="vit_c_micro",
        optimizer="adamw",
        data=small_data,
        recipe=recipe,
        epochs=1,
        study_seed=5,
        device="cuda",
    )
    try:
        pack.run_epoch(Watch())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert pack.step == 4
    assert [(result.status, result.reason) for result in pack.results()] == [("running", None)] * 2
    assert getattr(pack, "note", None) is None
