"""Stems as plain descriptions, without torch: the paper's by name, others from a mapping."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

Norm = Literal["batch", "layer", "none"]
Activation = Literal["relu", "gelu", "none"]

PAPER_KERNEL = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class StemSpec:
    """What comes between the image and the tokens: convolutions, each followed by a norm and an activation.

    After them always comes a 1x1 convolution with bias to the transformer's width, with nothing behind it. Without any
    convolutions the stem is a patchify stem: one convolution to the width whose kernel and stride are the patch size,
    followed by the norm and the activation, if any.

    A convolution has a bias where no norm follows. Its padding is the least with which it divides the side of the image
    by its stride, ``ceil((kernel - stride) / 2)``: 1 for the paper's 3x3, 0 where patches do not overlap.

    Raises:
        ValueError: If the lists differ in length or hold something else than positive whole numbers, a kernel does not
            go with its stride, or the norm or the activation is unknown.

    Source: arXiv:2106.14881v3, section 3 and Table 3; the padding of other kernels: own.
    """

    channels: tuple[int, ...] = ()
    """Output channels of each convolution but the last 1x1; empty: a patchify stem."""
    strides: tuple[int, ...] = ()
    """Stride of each, pixels; their product is the transformer's patch size."""
    kernels: tuple[int, ...] = ()
    """Side of each kernel, pixels."""
    norm: Norm = "batch"
    """``batch``; ``layer``, over the channels of each position; or ``none``."""
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        for key in ("channels", "strides", "kernels"):
            _check_sizes(key, getattr(self, key))
        for key in ("strides", "kernels"):
            if len(getattr(self, key)) != len(self.channels):
                raise ValueError(
                    f"stem: {len(getattr(self, key))} {key} for {len(self.channels)} channels; "
                    "give one for each convolution"
                )
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            _check_kernel(kernel, stride)
        _check_choice("norm", self.norm, get_args(Norm))
        _check_choice("activation", self.activation, get_args(Activation))

    @property
    def reduction(self) -> int:
        """Pixels of image, along one side, for one token; 1 for a patchify stem, which takes any patch size."""
        return math.prod(self.strides)

    @classmethod
    def conv3x3(cls, channels: tuple[int, ...], strides: tuple[int, ...]) -> "StemSpec":
        """The stem of ViT_C: 3x3 convolutions with batch norm and ReLU."""
        return cls(channels=channels, strides=strides, kernels=(PAPER_KERNEL,) * len(channels))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "StemSpec":
        """The stem that a study file describes.

        Args:
            config: ``channels`` and ``strides``, lists of the same length; and, if wanted, ``kernels``, such a list or
                one number (3), ``norm`` (``batch``) and ``activation`` (``relu``).

        Raises:
            ValueError: If a key is missing or unknown, or a value does not fit.
        """
        from trainables.registry import require_known  # the registry lists the models, and so imports this module

        for key in config:
            require_known("key of a stem", key, ("channels", "strides", "kernels", "norm", "activation"))
        for key in ("channels", "strides"):
            if not config.get(key):
                raise ValueError(f"stem: {key} is missing; give a list with one number for each convolution")
        channels = _as_tuple(config["channels"])
        kernels = config.get("kernels", PAPER_KERNEL)
        # YAML reads `null` and an empty value as None: they mean what the word `none` means.
        words: Any = {
            key: "none" if config[key] is None else config[key] for key in ("norm", "activation") if key in config
        }
        return cls(
            channels=channels,
            strides=_as_tuple(config["strides"]),
            kernels=(kernels,) * len(channels) if isinstance(kernels, int) else _as_tuple(kernels),
            **words,
        )


def padding(kernel: int, stride: int) -> int:
    """The padding, pixels, with which a convolution of this kernel divides the side of an image by its stride."""
    return math.ceil((kernel - stride) / 2)


STEM_NAMES = ("conv", "conv_ln", "patchify", "patchify_bn_relu", "s1", "s2", "s3", "s4")
"""Stems that a vision transformer takes by name."""

# Table 3: the first of four widths, each double the one before. The table prints 42 for S1, but only 52 goes with the
# widths that follow it and with its flops, parameters and activations.
_ABLATION_FIRST_CHANNELS = {"s1": 52, "s2": 32, "s3": 17, "s4": 8}
_ABLATION_WIDTH = 384
_ABLATION_CONVS = 3


def named_stem(name: str, *, own: StemSpec, width: int, patch_size: int) -> StemSpec:
    """The stem of this name for a transformer of this width and patch size.

    Args:
        name: One of :data:`STEM_NAMES`.
        own: The convolutional stem of the transformer's size, which ``conv`` and ``conv_ln`` stand for.
        width: Token width of the transformer.
        patch_size: Pixels of image, along one side, for one token.

    Raises:
        UnknownName: If no stem has this name.
        ValueError: If the stem cannot have this patch size.

    Source: arXiv:2106.14881v3, Table 3 and Figure 7, for a width of 384 and patches of 16 px; for others: own.
    """
    from trainables.registry import require_known  # the registry lists the models, and so imports this module

    require_known("stem", name, STEM_NAMES)
    if name in _ABLATION_FIRST_CHANNELS:
        return _ablation(name, width, patch_size)
    return {
        "conv": own,
        "conv_ln": replace(own, norm="layer"),
        "patchify": PATCHIFY,
        "patchify_bn_relu": StemSpec(norm="batch", activation="relu"),
    }[name]


def _ablation(name: str, width: int, patch_size: int) -> StemSpec:
    """Three 3x3 convolutions and one patch-like, of 2, 4, 8 or 16 px in S1 to S4; the first halve what is left."""
    last = 2 ** int(name[1])
    left, remainder = divmod(patch_size, last)
    halvings = left.bit_length() - 1
    if remainder or left != 2**halvings or halvings > _ABLATION_CONVS:
        possible = [last * 2**count for count in range(_ABLATION_CONVS + 1)]
        raise ValueError(
            f"stem {name!r}: cannot make patches of {patch_size} px, only of {', '.join(map(str, possible))} px; "
            "choose another stem or describe one"
        )
    first = max(1, round(_ABLATION_FIRST_CHANNELS[name] * width / _ABLATION_WIDTH))
    return StemSpec(
        channels=tuple(first * 2**index for index in range(_ABLATION_CONVS + 1)),
        strides=(2,) * halvings + (1,) * (_ABLATION_CONVS - halvings) + (last,),
        kernels=(PAPER_KERNEL,) * _ABLATION_CONVS + (last,),
    )


def _as_tuple(value: object) -> tuple[int, ...]:
    return cast("tuple[int, ...]", tuple(value) if isinstance(value, list | tuple) else (value,))


def _check_sizes(key: str, values: tuple[int, ...]) -> None:
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"stem: {key} holds {value!r}; give positive whole numbers")


def _check_kernel(kernel: int, stride: int) -> None:
    if kernel < stride:
        raise ValueError(f"stem: a kernel of {kernel} with a stride of {stride} skips pixels; make it {stride} or more")
    if stride == 1 and kernel % 2 == 0:
        raise ValueError(
            f"stem: a kernel of {kernel} with a stride of 1 cannot keep the size of its input; make the kernel odd"
        )


def _check_choice(key: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"stem: {key} is {value!r}; choose one of {', '.join(choices)}")


PATCHIFY = StemSpec(norm="none", activation="none")
"""The stem of ViT_P."""
