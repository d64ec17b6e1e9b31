import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from trainables import VIT_SPECS, VitSpec, create_model
from trainables.models.cost import named_model_cost
from trainables.models.stem_specs import PATCHIFY

# arXiv:2106.14881v3, Table 1; exact counts (1000 classes, 224 px) as two public implementations give them.
PUBLISHED_PARAMETERS = {
    "vit_p_1gf": 4830376,
    "vit_p_4gf": 18507112,
    "vit_p_18gf": 86567656,
    "vit_p_36gf": 178364392,
    "vit_c_1gf": 4567936,
    "vit_c_4gf": 17754136,
    "vit_c_18gf": 81573160,
    "vit_c_36gf": 167796008,
}
MICRO = ("vit_p_micro", "vit_c_micro")


def micro(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return create_model(name, **{"num_classes": 10, "image_size": 32, "in_channels": 1, **changes})


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_parameter_counts_are_the_papers(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=1000, image_size=224)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED_PARAMETERS[name]


def test_every_size_pairs_a_patchify_model_with_a_conv_model_of_one_block_fewer() -> None:
    for name, spec in VIT_SPECS.items():
        if name.startswith("vit_p"):
            other = VIT_SPECS[name.replace("vit_p", "vit_c")]
            assert not spec.stem.channels
            assert replace(other, blocks=other.blocks + 1, stem=PATCHIFY) == spec


@pytest.mark.parametrize("name", MICRO)
def test_micro_models_have_a_4_by_4_grid_and_a_class_token(name: str) -> None:
    model = micro(name)
    assert model.patch_embed.grid_size == (4, 4)
    assert model.patch_embed(torch.zeros(2, 1, 32, 32)).shape == (2, 16, 32)
    assert model.pos_embed.shape == (1, 17, 32)
    assert model.cls_token.shape == (1, 1, 32)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 10)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * len(model.blocks) + 1
    assert {norm.eps for norm in norms} == {1e-6}
    assert all(module.p == 0 for module in model.modules() if isinstance(module, nn.Dropout))


def test_the_tiny_size_follows_the_papers_rules() -> None:
    """3x3 convolutions of stride 2 that double the channels up to the width, and one block's work for the stem."""
    patchify, conv = VIT_SPECS["vit_p_tiny"], VIT_SPECS["vit_c_tiny"]
    assert conv.stem.channels == tuple(conv.width // 2**power for power in (2, 1, 0))
    assert (set(conv.stem.kernels), set(conv.stem.strides)) == ({3}, {2})
    flops = {
        (name, blocks): named_model_cost(name, num_classes=10, image_size=64, overrides={"blocks": blocks}).flops
        for name, blocks in (("vit_p_tiny", 1), ("vit_p_tiny", 2), ("vit_c_tiny", 1))
    }
    block = flops["vit_p_tiny", 2] - flops["vit_p_tiny", 1]
    # In the paper's own models this ratio lies between 0.68 and 1.36.
    assert 0.68 < (flops["vit_c_tiny", 1] - flops["vit_p_tiny", 1]) / block < 1.36
    assert patchify.width / patchify.heads == 32


def test_the_conv_stem_layer_by_layer() -> None:
    stem = micro("vit_c_micro").patch_embed
    layers = list(stem.convs)
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convs] == [(1, 8), (8, 16), (16, 32)]
    assert {(c.kernel_size, c.stride, c.padding, c.bias) for c in convs} == {((3, 3), (2, 2), (1, 1), None)}
    assert {(n.eps, n.momentum) for n in layers if isinstance(n, nn.BatchNorm2d)} == {(1e-5, 0.1)}
    assert (stem.proj.kernel_size, stem.proj.stride, stem.proj.bias is not None) == ((1, 1), (1, 1), True)
    assert list(dict(stem.named_children())) == ["convs", "proj"]


def test_the_patchify_stem_is_one_convolution_with_bias() -> None:
    stem = micro("vit_p_micro").patch_embed
    assert [type(module) for module in stem.modules() if not list(module.children())] == [nn.Conv2d, nn.Sequential]
    assert (stem.proj.kernel_size, stem.proj.stride, stem.proj.padding) == ((8, 8), (8, 8), (0, 0))
    assert stem.proj.bias is not None


def test_tokens_are_row_major_and_the_class_token_comes_first() -> None:
    model = micro("vit_p_micro")
    images = torch.zeros(1, 1, 32, 32)
    images[0, 0, 8:16, 24:32] = 1.0  # grid row 1, column 3
    changed = (model.patch_embed(images) - model.patch_embed(torch.zeros(1, 1, 32, 32))).abs().sum(-1)[0]
    assert torch.nonzero(changed).flatten().tolist() == [7]
    embedded = model._pos_embed(model.patch_embed(images))
    assert torch.equal(embedded[:, 0], model.cls_token[:, 0] + model.pos_embed[:, 0])
    assert torch.equal(embedded[:, 1:], model.patch_embed(images) + model.pos_embed[:, 1:])


def test_initial_weights() -> None:
    model = micro("vit_c_1gf", image_size=224, in_channels=3, blocks=1)
    for zero in (model.head.weight, model.head.bias, model.cls_token, model.blocks[0].attn.qkv.bias):
        assert not zero.any()
    bound = math.sqrt(6 / (192 + 3 * 192))
    assert 0.99 * bound < model.blocks[0].attn.qkv.weight.abs().max() <= bound
    bound = math.sqrt(6 / (192 + 576))
    assert 0.99 * bound < model.blocks[0].mlp.fc1.weight.abs().max() <= bound
    assert 0 < model.blocks[0].mlp.fc1.bias.abs().max() < 1e-5
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.03)
    assert model.patch_embed.proj.weight.std().item() == pytest.approx(math.sqrt(2 / 192), rel=0.03)
    patchify = micro("vit_p_1gf", image_size=224, in_channels=3, blocks=1).patch_embed.proj
    # A normal of this std, truncated at +-2 (far out), is the normal itself.
    assert patchify.weight.std().item() == pytest.approx(math.sqrt(1 / (3 * 16 * 16)), rel=0.03)
    assert not patchify.bias.any()


def test_initial_weights_come_from_the_global_generator() -> None:
    first, second = micro("vit_c_micro").state_dict(), micro("vit_c_micro").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def _to_torchvision(name: str) -> str:
    """timm's parameter name to torchvision's, for the parts outside the stem."""
    for old, new in (
        ("cls_token", "class_token"),
        ("pos_embed", "encoder.pos_embedding"),
        ("blocks.", "encoder.layers.encoder_layer_"),
        ("norm1", "ln_1"),
        ("norm2", "ln_2"),
        ("attn.qkv.", "self_attention.in_proj_"),
        ("attn.proj.", "self_attention.out_proj."),
        ("mlp.fc1", "mlp.0"),
        ("mlp.fc2", "mlp.3"),
        ("head.", "heads.head."),
    ):
        name = name.replace(old, new)
    return name.replace("norm.", "encoder.ln.") if name.startswith("norm.") else name


def _stem_to_torchvision(name: str) -> str:
    name = name.removeprefix("patch_embed.")
    if name.startswith("convs."):
        _, index, rest = name.split(".", 2)
        return f"conv_proj.conv_bn_relu_{int(index) // 3}.{int(index) % 3}.{rest}"
    return name.replace("proj.", "conv_proj.conv_last.")


def torchvisions_twin(ours: Any, spec: VitSpec, image_size: int) -> tuple[Any, dict[str, str]]:
    """torchvision's transformer of this shape with the weights of ours, and its name of each of our tensors."""
    torchvision: Any = import_module("torchvision.models.vision_transformer")

    stem = [
        torchvision.ConvStemConfig(out_channels=channels, kernel_size=3, stride=stride)
        for channels, stride in zip(spec.stem.channels, spec.stem.strides, strict=True)
    ]
    theirs = torchvision.VisionTransformer(
        image_size=image_size,
        patch_size=spec.patch_size,
        num_layers=spec.blocks,
        num_heads=spec.heads,
        hidden_dim=spec.width,
        mlp_dim=int(spec.width * spec.mlp_ratio),
        num_classes=ours.head.out_features,
        conv_stem_configs=stem or None,
    )
    rename = {
        key: _stem_to_torchvision(key) if key.startswith("patch_embed") else _to_torchvision(key)
        for key in ours.state_dict()
    }
    if not stem:
        rename = {key: new.replace(".conv_last", "") for key, new in rename.items()}
    theirs.load_state_dict({rename[key]: value for key, value in ours.state_dict().items()})
    return theirs, rename


def random_images(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MICRO)
def test_logits_and_gradients_equal_torchvisions(name: str) -> None:
    ours = micro(name, in_channels=3)
    nn.init.normal_(ours.head.weight)
    nn.init.normal_(ours.cls_token)
    theirs, rename = torchvisions_twin(ours, VIT_SPECS[name], 32)
    images = random_images(4, 32)
    for model in (ours, theirs):
        model.train()
        model(images).square().sum().backward()
        model.eval()
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)
    gradients = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[rename[key]], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("image_size", [64, 224])
@pytest.mark.parametrize("name", ["vit_p_1gf", "vit_c_1gf"])
@torch.no_grad()
def test_logits_of_the_papers_models_equal_torchvisions(name: str, image_size: int) -> None:
    ours = micro(name, in_channels=3, image_size=image_size, num_classes=100)
    nn.init.normal_(ours.head.weight, std=0.1)
    images = random_images(2, image_size)
    ours.train()(images)  # so that batch norm has statistics of its own
    ours.eval()
    theirs, _ = torchvisions_twin(ours, VIT_SPECS[name], image_size)
    logits = ours(images)
    assert logits.std() > 0.5
    torch.testing.assert_close(logits, theirs.eval()(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30}, "30 px is not a multiple of the patch size 8 px"),
        ({"heads": 5}, "heads: 5 does not divide the width 32"),
        ({"patch_size": 4}, r"\(2, 2, 2\) multiply to 8, expected patch_size = 4"),
        ({"blocks": 0}, "blocks: got 0; it must be positive, give a whole number"),
        ({"width": "wide"}, "width: got 'wide'"),
        ({"heads": 2.0}, "heads: got 2.0"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio: got nan"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        micro("vit_c_micro", **changes)


def test_overrides_change_the_shape() -> None:
    model = micro("vit_p_micro", image_size=48, blocks=1, width=24, patch_size=16)
    assert (len(model.blocks), model.pos_embed.shape) == (1, (1, 10, 24))
    assert VitSpec(width=24, heads=3, blocks=1, mlp_ratio=3).patch_size == 16
