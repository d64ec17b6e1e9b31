"""The sizes of the vision transformers, as a table without torch: width, heads, blocks, stem."""

from dataclasses import dataclass

from trainables.models.stem_specs import PATCHIFY, StemSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class VitSpec:
    """One vision transformer: its shape and its stem.

    Raises:
        ValueError: If a size is no positive number, the heads do not divide the width, the strides of the stem do not
            multiply to the patch size, or ``drop_path`` is no probability below 1.
    """

    width: int
    """Token width; in the paper's models 64 times the number of heads."""
    heads: int
    blocks: int
    mlp_ratio: float
    """Width of the MLP's hidden layer divided by ``width``."""
    patch_size: int = 16
    """Pixels of image, along one side, that become one token."""
    stem: StemSpec = PATCHIFY
    drop_path: float = 0.0
    """Stochastic depth of the last block: in training, the probability that one of its two branches is left out for an
    image. Block i of n, from 0, has i / (n - 1) of it."""

    def __post_init__(self) -> None:
        for key in ("width", "heads", "blocks", "patch_size", "mlp_ratio"):
            value = getattr(self, key)
            kinds = (int, float) if key == "mlp_ratio" else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool) or not value > 0:
                number = "number" if key == "mlp_ratio" else "whole number"
                raise ValueError(f"{key}: got {value!r}; it must be positive, give a {number} above 0")
        rate = self.drop_path
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < 1:
            raise ValueError(f"drop_path: got {rate!r}; it is a probability, give a number from 0 to below 1")
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide the width {self.width}; choose one that does")
        if self.stem.channels and self.stem.reduction != self.patch_size:
            raise ValueError(
                f"stem: strides {self.stem.strides} multiply to {self.stem.reduction}, expected patch_size = "
                f"{self.patch_size}; change one of them"
            )


_STEM_18GF = StemSpec.conv3x3((64, 128, 128, 256, 256, 512), (2, 2, 1, 2, 1, 2))

VIT_SPECS: dict[str, VitSpec] = {
    # Own: the two architectures made small, for 32 px images (a 4 x 4 grid of patches) and for 64 px (8 x 8).
    "vit_p_micro": VitSpec(width=32, heads=2, blocks=3, mlp_ratio=3, patch_size=8),
    "vit_c_micro": VitSpec(
        width=32, heads=2, blocks=2, mlp_ratio=3, patch_size=8, stem=StemSpec.conv3x3((8, 16, 32), (2, 2, 2))
    ),
    "vit_p_tiny": VitSpec(width=96, heads=3, blocks=6, mlp_ratio=3, patch_size=8),
    "vit_c_tiny": VitSpec(
        width=96, heads=3, blocks=5, mlp_ratio=3, patch_size=8, stem=StemSpec.conv3x3((24, 48, 96), (2, 2, 2))
    ),
    # arXiv:2106.14881v3, Table 1 and section 3.
    "vit_p_1gf": VitSpec(width=192, heads=3, blocks=12, mlp_ratio=3),
    "vit_p_4gf": VitSpec(width=384, heads=6, blocks=12, mlp_ratio=3),
    "vit_p_18gf": VitSpec(width=768, heads=12, blocks=12, mlp_ratio=4),
    "vit_p_36gf": VitSpec(width=1024, heads=16, blocks=14, mlp_ratio=4),
    "vit_c_1gf": VitSpec(
        width=192, heads=3, blocks=11, mlp_ratio=3, stem=StemSpec.conv3x3((24, 48, 96, 192), (2, 2, 2, 2))
    ),
    "vit_c_4gf": VitSpec(
        width=384, heads=6, blocks=11, mlp_ratio=3, stem=StemSpec.conv3x3((48, 96, 192, 384), (2, 2, 2, 2))
    ),
    "vit_c_18gf": VitSpec(width=768, heads=12, blocks=11, mlp_ratio=4, stem=_STEM_18GF),
    "vit_c_36gf": VitSpec(width=1024, heads=16, blocks=13, mlp_ratio=4, stem=_STEM_18GF),
}
"""Built-in vision transformers by name: ``vit_p_*`` with a patchify stem, ``vit_c_*`` with a convolutional stem."""


def conv_stem_of(name: str) -> StemSpec:
    """The convolutional stem of a built-in size, given either of its two models' names."""
    return VIT_SPECS[name.replace("vit_p_", "vit_c_")].stem
