"""Models that timm builds: always freshly initialised, for any number of classes and channels."""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from itertools import islice
from typing import Any

import timm
from timm.models.regnet import RegNet, RegNetCfg
from torch import nn

from trainables.models.cnn_specs import REGNET_SPECS, TIMM_NOT_OPTIONS, TIMM_PREFIX, RegnetSpec
from trainables.registry import UnknownName, require_known

_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


def require_timm_model(name: str) -> str:
    """timm's name of the model that a study calls ``timm:NAME``.

    Raises:
        UnknownName: If timm has no such model, with the closest match.
    """
    architecture = name.removeprefix(TIMM_PREFIX)
    known = timm.list_models()
    if architecture not in known:
        close = get_close_matches(architecture, known, n=1)
        hint = f"did you mean '{TIMM_PREFIX}{close[0]}'? " if close else ""
        raise UnknownName(
            f"unknown model {name!r}; {hint}timm {timm.__version__} has {len(known)} models, none of that name"
        )
    return architecture


def build_timm(
    name: str, architecture: str, *, num_classes: int, image_size: int, in_channels: int, options: Mapping[str, Any]
) -> nn.Module:
    """timm's model, initialised by timm, without dropout and stochastic depth unless its definition or the options say so.

    Args:
        name: What the study calls the model, for messages.
        architecture: timm's name.
        num_classes: Length of the logits.
        image_size: Side of the square images, pixels; given to models that are built for one size.
        in_channels: Channels of the images.
        options: Further keyword arguments of the model's class.

    Raises:
        UnknownName: If the model takes no option of this name.
        ValueError: If the model cannot be built with these sizes.
    """
    for option in options:
        if option in TIMM_NOT_OPTIONS:
            raise ValueError(f"option of model {name!r}: {option} cannot be set, the study sets it; remove it")
    config = timm.get_pretrained_cfg(architecture)
    size: dict[str, Any] = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    try:
        return timm.create_model(
            architecture, pretrained=False, num_classes=num_classes, in_chans=in_channels, **size, **options
        )
    except Exception as error:  # timm checks sizes by assert, by exceptions of many kinds, or leaves it to torch
        raise _explained(name, image_size, in_channels, options, error) from error


def _explained(
    name: str, image_size: int, in_channels: int, options: Mapping[str, Any], error: Exception
) -> ValueError:
    unexpected = _UNEXPECTED.search(str(error))
    if unexpected and unexpected[1] in options:
        return UnknownName(f"unknown option of model {name!r} {unexpected[1]!r}; remove it")
    reason = str(error).strip().partition("\n")[0] or "it does not take this size"
    return ValueError(
        f"model {name!r} cannot be built for images of {image_size} px with {in_channels} channels ({reason}); "
        "choose another image size or other options"
    )


def build_regnet(name: str, *, num_classes: int, in_channels: int, options: Mapping[str, Any]) -> nn.Module:
    """A RegNetY of the paper, initialised by timm.

    Args:
        name: One of :data:`trainables.models.cnn_specs.REGNET_SPECS`.
        num_classes: Length of the logits.
        in_channels: Channels of the images.
        options: Fields of :class:`trainables.models.cnn_specs.RegnetSpec` to change.

    Raises:
        UnknownName: If an option is no field.
        ValueError: If the sizes do not fit each other.
    """
    known = tuple(field.name for field in fields(RegnetSpec))
    for option in options:
        require_known(f"option of model {name!r}", option, known)
    spec = replace(REGNET_SPECS[name], **options)
    return _StagedRegNet(spec, num_classes=num_classes, in_channels=in_channels)


class _StagedRegNet(RegNet):
    """timm's RegNet with stages by depth and width: timm only generates them from a line, which these do not follow."""

    def __init__(self, spec: RegnetSpec, *, num_classes: int, in_channels: int) -> None:
        self._spec = spec
        super().__init__(
            RegNetCfg(se_ratio=spec.se_ratio, stem_width=spec.stem_width),
            in_chans=in_channels,
            num_classes=num_classes,
            drop_rate=spec.drop_rate,
            drop_path_rate=spec.drop_path_rate,
        )

    def _get_stage_args(
        self, cfg: RegNetCfg, default_stride: int = 2, output_stride: int = 32, drop_path_rate: float = 0.0
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        spec = self._spec
        blocks = sum(spec.depths)
        drop_paths = iter(spec.drop_path_rate * block / max(1, blocks - 1) for block in range(blocks))
        stages = [
            {
                "out_chs": width,
                "depth": depth,
                "stride": default_stride,
                "dilation": 1,
                "bottle_ratio": cfg.bottle_ratio,
                "group_size": spec.group_width,
                "drop_path_rates": list(islice(drop_paths, depth)),
            }
            for depth, width in zip(spec.depths, spec.widths, strict=True)
        ]
        common = {key: getattr(cfg, key) for key in ("downsample", "se_ratio", "linear_out", "act_layer", "norm_layer")}
        return stages, common
