"""Attention of stacked models: the model axis is folded into the batch."""

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainables.training.fused.vmapped import Vmapped, front

_sdpa = functional.scaled_dot_product_attention


class _FoldedAttention(Vmapped):
    """Scaled dot-product attention with a rule of its own for ``torch.vmap``, which has none on every device."""

    @staticmethod
    def forward(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, causal: bool, scale: float | None
    ) -> torch.Tensor:
        return _sdpa(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        mask: torch.Tensor | None,
        causal: bool,
        scale: float | None,
    ) -> tuple[torch.Tensor, int]:
        """The same for (M, B, heads, N, d): as for M * B images of one model."""
        models = info.batch_size
        q, k, v = (front(tensor, dim, models) for tensor, dim in zip((q, k, v), in_dims[:3], strict=True))
        batch = q.shape[1]
        if mask is not None:
            mask = front(mask, in_dims[3], models)
            mask = mask.reshape(models, *[1] * (q.ndim - mask.ndim), *mask.shape[1:])
            mask = mask.expand(models, batch, *mask.shape[2:]).flatten(0, 1)
        out = _sdpa(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), attn_mask=mask, is_causal=causal, scale=scale)
        return out.view(models, batch, *out.shape[1:]), 0


class FoldedAttention(TorchFunctionMode):
    """Inside, ``scaled_dot_product_attention`` without dropout runs under ``torch.vmap`` without a loop over the models."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replaces the one function."""
        kwargs = kwargs or {}
        if func is _sdpa:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    if dropout_p or enable_gqa or query.ndim != 4:
        return _sdpa(
            query,
            key,
            value,
            attn_mask=attn_mask,
            dropout_p=dropout_p,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
        )
    return _FoldedAttention.apply(query, key, value, attn_mask, is_causal, scale)
