"""The two stems of the paper: from an image to a row-major sequence of tokens.

Both are embedding layers as timm's ``VisionTransformer`` builds them: called by keyword with more than we need, and asked
for ``num_patches``, ``grid_size`` and ``feat_ratio()``.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class Stem(nn.Module):
    """What both stems share: the token grid, and the check of the image's size.

    Raises:
        ValueError: If the patch size does not divide the image size.
    """

    def __init__(self, *, img_size: int, patch_size: int) -> None:
        super().__init__()
        if img_size % patch_size:
            raise ValueError(f"image_size: {img_size} px is not a multiple of the patch size {patch_size} px")
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
    """One convolution with bias whose kernel and stride are the patch size; nothing after it. The stem of ViT_P.

    Source: arXiv:2106.14881v3, section 3.
    """

    def __init__(self, *, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_ignored: Any) -> None:
        super().__init__(img_size=img_size, patch_size=patch_size)
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to tokens (B, N, D)."""
        return self.tokens(self.proj(images))


class ConvStem(Stem):
    """3x3 convolutions, each without bias and followed by batch norm and ReLU, then one 1x1 with bias: ViT_C.

    Nothing follows the last convolution, as nothing follows the patchify stem's.

    Raises:
        ValueError: If the strides do not multiply to the patch size, or the patch size does not divide the image size.

    Source: arXiv:2106.14881v3, section 3; padding 1, batch-norm eps 1e-5 and momentum 0.1 as in the paper's public code.
    """

    def __init__(
        self,
        *,
        img_size: int,
        patch_size: int,
        in_chans: int,
        embed_dim: int,
        channels: Sequence[int],
        strides: Sequence[int],
        **_ignored: Any,
    ) -> None:
        super().__init__(img_size=img_size, patch_size=patch_size)
        if math.prod(strides) != patch_size:
            raise ValueError(f"strides: {tuple(strides)} do not multiply to the patch size {patch_size}")
        layers: list[nn.Module] = []
        previous = in_chans
        for width, stride in zip(channels, strides, strict=True):
            layers += [
                nn.Conv2d(previous, width, kernel_size=3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(width, eps=1e-5, momentum=0.1),
                nn.ReLU(inplace=True),
            ]
            previous = width
        self.convs = nn.Sequential(*layers)
        self.proj = nn.Conv2d(previous, embed_dim, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to tokens (B, N, D)."""
        return self.tokens(self.proj(self.convs(images)))
