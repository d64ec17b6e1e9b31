"""Packs whose training steps ``torch.compile`` has compiled, for ``lockstep.py``; a study's packs are not compiled.

Of a pack in a loop each member's model is compiled, forward and backward; of a fused one the step up to the gradients,
traced through ``torch.vmap``. What updates the weights is not: it is a few operations already.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.fx.experimental.proxy_tensor import make_fx

if TYPE_CHECKING:
    from trainables import LockstepPack
    from trainables.recipes.mixing import TrainBatch

Differentiated = tuple[torch.Tensor, list[torch.Tensor]]
CHECKED_STEP = 3
"""The compiled step that is also done without: weights have changed since it was traced."""
TOLERANCE = {"cpu": 1e-3, "cuda": 0.05}
"""Between compiled and eager losses and gradients, as a share of the largest number; on a GPU they are bfloat16's."""


def compile_pack(pack: "LockstepPack", mode: str) -> None:
    """Has the pack's next steps compiled, with nothing from the caches of earlier runs.

    Args:
        pack: It has done a step, without mixing.
        mode: As ``torch.compile`` has it; ``reduce-overhead`` captures CUDA graphs.

    Raises:
        RuntimeError: If a pack that should be fused is not.
    """
    from torch._inductor import config

    from trainables.training.fused.pack import FusedPack

    config.force_disable_caches = True
    if not isinstance(pack, FusedPack):
        for training in pack._members:
            training.model.compile(mode=mode)
        return
    if pack._fused is None:
        raise RuntimeError(f"the pack is not fused: {pack.note}")
    setattr(pack._fused, "_differentiated", _Compiled(pack._fused._differentiated, mode))  # noqa: B010 - a method


class _Compiled:
    """Losses and gradients of stacked models, compiled at the first call; each call reads the weights from the stack."""

    def __init__(self, eager: Callable[["TrainBatch"], Differentiated], mode: str) -> None:
        self._eager, self._mode, self._calls = eager, mode, 0
        self._compiled: Callable[..., Differentiated] | None = None

    def __call__(self, batch: "TrainBatch") -> Differentiated:
        self._calls += 1
        expected = self._eager(_copied(batch)) if self._calls == CHECKED_STEP else None
        if self._compiled is None:
            self._compiled = torch.compile(self._traced(_copied(batch)), mode=self._mode)
        with torch.no_grad():
            found = self._compiled(batch.images, batch.labels)
        if expected is not None:
            _require_near(expected, found)
        return found

    def _traced(self, batch: "TrainBatch") -> Callable[..., Differentiated]:
        def step(images: torch.Tensor, labels: torch.Tensor) -> Differentiated:
            return self._eager(replace(batch, images=images, labels=labels))

        traced: Callable[..., Differentiated] = make_fx(step)(batch.images, batch.labels)
        return traced


def _copied(batch: "TrainBatch") -> "TrainBatch":
    return replace(batch, images=batch.images.clone())


def _require_near(expected: Differentiated, found: Differentiated) -> None:
    for one, other in zip((expected[0], *expected[1]), (found[0], *found[1]), strict=True):
        limit = TOLERANCE[one.device.type] * max(float(tensor.abs().max()) for tensor in expected[1])
        if not torch.allclose(one, other, rtol=TOLERANCE[one.device.type], atol=limit):
            raise RuntimeError(
                f"the compiled step gives other numbers (apart by {float((one - other).abs().max()):.3g})"
            )
