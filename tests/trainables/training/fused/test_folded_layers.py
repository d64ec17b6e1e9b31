"""Linear layers and batch norm of stacked models are those of each model alone, statistics included."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainables.training.fused import folded
from trainables.training.fused.folded import Folded
from trainables.training.fused.forward import StackedForward, without_loops

M, B, C, F = 3, 4, 5, 6
DOUBLE = 1e-9
BFLOAT16 = 2.0**-6
"""Of the largest number: neighbours in bfloat16 are up to 2**-7 of it apart, and batch norm rounds once more."""

Alone = Callable[..., torch.Tensor]


def drawn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)


def same(function: Alone, stacked: list[torch.Tensor | None], shared: list[torch.Tensor]) -> None:
    """Outputs and gradients of M calls are those of one under vmap; the stacked arguments come first."""
    alone = torch.stack([function(*(None if own is None else own[at] for own in stacked), *shared) for at in range(M)])
    dims = (*(None if own is None else 0 for own in stacked), *(None for _ in shared))
    with without_loops(), Folded():
        together = torch.vmap(function, in_dims=dims)(*stacked, *shared)
    assert torch.allclose(alone, together, rtol=0, atol=DOUBLE)
    inputs = [own for own in (*stacked, *shared) if own is not None]
    weights = torch.randn_like(alone)
    expected = torch.autograd.grad((alone * weights).sum(), inputs)
    found = torch.autograd.grad((together * weights).sum(), inputs)
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=DOUBLE)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(F,), (B, F), (B, 7, F), (B, 2, 7, F)])
def test_linear_is_each_models_own(shape: tuple[int, ...], bias: bool) -> None:
    own = [drawn(M, *shape), drawn(M, C, F), drawn(M, C) if bias else None]
    same(functional.linear, own, [])


def test_linear_on_what_all_models_share() -> None:
    def reversed_order(weight: torch.Tensor, bias: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return functional.linear(images, weight, bias)

    same(reversed_order, [drawn(M, C, F), drawn(M, C)], [drawn(B, F)])
    same(lambda images, weight: functional.linear(images, weight), [drawn(M, B, F)], [drawn(C, F)])


@pytest.mark.parametrize("shape", [(B, C), (B, C, 7), (B, C, 3, 2)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_each_models_own(shape: tuple[int, ...], affine: bool) -> None:
    def norm(images: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
        return functional.batch_norm(images, None, None, weight=weight, bias=bias, training=True, eps=1e-3)

    same(norm, [drawn(M, *shape), *((drawn(M, C), drawn(M, C)) if affine else (None, None))], [])


def test_batch_norm_of_images_that_all_models_share() -> None:
    def norm(weight: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(images, None, None, weight=weight, training=True)

    same(norm, [drawn(M, C)], [drawn(B, C, 3, 2)])


@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_every_model_has_statistics_of_its_own(momentum: float) -> None:
    models = [nn.Sequential(nn.Conv2d(3, C, 3), nn.BatchNorm2d(C, momentum=momentum)).double() for _ in range(M)]
    named = [{**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models]
    values = {name: torch.stack([own[name].detach() for own in named]) for name in named[0]}
    forward = StackedForward(models[0])
    for step in range(3):
        images = torch.randn(B, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        together = forward(values, images, training=True)
        for model, logits in zip(models, together, strict=True):
            assert torch.allclose(model(images), logits, rtol=0, atol=DOUBLE)
    for at, own in enumerate(named):
        assert values["1.num_batches_tracked"][at] == 3
        for name in ("1.running_mean", "1.running_var"):
            assert torch.allclose(own[name], values[name][at], rtol=0, atol=DOUBLE)
    before = {name: own.clone() for name, own in values.items()}
    together = forward(values, images, training=False)
    for model, logits in zip(models, together, strict=True):
        assert torch.allclose(model.eval()(images), logits, rtol=0, atol=DOUBLE)
    assert all(torch.equal(before[name], values[name]) for name in values)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(6, C),
    "linear without bias": lambda: nn.Linear(6, C, bias=False),
    "convolution and batch norm": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_under_autocast_they_stay_bfloat16(layer: str) -> None:
    torch.manual_seed(0)
    models = [LAYERS[layer]() for _ in range(M)]
    named = [{**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models]
    values = {name: torch.stack([own[name].detach() for own in named]) for name in named[0]}
    images = torch.randn(B, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        together = StackedForward(models[0])(values, images, training=True)
        alone = torch.stack([model(images) for model in models]).detach()
    assert together.dtype == alone.dtype == torch.bfloat16
    limit = BFLOAT16 * float(alone.abs().max())
    assert torch.allclose(alone.float(), together.float(), rtol=0, atol=limit)


class Between(nn.Module):
    """A function of what a linear layer returns, whose dtype is kept."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(6, 6), function
        self.dtypes: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.linear(images)
        assert hidden.dtype == torch.bfloat16
        result = self.function(hidden)
        self.dtypes.append(result.dtype)
        return result.float()


IN_FLOAT32: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cdist": lambda hidden: torch.cdist(hidden, hidden),
    "adaptive_avg_pool3d": lambda hidden: functional.adaptive_avg_pool3d(hidden, 2),
    "grid_sample": lambda hidden: functional.grid_sample(hidden, hidden[..., :2].sigmoid(), align_corners=False),
    "fft_rfft2": lambda hidden: torch.fft.rfft2(hidden).abs(),
    "l1_loss": lambda hidden: functional.l1_loss(hidden, hidden * 0.5),
}
NOT_ON_A_CPU: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda hidden: functional.softmax(hidden, dim=1),
    "softmax as a method": lambda hidden: hidden.softmax(dim=1),
    "softmin": lambda hidden: functional.softmin(hidden, dim=1),
    "log_softmax": lambda hidden: torch.log_softmax(hidden, dim=1),
    "group_norm": lambda hidden: functional.group_norm(hidden, 1),
    "rms_norm": lambda hidden: functional.rms_norm(hidden, (6,)),
    "cosine_similarity": lambda hidden: functional.cosine_similarity(hidden, hidden.flip(0), dim=1),
}


def fused_and_alone(function: Callable[[torch.Tensor], torch.Tensor]) -> tuple[list[torch.dtype], float]:
    """The dtypes that ``function`` gives fused and alone under autocast, and how far the results are apart."""
    torch.manual_seed(0)
    models = [Between(function) for _ in range(M)]
    values = {
        name: torch.stack([dict(model.named_parameters())[name].detach() for model in models])
        for name, _ in models[0].named_parameters()
    }
    images = torch.randn(B, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    forward = StackedForward(models[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        together = forward(values, images, training=True)
        alone = torch.stack([model(images) for model in models]).detach()
    dtypes = [forward._template.dtypes[-1], models[0].dtypes[-1]]  # type: ignore[index]
    return dtypes, float((together - alone).abs().max())  # type: ignore[return-value]


@pytest.mark.parametrize("function", IN_FLOAT32)
def test_what_autocast_runs_in_float32_is_float32_fused(function: str) -> None:
    dtypes, apart = fused_and_alone(IN_FLOAT32[function])
    assert dtypes == [torch.float32] * 2
    assert apart < 1e-5


@pytest.mark.parametrize("function", NOT_ON_A_CPU)
def test_a_gpus_list_is_another(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (fused, alone), _ = fused_and_alone(NOT_ON_A_CPU[function])
    assert fused == alone == torch.bfloat16
    monkeypatch.setitem(folded.IN_FLOAT32, "cpu", folded.IN_FLOAT32["cuda"])
    (fused, _), _ = fused_and_alone(NOT_ON_A_CPU[function])
    assert fused == torch.float32


def test_statistics_that_are_nobodys_own_are_refused() -> None:
    mean, var = torch.zeros(C, dtype=torch.float64), torch.ones(C, dtype=torch.float64)

    def norm(images: torch.Tensor, **asked: Any) -> torch.Tensor:
        return functional.batch_norm(images, running_mean=mean, running_var=var, **asked)

    images = drawn(M, B, C)
    with Folded(), pytest.raises(RuntimeError, match="no buffers of the model"):
        torch.vmap(lambda own: norm(own, training=True))(images)
    assert mean.sum() == 0
    with Folded():
        together = torch.vmap(norm)(images)
    assert torch.allclose(together, torch.stack([norm(own) for own in images]), rtol=0, atol=DOUBLE)
