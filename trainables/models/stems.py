"""The stems as modules: from an image to a row-major sequence of tokens.

They are embedding layers as timm's ``VisionTransformer`` builds them: called by keyword with more than we need, and asked
for ``num_patches``, ``grid_size`` and ``feat_ratio()``.
"""

from typing import Any

import torch
from timm.layers.norm import LayerNorm2d
from torch import nn

from trainables.models.stem_specs import StemSpec, padding


class Stem(nn.Module):
    """What all stems share: the token grid, and the check of the image's size.

    Raises:
        ValueError: If the patch size does not divide the image size.
    """

    def __init__(self, *, img_size: int, patch_size: int) -> None:
        super().__init__()
        if img_size % patch_size:
            raise ValueError(
                f"image_size: {img_size} px is not a multiple of the patch size {patch_size} px; choose one that is"
            )
        self.img_size = (img_size, img_size)
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]

    def feat_ratio(self) -> int:
        """Pixels of image, along one side, for one token."""
        return self.patch_size[0]

    def tokens(self, features: torch.Tensor) -> torch.Tensor:
        """Features of shape (B, D, h, w) as tokens of shape (B, h * w, D)."""
        return features.flatten(2).transpose(1, 2)


class PatchifyStem(Stem):
    """One convolution whose kernel and stride are the patch size, then the norm and the activation, if any.

    The stem of ViT_P has neither, and a bias.

    Source: arXiv:2106.14881v3, section 3; with batch norm and ReLU, Figure 7.
    """

    def __init__(
        self, spec: StemSpec, *, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_ignored: Any
    ) -> None:
        super().__init__(img_size=img_size, patch_size=patch_size)
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size, bias=spec.norm == "none")
        self.after = nn.Sequential(*norm_and_activation(spec, embed_dim))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to tokens (B, N, D)."""
        return self.tokens(self.after(self.proj(images)))


class ConvStem(Stem):
    """Convolutions, each followed by norm and activation, then one 1x1 with bias and nothing after it.

    The stem of ViT_C has 3x3 convolutions with batch norm and ReLU.

    Source: arXiv:2106.14881v3, section 3; padding 1, batch-norm eps 1e-5 and momentum 0.1 as in the paper's public code.
    """

    def __init__(
        self, spec: StemSpec, *, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_ignored: Any
    ) -> None:
        super().__init__(img_size=img_size, patch_size=patch_size)
        layers: list[nn.Module] = []
        previous = in_chans
        for width, stride, kernel in zip(spec.channels, spec.strides, spec.kernels, strict=True):
            layers.append(nn.Conv2d(previous, width, kernel, stride, padding(kernel, stride), bias=spec.norm == "none"))
            layers += norm_and_activation(spec, width)
            previous = width
        self.convs = nn.Sequential(*layers)
        self.proj = nn.Conv2d(previous, embed_dim, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to tokens (B, N, D)."""
        return self.tokens(self.proj(self.convs(images)))


def norm_and_activation(spec: StemSpec, channels: int) -> list[nn.Module]:
    """What follows a convolution of a stem to so many channels; features stay (B, channels, h, w).

    Layer norm has the transformer's eps, 1e-6.
    """
    layers: list[nn.Module] = []
    if spec.norm == "batch":
        layers.append(nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1))
    elif spec.norm == "layer":
        layers.append(LayerNorm2d(channels, eps=1e-6))
    if spec.activation == "relu":
        layers.append(nn.ReLU(inplace=True))
    elif spec.activation == "gelu":
        layers.append(nn.GELU())
    return layers
