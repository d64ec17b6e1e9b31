"""Linear layers and batch norm of stacked models, one operation over all models each; convolutions under autocast."""

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainables.training.fused.vmapped import Vmapped, front


class _FoldedBatchNorm(Vmapped):
    """Batch norm with a rule of its own for ``torch.vmap``, whose own applies gains and biases in passes of their own."""

    @staticmethod
    def forward(
        images: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        mean: torch.Tensor | None,
        var: torch.Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
    ) -> torch.Tensor:
        return functional.batch_norm(images, mean, var, weight, bias, training, momentum, eps)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        images: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        mean: torch.Tensor | None,
        var: torch.Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
    ) -> tuple[torch.Tensor, int]:
        """The same for (B, M, C, ...): as for M * C channels of one model.

        Raises:
            RuntimeError: If statistics are to be updated that the models do not have each for itself.
        """
        if training and any(
            own is not None and dim is None for own, dim in zip((mean, var), in_dims[3:5], strict=True)
        ):
            raise RuntimeError("batch norm has statistics that are no buffers of the model")
        models = info.batch_size
        # Convolutions leave the models beside the channels: then this moves nothing.
        images = images.movedim(in_dims[0], 1) if in_dims[0] is not None else _repeated(images, 1, models)
        weight, bias, mean, var = (
            _per_channel(own, dim, models) for own, dim in zip((weight, bias, mean, var), in_dims[1:5], strict=True)
        )
        out = functional.batch_norm(images.flatten(1, 2), mean, var, weight, bias, training, momentum, eps)
        return out.view(len(out), models, -1, *out.shape[2:]), 1


class _FoldedLinear(Vmapped):
    """A linear layer with a rule of its own for ``torch.vmap``.

    torch's own adds the biases in an operation of its own, in float32 under bfloat16 autocast, so that all that follows is
    float32.
    """

    @staticmethod
    def forward(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return functional.linear(inputs, weight, bias)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        inputs: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> tuple[torch.Tensor, int]:
        """The same for (M, ..., features): a batched matrix product."""
        models = info.batch_size
        inputs, weight = (front(own, dim, models) for own, dim in zip((inputs, weight), in_dims[:2], strict=True))
        rows, columns = inputs.flatten(1, -2), weight.transpose(1, 2)
        if bias is None:
            out = torch.bmm(rows, columns)
        else:
            out = torch.baddbmm(front(bias, in_dims[2], models).unsqueeze(1), rows, columns)
        return out.view(models, *inputs.shape[1:-1], -1), 0


def _repeated(tensor: torch.Tensor, dim: int, models: int) -> torch.Tensor:
    return tensor.unsqueeze(dim).expand(*tensor.shape[:dim], models, *tensor.shape[dim:])


def _per_channel(own: torch.Tensor | None, dim: int | None, models: int) -> torch.Tensor | None:
    """Shape (M * C,); of statistics a view, so that they are updated in place."""
    if own is None:
        return None
    return (own.movedim(dim, 0) if dim is not None else _repeated(own, 0, models)).flatten()


_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
_LOSSES = """binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy hinge_embedding_loss kl_div l1_loss
    margin_ranking_loss multi_margin_loss multilabel_margin_loss nll_loss poisson_nll_loss soft_margin_loss
    triplet_margin_loss"""
_NORMS = "cosine_similarity frobenius_norm group_norm layer_norm linalg_matrix_norm linalg_norm nuclear_norm rms_norm"
_SOFTMAX = "log_softmax softmax softmin special_log_softmax special_softmax"
_ON_CPU = """adaptive_avg_pool3d fft_fft fft_fft2 fft_fftn fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_irfft
    fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn grid_sample grid_sampler inverse linalg_inv nanquantile
    quantile"""
IN_FLOAT32 = {
    "cpu": frozenset(f"{_LOSSES} {_ON_CPU} cdist".split()),
    "cuda": frozenset(f"{_LOSSES} {_NORMS} {_SOFTMAX} cdist pdist".split()),
}
"""By device, names of functions that autocast runs in float32 and torch.vmap takes apart before autocast sees them."""


class Folded(TorchFunctionMode):
    """Inside, linear layers and batch norm run under ``torch.vmap`` as one operation each.

    Of what autocast knows under other names than torch.vmap calls it by, the dtype is settled here: of convolutions on
    a CPU, and of the functions :data:`IN_FLOAT32`.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replaces these functions."""
        kwargs = kwargs or {}
        if func is functional.batch_norm:
            return _batch_norm(*args, **kwargs)
        if func is functional.linear:
            return _linear(*args, **kwargs)
        if func in _CONVOLUTIONS and torch.is_autocast_enabled("cpu"):
            return func(*map(_autocast, args), **{name: _autocast(value) for name, value in kwargs.items()})
        name = getattr(func, "__name__", "")
        if any(name in names and torch.is_autocast_enabled(device) for device, names in IN_FLOAT32.items()):
            return func(*map(_single, args), **{key: _single(value) for key, value in kwargs.items()})
        return func(*args, **kwargs)


def _autocast(value: Any) -> Any:
    single = isinstance(value, torch.Tensor) and value.dtype == torch.float32 and value.device.type == "cpu"
    return value.to(torch.get_autocast_dtype("cpu")) if single else value


def _single(value: Any) -> Any:
    half = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half and torch.is_autocast_enabled(value.device.type) else value


def _batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    return _FoldedBatchNorm.apply(input, weight, bias, running_mean, running_var, training, momentum, eps)


def _linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    if input.ndim < 2:
        return functional.linear(input, weight, bias)
    return _FoldedLinear.apply(input, weight, bias)
