"""The sizes of the vision transformers, as a table without torch: width, heads, blocks, stem."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class VitSpec:
    """One vision transformer: its shape and its stem.

    Raises:
        ValueError: If the heads do not divide the width, or the strides do not multiply to the patch size.
    """

    width: int
    """Token width; in the paper's models 64 times the number of heads."""
    heads: int
    blocks: int
    mlp_ratio: float
    """Width of the MLP's hidden layer divided by ``width``."""
    patch_size: int = 16
    """Pixels of image, along one side, that become one token."""
    stem_channels: tuple[int, ...] = ()
    """Output channels of the 3x3 convolutions of the conv stem; empty: a patchify stem."""
    stem_strides: tuple[int, ...] = ()
    """Strides of those convolutions; their product is ``patch_size``."""

    def __post_init__(self) -> None:
        if min(self.width, self.heads, self.blocks, self.patch_size) < 1 or self.mlp_ratio <= 0:
            raise ValueError(
                "width, heads, blocks, patch_size and mlp_ratio must be positive; change the one that is not"
            )
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide the width {self.width}; choose one that does")
        if len(self.stem_channels) != len(self.stem_strides):
            raise ValueError(
                f"stem_strides: got {len(self.stem_strides)} strides for {len(self.stem_channels)} stem_channels; "
                "give one stride for each convolution"
            )
        if self.stem_channels and math.prod(self.stem_strides) != self.patch_size:
            raise ValueError(
                f"stem_strides: {self.stem_strides} multiply to {math.prod(self.stem_strides)}, "
                f"expected patch_size = {self.patch_size}"
            )


_CHANNELS_18GF = (64, 128, 128, 256, 256, 512)
_STRIDES_18GF = (2, 2, 1, 2, 1, 2)

VIT_SPECS: dict[str, VitSpec] = {
    # Own: the two architectures made small for 32 px images, a 4 x 4 grid of patches.
    "vit_p_micro": VitSpec(width=32, heads=2, blocks=3, mlp_ratio=3, patch_size=8),
    "vit_c_micro": VitSpec(
        width=32, heads=2, blocks=2, mlp_ratio=3, patch_size=8, stem_channels=(8, 16, 32), stem_strides=(2, 2, 2)
    ),
    # arXiv:2106.14881v3, Table 1 and section 3.
    "vit_p_1gf": VitSpec(width=192, heads=3, blocks=12, mlp_ratio=3),
    "vit_p_4gf": VitSpec(width=384, heads=6, blocks=12, mlp_ratio=3),
    "vit_p_18gf": VitSpec(width=768, heads=12, blocks=12, mlp_ratio=4),
    "vit_p_36gf": VitSpec(width=1024, heads=16, blocks=14, mlp_ratio=4),
    "vit_c_1gf": VitSpec(
        width=192, heads=3, blocks=11, mlp_ratio=3, stem_channels=(24, 48, 96, 192), stem_strides=(2, 2, 2, 2)
    ),
    "vit_c_4gf": VitSpec(
        width=384, heads=6, blocks=11, mlp_ratio=3, stem_channels=(48, 96, 192, 384), stem_strides=(2, 2, 2, 2)
    ),
    "vit_c_18gf": VitSpec(
        width=768, heads=12, blocks=11, mlp_ratio=4, stem_channels=_CHANNELS_18GF, stem_strides=_STRIDES_18GF
    ),
    "vit_c_36gf": VitSpec(
        width=1024, heads=16, blocks=13, mlp_ratio=4, stem_channels=_CHANNELS_18GF, stem_strides=_STRIDES_18GF
    ),
}
"""Built-in vision transformers by name: ``vit_p_*`` with a patchify stem, ``vit_c_*`` with a convolutional stem."""
