"""Models by name: the built-in ones, timm's and the user's own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trainables.models.cnn_specs import REGNET_SPECS, TIMM_BUILTINS
from trainables.models.timm_models import build_regnet, build_timm, require_timm_model
from trainables.models.vit import build_vit, vit_spec
from trainables.models.vit_specs import VIT_SPECS
from trainables.registry import require_model, user_model

_CHECK_BATCH = 2


def create_model(name: str, *, num_classes: int, image_size: int, in_channels: int = 3, **overrides: Any) -> nn.Module:
    """A freshly initialised model that maps images to logits.

    The initial weights come from torch's global generator; nothing is ever downloaded.

    Args:
        name: One of :func:`trainables.model_names`, or ``timm:NAME`` for any model of timm.
        num_classes: Length of the logits.
        image_size: Side of the square images, pixels.
        in_channels: Channels of the images.
        overrides: For a vision transformer, fields of :class:`trainables.VitSpec` to change, where ``stem`` may be a
            name of :data:`trainables.models.stem_specs.STEM_NAMES` or a mapping as
            :meth:`trainables.models.stem_specs.StemSpec.from_config` takes it; for a RegNetY, fields of
            :class:`trainables.models.cnn_specs.RegnetSpec`; for a model that timm builds, keyword arguments of timm's
            class such as ``drop_path_rate``; for a user's model, further keyword arguments of its factory.

    Returns:
        A module from images of shape (B, in_channels, image_size, image_size), float32, to logits (B, num_classes).

    Raises:
        UnknownName: If no model has this name, or the built-in model takes no override of this name.
        ValueError: If the sizes do not fit each other.
        TypeError: If the user's factory returns something other than a module.
    """
    require_model(name)
    factory = user_model(name)
    if factory is not None:
        model = factory(num_classes=num_classes, image_size=image_size, in_channels=in_channels, **overrides)
        if not isinstance(model, nn.Module):
            raise TypeError(f"model {name!r}: its factory returned {type(model).__name__}, expected a torch.nn.Module")
        return model
    if name in VIT_SPECS:
        spec = vit_spec(name, overrides)
        return build_vit(spec, num_classes=num_classes, image_size=image_size, in_channels=in_channels)
    if name in REGNET_SPECS:
        return build_regnet(name, num_classes=num_classes, in_channels=in_channels, options=overrides)
    return build_timm(
        name,
        TIMM_BUILTINS.get(name) or require_timm_model(name),
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        options=overrides,
    )


def check_model(
    name: str, *, num_classes: int, image_size: int, in_channels: int, overrides: Mapping[str, Any] | None = None
) -> None:
    """Nothing, if the model can be built and maps images of this size to logits.

    Built-in models and timm's are tried without memory for their weights. A user's model is tried so first and, where
    its code needs real tensors, on the CPU. torch's global generator is left as it was.

    Raises:
        UnknownName: If no model has this name, or the built-in model takes no override of this name.
        ValueError: If it cannot be built, or does not take the images, or its logits have another shape; one sentence.
    """
    asked: dict[str, Any] = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    for key in asked.keys() & (overrides or {}).keys():
        raise ValueError(f"option of model {name!r}: {key} cannot be set, the dataset sets it; remove it")
    asked |= overrides or {}
    require_model(name)
    with torch.random.fork_rng(devices=[]):
        try:
            shape = _logits_shape("meta", name, asked)
        except Exception as error:
            if user_model(name) is None:
                raise _one_sentence(name, image_size, in_channels, error) from error
            shape = _logits_shape_on_cpu(name, asked)
    if shape != (_CHECK_BATCH, num_classes):
        raise ValueError(
            f"model {name!r}: {_CHECK_BATCH} images of {image_size} px give an output of shape {shape}, expected logits "
            f"of shape {(_CHECK_BATCH, num_classes)}; correct the model"
        )


def _logits_shape_on_cpu(name: str, asked: dict[str, Any]) -> tuple[int, ...] | str:
    try:
        return _logits_shape("cpu", name, asked)
    except Exception as error:
        raise _one_sentence(name, asked["image_size"], asked["in_channels"], error) from error


def _logits_shape(device: str, name: str, asked: dict[str, Any]) -> tuple[int, ...] | str:
    with torch.device(device), torch.no_grad():
        model = create_model(name, **asked)
        images = torch.zeros(_CHECK_BATCH, asked["in_channels"], asked["image_size"], asked["image_size"])
        model.train()(images)  # what is drawn in training alone, such as dropout, may be out of range
        logits = model.eval()(images)
    return tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__


def _one_sentence(name: str, image_size: int, in_channels: int, error: Exception) -> ValueError:
    if isinstance(error, ValueError) and "\n" not in str(error):
        return error
    reason = ": ".join(filter(None, (type(error).__name__, str(error).strip().partition("\n")[0])))
    return ValueError(
        f"model {name!r} does not take images of {image_size} px with {in_channels} channels ({reason}); "
        "choose another image size or correct the model"
    )
