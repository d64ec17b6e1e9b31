"""A step of the stacked optimizers is that of torch's on each model, for any hyperparameters and gradients."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables.training.fused.stack import ALIGNMENT, Flat
from trainables.training.fused.updates import UPDATES

SHAPES = {"weight": (3, 4), "scale": (), "bias": (5,)}
share = st.floats(0.0, 0.999)
COMMON = {"lr": st.floats(1e-6, 10.0), "weight_decay": st.one_of(st.just(0.0), st.floats(1e-6, 10.0))}
KINDS: dict[str, tuple[type[torch.optim.Optimizer], st.SearchStrategy[dict[str, Any]]]] = {
    "adamw": (
        torch.optim.AdamW,
        st.fixed_dictionaries({**COMMON, "betas": st.tuples(share, share), "eps": st.floats(1e-12, 1.0)}),
    ),
    "sgd": (
        torch.optim.SGD,
        st.one_of(
            st.fixed_dictionaries({**COMMON, "momentum": share, "nesterov": st.just(False)}),
            st.fixed_dictionaries({**COMMON, "momentum": st.floats(0.01, 0.999), "nesterov": st.just(True)}),
        ),
    ),
}


def parameters(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in SHAPES.values()]


def optimizer(name: str, own: list[nn.Parameter], values: dict[str, Any]) -> torch.optim.Optimizer:
    groups = [{"params": own[:1], "weight_decay": values["weight_decay"]}, {"params": own[1:], "weight_decay": 0.0}]
    kind: Any = KINDS[name][0]
    return kind(groups, **{**values, "weight_decay": 0.0})  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data(), models=st.integers(1, 4), before=st.integers(0, 2), steps=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_steps_are_torchs(name: str, data: st.DataObject, models: int, before: int, steps: int) -> None:
    values = [data.draw(KINDS[name][1]) for _ in range(models)]
    alone, together = ([parameters(model) for model in range(models)] for _ in range(2))
    of_alone, of_together = (
        [optimizer(name, own, one) for own, one in zip(every, values, strict=True)] for every in (alone, together)
    )
    for step in range(before):
        torch_steps(alone, of_alone, step)
        torch_steps(together, of_together, step)
    flat = Flat({key: [own[at].data for own in together] for at, key in enumerate(SHAPES)})
    update = UPDATES[name](of_together, flat, together, flat.columns(1))
    for step in range(before, before + steps):
        torch_steps(alone, of_alone, step)
        gradient = Flat({key: [gradients(model, step)[at] for model in range(models)] for at, key in enumerate(SHAPES)})
        update.step(gradient.matrix, update.coefficients([one["lr"] for one in values]))
        update.done += 1
    update.write_steps()
    for model, own in enumerate(alone):
        for at, key in enumerate(SHAPES):
            assert torch.allclose(own[at].data, flat.stacked[key][model], rtol=1e-9, atol=1e-12)
            theirs = of_alone[model].state[own[at]]
            ours = of_together[model].state[together[model][at]]
            for part in {"step", *update.BUFFERS} & theirs.keys():
                if theirs[part] is not None:
                    assert torch.allclose(theirs[part], ours[part], rtol=1e-9, atol=1e-12), part


def gradients(model: int, step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1000 * model + step)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES.values()]


def torch_steps(every: list[list[nn.Parameter]], optimizers: list[torch.optim.Optimizer], step: int) -> None:
    for model, (own, one) in enumerate(zip(every, optimizers, strict=True)):
        for parameter, gradient in zip(own, gradients(model, step), strict=True):
            parameter.grad = gradient
        one.step()


def test_every_tensor_begins_where_matrix_products_are_fast() -> None:
    flat = Flat({"scale": [torch.ones(()), torch.ones(())], "weight": [torch.zeros(3, 4), torch.ones(3, 4)]})
    assert flat.starts == {"scale": 0, "weight": ALIGNMENT}
    assert flat.columns(1) == ALIGNMENT
    assert flat.columns(2) == flat.matrix.shape[1] == 2 * ALIGNMENT
    assert flat.matrix.sum(1).tolist() == [1.0, 13.0]
    flat.stacked["weight"][0, 2, 3] = 5.0
    assert flat.matrix[0].sum() == 6.0
