"""The averages of stacked models are those of each model alone, and no update needs memory of its own."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.recipes.ema import Ema
from trainables.training.fused.average import StackedEma
from trainables.training.fused.stack import stacked

M = 3
LENGTH: dict[str, int] = {"total_steps": 20, "warmup_steps": 2}


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the names of what is computed inside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func._schema.name)
        return func(*args, **(kwargs or {}))


def pairs() -> list[tuple[nn.Module, Ema]]:
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)) for _ in range(M)]
    return [(model, Ema(model, horizon=0.5, every=at + 1, **LENGTH)) for at, model in enumerate(models)]


@pytest.mark.parametrize("lost", [None, 1], ids=["all live", "one is NaN"])
def test_averages_are_those_of_each_model_alone(lost: int | None) -> None:
    alone, together = pairs(), pairs()
    stack = stacked([model for model, _ in together], [name for name, _ in together[0][0].named_parameters()])
    averages = StackedEma.of([ema for _, ema in together], stack)
    assert averages is not None
    for step in range(9):
        torch.manual_seed(step)
        for at, ((model, ema), (own, _)) in enumerate(zip(alone, together, strict=True)):
            for name, tensor in model.state_dict().items():
                new = torch.full_like(tensor, 7) if tensor.dtype == torch.int64 else torch.randn_like(tensor)
                new = new * torch.nan if at == lost and step >= 4 and tensor.is_floating_point() else new
                tensor.copy_(new)
                own.state_dict()[name].copy_(new)
            ema.update(model, step)
        with Operations() as operations:
            averages.update(step)
        assert operations.names <= {"aten::_foreach_lerp_", "aten::_foreach_copy_", "aten::copy_", "aten::select"}
        for (_, ema), (_, of_stack) in zip(alone, together, strict=True):
            for one, other in zip(ema.state_dict().values(), of_stack.state_dict().values(), strict=True):
                assert torch.equal(one.nan_to_num(9.0), other.nan_to_num(9.0))
