"""What a model costs: parameters, flops and activations, counted without running it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from trainables.models.create import create_model

_aten = torch.ops.aten
_PRODUCTS = frozenset(
    operator.default for operator in (_aten.convolution, _aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCost:
    """The size of a model and the work of one forward pass of one image.

    Source: arXiv:2106.14881v3, Table 1, for what is counted.
    """

    parameters: int
    """Trainable numbers."""
    flops: int
    """Multiply-adds of all convolutions and matrix products, those of attention included; norms, activations, pooling and
    sums are not counted."""
    activations: int
    """Elements of the outputs of the same convolutions and matrix products."""


def named_model_cost(
    name: str, *, num_classes: int, image_size: int, in_channels: int = 3, overrides: Mapping[str, Any] | None = None
) -> ModelCost:
    """The cost of the model that :func:`trainables.create_model` would build, without memory for its weights.

    Raises:
        UnknownName: If no model has this name.
        ValueError: If the sizes do not fit each other.
    """
    with torch.device("meta"):
        model = create_model(
            name, num_classes=num_classes, image_size=image_size, in_channels=in_channels, **(overrides or {})
        )
    return model_cost(model, image_size=image_size, in_channels=in_channels)


def model_cost(model: nn.Module, *, image_size: int, in_channels: int = 3) -> ModelCost:
    """The cost of any model, as it is evaluated (batch norm as one multiply and add, no dropout).

    Args:
        model: A module from images (B, in_channels, image_size, image_size) to any output; left as it is.
        image_size: Side of the square images, pixels.
        in_channels: Channels of the images.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    image = torch.zeros(1, in_channels, image_size, image_size, device="meta")
    # The fused kernels of attention hide its two products, and so would differ from one device to another.
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as flops,
        _OutputCounter() as outputs,
    ):
        shadow(image)
    return ModelCost(
        parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        # torch counts a multiply and an add as two.
        flops=flops.get_total_flops() // 2,
        activations=outputs.elements,
    )


class _OutputCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Adds up the elements that convolutions and matrix products put out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _PRODUCTS:
            self.elements += output.numel()
        return output
