"""Attention of stacked models is that of each model alone, and torch does not loop over them."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from trainables.training.fused.attention import FoldedAttention
from trainables.training.fused.forward import without_loops

M, B, H, N, D = 3, 2, 2, 5, 4


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(M, B, H, N, D, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]


MASKS: dict[str, torch.Tensor | None] = {
    "none": None,
    "shared": torch.tril(torch.ones(N, N, dtype=torch.bool)),
    "of each image": torch.rand(B, 1, N, N, dtype=torch.float64),
}


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}])
@pytest.mark.parametrize("mask", MASKS)
def test_it_is_each_models_own(mask: str, options: dict[str, Any]) -> None:
    if mask != "none" and "is_causal" in options:
        options = {}
    asked = {"attn_mask": MASKS[mask], **options}

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(q, k, v, **asked)

    q, k, v = inputs()
    alone = torch.stack([attend(*(tensor[model] for tensor in (q, k, v))) for model in range(M)])
    with without_loops(), FoldedAttention():
        together = torch.vmap(attend)(q, k, v)
    assert torch.allclose(alone, together, rtol=0, atol=1e-12)
    weights = torch.randn_like(alone)
    expected = torch.autograd.grad((alone * weights).sum(), (q, k, v))
    found = torch.autograd.grad((together * weights).sum(), (q, k, v))
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_a_key_that_all_models_share() -> None:
    q, k, v = inputs()
    alone = torch.stack([functional.scaled_dot_product_attention(one, k[0], v[0]) for one in q])
    with FoldedAttention():
        together = torch.vmap(functional.scaled_dot_product_attention, in_dims=(0, None, None))(q, k[0], v[0])
    assert torch.allclose(alone, together, rtol=0, atol=1e-12)
