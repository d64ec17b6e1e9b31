"""Vision transformers: a shape and a stem on timm's ``VisionTransformer``."""

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from trainables.models.initialisation import initialise_vit
from trainables.models.stem_specs import PATCHIFY, StemSpec, named_stem
from trainables.models.stems import ConvStem, PatchifyStem
from trainables.models.vit_specs import VIT_SPECS, VitSpec, conv_stem_of
from trainables.registry import require_known


def build_vit(spec: VitSpec, *, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
    """A vision transformer of this shape, initialised as the paper's public code does.

    The class token is prepended, a learned position embedding is added to every token, norms have eps 1e-6, the head
    reads the class token, and there is no dropout. A branch of a block that stochastic depth keeps is divided by the
    probability of keeping it; which are left out is drawn from torch's global generator.

    Raises:
        ValueError: If the patch size does not divide the image size.

    Source: arXiv:2106.14881v3, section 3 and Table 1; stochastic depth as in timm and DeiT (arXiv:2012.12877).
    """
    model = VisionTransformer(
        img_size=image_size,
        patch_size=spec.patch_size,
        in_chans=in_channels,
        num_classes=num_classes,
        global_pool="token",
        embed_dim=spec.width,
        depth=spec.blocks,
        num_heads=spec.heads,
        mlp_ratio=spec.mlp_ratio,
        drop_path_rate=spec.drop_path,
        embed_layer=partial(ConvStem if spec.stem.channels else PatchifyStem, spec.stem),
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        weight_init="skip",
    )
    initialise_vit(model)
    return model


def vit_spec(name: str, overrides: Mapping[str, Any]) -> VitSpec:
    """The built-in vision transformer of this name with these fields changed.

    A change of the stem changes the stem alone: the number of blocks stays that of the named model.

    Args:
        name: One of :data:`trainables.VIT_SPECS`.
        overrides: Fields of :class:`trainables.VitSpec`; ``stem`` may also be a name or a mapping.

    Raises:
        UnknownName: If an override is no field, or nothing has the name of the stem.
        ValueError: If the sizes do not fit each other, or the stem is described wrongly.
    """
    known = tuple(field.name for field in fields(VitSpec))
    for override in overrides:
        require_known(f"option of model {name!r}", override, known)
    base = VIT_SPECS[name]
    changes = {key: value for key, value in overrides.items() if key != "stem"}
    if "stem" not in overrides:
        return replace(base, **changes)
    # Sizes are checked first, with a stem that goes with all of them, since a named stem is scaled to them.
    sizes = replace(base, **changes, stem=PATCHIFY)
    return replace(sizes, stem=_stem(overrides["stem"], name, sizes))


def _stem(stem: object, name: str, sizes: VitSpec) -> StemSpec:
    if isinstance(stem, StemSpec):
        return stem
    if isinstance(stem, Mapping):
        return StemSpec.from_config(stem)
    if isinstance(stem, str):
        return named_stem(stem, own=conv_stem_of(name), width=sizes.width, patch_size=sizes.patch_size)
    raise ValueError(f"stem: got {stem!r}; give the name of a stem, or a mapping with channels and strides")
