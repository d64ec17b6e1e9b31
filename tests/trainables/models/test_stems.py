import re
from dataclasses import replace
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from timm.layers.norm import LayerNorm2d
from torch import nn

from trainables import UnknownName, create_model
from trainables.models.cost import ModelCost, model_cost
from trainables.models.stem_specs import PATCHIFY, STEM_NAMES, StemSpec, named_stem, padding

# arXiv:2106.14881v3, Table 3: kernels, strides, channels, and of the stem alone millions of flops, of parameters and of
# activations. Two figures of the table cannot be right and are given as they compute: S1's first width (printed 42; only
# 52 gives the flops, parameters and activations printed beside it) and the activations of P (printed 0.8).
TABLE_3: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int, float, float]] = {
    "patchify": ((), (), (), 58, 0.3, 0.08),
    "conv": ((3, 3, 3, 3), (2, 2, 2, 2), (48, 96, 192, 384), 435, 1.0, 1.2),
    "s1": ((3, 3, 3, 2), (2, 2, 2, 2), (52, 104, 208, 416), 422, 0.8, 1.3),
    "s2": ((3, 3, 3, 4), (2, 2, 1, 4), (32, 64, 128, 256), 422, 0.7, 1.1),
    "s3": ((3, 3, 3, 8), (2, 1, 1, 8), (17, 34, 68, 136), 458, 0.7, 1.6),
    "s4": ((3, 3, 3, 16), (1, 1, 1, 16), (8, 16, 32, 64), 407, 0.6, 2.9),
}


def stem_of(stem: Any, name: str = "vit_c_4gf", **sizes: Any) -> Any:
    torch.manual_seed(0)
    asked = {"num_classes": 10, "image_size": 32, **sizes}
    return create_model(name, stem=stem, **{"blocks": 1, **asked}).patch_embed


def stem_cost(stem: str) -> ModelCost:
    with torch.device("meta"):
        return model_cost(stem_of(stem, image_size=224), image_size=224)


@pytest.mark.parametrize("stem", TABLE_3)
def test_the_stems_of_the_papers_table(stem: str) -> None:
    kernels, strides, channels, megaflops, parameters_m, activations_m = TABLE_3[stem]
    module = stem_of(stem)
    convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    if stem != "patchify":
        assert tuple(conv.kernel_size[0] for conv in convs) == (*kernels, 1)
        assert tuple(conv.stride[0] for conv in convs) == (*strides, 1)
        assert tuple(conv.out_channels for conv in convs) == (*channels, 384)
        assert tuple(conv.padding[0] for conv in convs) == tuple(int(kernel == 3) for kernel in (*kernels, 1))
    cost = stem_cost(stem)
    assert round(cost.flops / 1e6) == megaflops
    assert round(cost.parameters / 1e6, 1) == parameters_m
    assert round(cost.activations / 1e6, len(str(activations_m)) - 2) == activations_m


def test_the_stem_costs_to_the_last_digit() -> None:
    counted = {stem: (stem_cost(stem).parameters, stem_cost(stem).flops) for stem in ("patchify", "conv", "s1")}
    assert counted["patchify"] == (384 * (3 * 256 + 1), 196 * 384 * 3 * 256)
    sides, widths = (112, 56, 28, 14), (3, 48, 96, 192, 384)
    conv_flops = sum(side**2 * 9 * a * b for side, a, b in zip(sides, widths[:-1], widths[1:], strict=True))
    assert counted["conv"][1] == conv_flops + 196 * 384**2
    # Printed 42 would give 389 million flops.
    assert counted["s1"] == (752_564, 422_030_336)


@pytest.mark.parametrize("stem", STEM_NAMES)
@pytest.mark.parametrize("name", ["vit_p_1gf", "vit_c_18gf", "vit_p_36gf"])
def test_a_named_stem_goes_on_every_size_and_changes_nothing_else(name: str, stem: str) -> None:
    with torch.device("meta"):
        changed = create_model(name, num_classes=10, image_size=64, stem=stem)
        plain = create_model(name, num_classes=10, image_size=64)

    def rest(model: nn.Module) -> dict[str, torch.Size]:
        return {key: value.shape for key, value in model.state_dict().items() if not key.startswith("patch_embed")}

    assert rest(changed) == rest(plain)
    assert changed(torch.zeros(2, 3, 64, 64, device="meta")).shape == (2, 10)


def test_the_convolutional_stem_is_the_sizes_own_on_either_model() -> None:
    with torch.device("meta"):
        ours = create_model("vit_p_18gf", num_classes=10, image_size=64, stem="conv", blocks=11)
        conv = create_model("vit_c_18gf", num_classes=10, image_size=64)
    assert str(ours) == str(conv)


def test_stems_with_another_norm() -> None:
    layer = stem_of("conv_ln").convs
    assert [type(module) for module in layer] == [nn.Conv2d, LayerNorm2d, nn.ReLU] * 4
    assert {module.eps for module in layer if isinstance(module, LayerNorm2d)} == {1e-6}
    batch = stem_of("patchify_bn_relu")
    assert [type(module) for module in batch.after] == [nn.BatchNorm2d, nn.ReLU]
    assert batch.proj.bias is None
    assert (batch(torch.randn(2, 3, 32, 32)) >= 0).all()
    # Gains and biases are as many for either norm, so that only the kind of norm differs.
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in stem_of("conv").convs.parameters())


def test_layer_norm_is_over_the_channels_of_each_position() -> None:
    stem = stem_of({"channels": [6], "strides": [16], "kernels": [16], "norm": "layer", "activation": "none"})
    normed = stem.convs(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(normed.mean(1), torch.zeros(2, 2, 2), rtol=0, atol=1e-6)
    torch.testing.assert_close(normed.var(1, unbiased=False), torch.ones(2, 2, 2), rtol=1e-3, atol=1e-3)


@given(width=st.integers(1, 2048), last_power=st.integers(1, 4), halvings=st.integers(0, 3))
def test_ablation_stems_make_the_patches_asked_for(width: int, last_power: int, halvings: int) -> None:
    patch = 2 ** (last_power + halvings)
    stem = named_stem(f"s{last_power}", own=PATCHIFY, width=width, patch_size=patch)
    assert stem.reduction == patch
    assert stem.kernels == (3, 3, 3, 2**last_power)
    assert all(after == 2 * before for before, after in zip(stem.channels, stem.channels[1:], strict=False))


@given(st.integers(1, 9), st.integers(1, 32), st.integers(1, 8))
def test_the_padding_divides_the_side_by_the_stride(stride: int, kernel: int, tokens: int) -> None:
    if kernel < stride or (stride == 1 and kernel % 2 == 0):
        with pytest.raises(ValueError, match=r"skips pixels|cannot keep the size"):
            StemSpec(channels=(1,), strides=(stride,), kernels=(kernel,))
        return
    StemSpec(channels=(1,), strides=(stride,), kernels=(kernel,))
    conv = nn.Conv2d(1, 1, kernel, stride, padding(kernel, stride), device="meta")
    side = tokens * stride
    if side + 2 * padding(kernel, stride) >= kernel:
        assert conv(torch.empty(1, 1, side, side, device="meta")).shape[-1] == tokens


def test_the_padding_of_the_paper() -> None:
    assert [padding(3, stride) for stride in (1, 2)] == [1, 1]
    assert [padding(size, size) for size in (1, 2, 4, 8, 16)] == [0] * 5


def test_a_stem_described_in_yaml() -> None:
    text = """
    channels: [24, 48]
    strides: [2, 4]
    kernels: [3, 4]
    norm:
    activation: gelu
    """
    spec = StemSpec.from_config(yaml.safe_load(text))
    assert spec == StemSpec(channels=(24, 48), strides=(2, 4), kernels=(3, 4), norm="none", activation="gelu")
    stem = stem_of(yaml.safe_load(text), "vit_p_tiny", image_size=64)
    assert [type(module) for module in stem.convs] == [nn.Conv2d, nn.GELU, nn.Conv2d, nn.GELU]
    assert all(conv.bias is not None for conv in stem.convs if isinstance(conv, nn.Conv2d))
    assert stem(torch.zeros(2, 3, 64, 64)).shape == (2, 64, 96)


def test_a_described_stem_has_the_papers_kernels_norm_and_activation_unless_told() -> None:
    assert StemSpec.from_config({"channels": [8, 8], "strides": [2, 4], "kernels": 5}).kernels == (5, 5)
    described = stem_of({"channels": [48, 96, 192, 384], "strides": [2, 2, 2, 2]})
    own = stem_of("conv")
    assert str(described) == str(own)
    assert all(torch.equal(a, b) for a, b in zip(described.parameters(), own.parameters(), strict=True))


def test_a_stem_may_come_with_another_patch_size() -> None:
    stem = stem_of({"channels": [8], "strides": [4], "kernels": [4]}, "vit_p_micro", patch_size=4)
    assert stem.grid_size == (8, 8)
    assert stem_of("s3", "vit_p_4gf", patch_size=32, width=192, heads=3).convs[0].out_channels == 8


CONV = {"channels": [8, 16], "strides": [4, 4], "kernels": [4, 4]}


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ({**CONV, "strides": [4, 2]}, r"stem: strides (4, 2) multiply to 8, expected patch_size = 16; change one"),
        ({**CONV, "strides": [16]}, "stem: 1 strides for 2 channels; give one for each convolution"),
        ({**CONV, "kernels": [4]}, "stem: 1 kernels for 2 channels"),
        ({**CONV, "kernels": 3}, "stem: a kernel of 3 with a stride of 4 skips pixels; make it 4 or more"),
        ({"channels": [8], "strides": [1], "kernels": [4]}, "stem: a kernel of 4 with a stride of 1 cannot keep"),
        ({**CONV, "channels": [8, 0]}, "stem: channels holds 0; give positive whole numbers"),
        ({**CONV, "channels": [8, True]}, "stem: channels holds True"),
        ({**CONV, "strides": ["four", 4]}, "stem: strides holds 'four'"),
        ({**CONV, "norm": "group"}, "stem: norm is 'group'; choose one of batch, layer, none"),
        ({**CONV, "activation": ["relu"]}, "stem: activation is ['relu']; choose one of relu, gelu, none"),
        ({"strides": [16]}, "stem: channels is missing; give a list"),
        ({"channels": [8]}, "stem: strides is missing; give a list"),
        ({"channels": [], "strides": []}, "stem: channels is missing"),
        (16, "stem: got 16; give the name of a stem, or a mapping"),
        (None, "stem: got None; give the name of a stem, or a mapping"),
    ],
)
def test_a_stem_that_cannot_be_is_refused_in_one_sentence(stem: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        stem_of(stem)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("s5", "unknown stem 's5'.*known: conv, conv_ln, patchify"),
        ({**CONV, "stride": 1}, "unknown key of a stem 'stride'; did you mean 'strides'"),
    ],
)
def test_unknown_names_of_stems_and_keys(stem: Any, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        stem_of(stem)


def test_an_ablation_stem_that_cannot_make_the_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="stem 's4': cannot make patches of 8 px, only of 16, 32, 64, 128 px; choose"):
        stem_of("s4", "vit_c_micro")
    with pytest.raises(ValueError, match="stem 's1': cannot make patches of 6 px"):
        stem_of("s1", "vit_p_micro", patch_size=6, image_size=36)


def test_a_spec_is_a_value() -> None:
    spec = StemSpec(channels=(8,), strides=(2,), kernels=(3,))
    assert replace(spec, norm="layer") != spec
    assert StemSpec.conv3x3((8,), (2,)) == spec
    assert len({spec, StemSpec.conv3x3((8,), (2,))}) == 1
