"""Models by name: the vision transformers of :data:`trainables.VIT_SPECS` and the user's own."""

from dataclasses import fields, replace
from functools import partial
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from trainables.initialisation import initialise_vit
from trainables.registry import model_names, require_known, user_model
from trainables.stems import ConvStem, PatchifyStem
from trainables.vit_specs import VIT_SPECS, VitSpec


def create_model(name: str, *, num_classes: int, image_size: int, in_channels: int = 3, **overrides: Any) -> nn.Module:
    """A freshly initialised model that maps images to logits.

    The initial weights come from torch's global generator.

    Args:
        name: One of :func:`trainables.model_names`.
        num_classes: Length of the logits.
        image_size: Side of the square images, pixels.
        in_channels: Channels of the images.
        overrides: For a built-in model, fields of :class:`trainables.VitSpec` to change; for a user's model, further
            keyword arguments of its factory.

    Returns:
        A module from images of shape (B, in_channels, image_size, image_size), float32, to logits (B, num_classes).

    Raises:
        UnknownName: If no model has this name, or no field of the built-in model has the name of an override.
        ValueError: If the sizes do not fit each other.
        TypeError: If the user's factory returns something other than a module.
    """
    require_known("model", name, model_names())
    factory = user_model(name)
    if factory is None:
        spec = _overridden(name, overrides)
        return build_vit(spec, num_classes=num_classes, image_size=image_size, in_channels=in_channels)
    model = factory(num_classes=num_classes, image_size=image_size, in_channels=in_channels, **overrides)
    if not isinstance(model, nn.Module):
        raise TypeError(f"model {name!r}: its factory returned {type(model).__name__}, expected a torch.nn.Module")
    return model


def build_vit(spec: VitSpec, *, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
    """A vision transformer of this shape, initialised as the paper's public code does.

    The class token is prepended, a learned position embedding is added to every token, norms have eps 1e-6, the head
    reads the class token, and there is no dropout.

    Raises:
        ValueError: If the patch size does not divide the image size.

    Source: arXiv:2106.14881v3, section 3 and Table 1.
    """
    embed_layer: Any = PatchifyStem
    if spec.stem_channels:
        embed_layer = partial(ConvStem, channels=spec.stem_channels, strides=spec.stem_strides)
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
        embed_layer=embed_layer,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        weight_init="skip",
    )
    initialise_vit(model)
    return model


def _overridden(name: str, overrides: dict[str, Any]) -> VitSpec:
    known = tuple(field.name for field in fields(VitSpec))
    for override in overrides:
        require_known(f"option of model {name!r}", override, known)
    return replace(VIT_SPECS[name], **overrides)
