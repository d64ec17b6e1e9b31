import math
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainables import VIT_SPECS, UnknownName, create_model
from trainables.models.cost import ModelCost, model_cost, named_model_cost
from trainables.models.published import RESOLUTION, difference_percent, published_models
from trainables.models.stem_specs import STEM_NAMES

DOCUMENT = Path(__file__).parents[3] / "docs" / "models.md"
FLOPS_LIMIT_PERCENT = 1.0
ACTIVATIONS_LIMIT_PERCENT = 3.0


@pytest.mark.parametrize("name", published_models())
def test_costs_are_the_papers(name: str) -> None:
    published = published_models()[name]
    cost = named_model_cost(name, num_classes=1000, image_size=published.image_size)
    assert difference_percent(cost.parameters / 1e6, published.parameters_m) == 0
    assert abs(difference_percent(cost.flops / 1e9, published.flops_g)) < FLOPS_LIMIT_PERCENT
    assert abs(difference_percent(cost.activations / 1e6, published.activations_m)) < ACTIVATIONS_LIMIT_PERCENT
    cells = documented_rows()[name]
    assert cells[:3] == [str(published.image_size), f"{cost.parameters:,}", str(published.parameters_m)]
    for counted, figure, shown in (
        (cost.flops / 1e9, published.flops_g, cells[3:6]),
        (cost.activations / 1e6, published.activations_m, cells[6:9]),
    ):
        difference = difference_percent(counted, figure)
        assert shown == [f"{counted:.3f}", str(figure), f"{difference:+.2f} %" if difference else "0"]


def documented_rows() -> dict[str, list[str]]:
    """The table of counts in docs/models.md: the cells behind each model's name."""
    _, table = DOCUMENT.read_text(encoding="utf-8").split("## Counts beside the published figures")
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines() if "| `" in line]
    return {row[0]: row[1:] for row in rows if len(row) == 10}


def test_every_published_model_is_documented() -> None:
    assert set(documented_rows()) == set(published_models())
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"`{stem}`" in text for stem in STEM_NAMES)


@pytest.mark.parametrize("name", ["regnety_4gf", "efficientnet_b2"])
def test_cnns_at_224_px_are_not_what_the_paper_counted(name: str) -> None:
    """The image sizes that the published figures belong to are told by the figures."""
    published = published_models()[name]
    cost = named_model_cost(name, num_classes=1000, image_size=224)
    assert abs(difference_percent(cost.flops / 1e9, published.flops_g)) > 10
    assert abs(difference_percent(cost.activations / 1e6, published.activations_m)) > 10


def test_published_figures() -> None:
    models = published_models()
    assert len(models) == 19
    # Independent of the file: the paper's Table 2.
    assert models["vit_c_4gf"].error_percent["400 epochs"] == 18.6
    assert models["vit_p_36gf"].error_percent["imagenet-21k"] == 15.1
    assert models["regnety_1gf"].error_percent["imagenet-21k"] is None
    assert (models["resnet200"].batch_size, models["resnet200"].minutes_per_epoch) == (1024, 10.7)
    for model in models.values():
        for figure in (model.parameters_m, model.flops_g, model.activations_m):
            assert figure == round(figure, 1) > 0


@given(st.floats(0.1, 200), st.floats(-0.049, 0.049))
def test_a_count_within_the_rounding_does_not_differ(published: float, offset: float) -> None:
    published = round(published, 1)
    assert difference_percent(published + offset, published) == 0


@given(st.floats(0.1, 200), st.floats(0.001, 10))
def test_a_count_beyond_the_rounding_differs_by_what_is_beyond(published: float, beyond: float) -> None:
    for sign in (1, -1):
        counted = published + sign * (RESOLUTION / 2 + beyond)
        assert difference_percent(counted, published) == pytest.approx(sign * 100 * beyond / published, rel=1e-6)


def vit_closed_form(name: str, classes: int, size: int, channels: int) -> ModelCost:
    """A patchify transformer by hand: n tokens of width d, h heads, an MLP m times as wide."""
    spec = VIT_SPECS[name]
    patches = (size // spec.patch_size) ** 2
    n, d, h, hidden = patches + 1, spec.width, spec.heads, int(spec.width * spec.mlp_ratio)
    pixels = channels * spec.patch_size**2
    block = {
        "parameters": 4 * d * d + 4 * d + 2 * d * hidden + hidden + d + 4 * d,
        "flops": n * (4 * d * d + 2 * d * hidden) + 2 * n * n * d,
        "activations": n * (3 * d + d + d + hidden + d) + h * n * n,
    }
    return ModelCost(
        parameters=(pixels + 1) * d + d + n * d + spec.blocks * block["parameters"] + 2 * d + (d + 1) * classes,
        flops=patches * pixels * d + spec.blocks * block["flops"] + d * classes,
        activations=patches * d + spec.blocks * block["activations"] + classes,
    )


@pytest.mark.parametrize(("name", "size"), [("vit_p_micro", 32), ("vit_p_tiny", 64), ("vit_p_4gf", 224)])
def test_a_transformer_costs_what_it_does_by_hand(name: str, size: int) -> None:
    assert named_model_cost(name, num_classes=17, image_size=size) == vit_closed_form(name, 17, size, 3)


def test_attention_counts_alike_however_it_is_written() -> None:
    """torchvision's transformer calls torch's own attention module, which may take a fused path of its own."""
    torchvision: Any = import_module("torchvision.models.vision_transformer")

    theirs = torchvision.VisionTransformer(
        image_size=224, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=576, num_classes=1000
    )
    assert model_cost(theirs, image_size=224) == vit_closed_form("vit_p_1gf", 1000, 224, 3)


@given(
    groups=st.sampled_from([1, 2, 4]),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    side=st.integers(8, 20),
    bias=st.booleans(),
)
def test_a_convolution_by_hand(groups: int, kernel: int, stride: int, side: int, bias: bool) -> None:
    conv = nn.Conv2d(4, 8, kernel, stride, kernel // 2, groups=groups, bias=bias)
    outputs = math.ceil(side / stride) ** 2 * 8
    cost = model_cost(conv, image_size=side, in_channels=4)
    assert cost == ModelCost(
        parameters=8 * 4 // groups * kernel**2 + 8 * bias,
        flops=outputs * 4 // groups * kernel**2,
        activations=outputs,
    )


class Products(nn.Module):
    """Every way to write the same product of (6, 9) and (9, 5)."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.linear = nn.Linear(9, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        left = images.flatten()[:54].view(6, 9)
        right = images.flatten()[:45].view(9, 5)
        ways: dict[str, Any] = {
            "linear": lambda: self.linear(left),
            "linear of a batch": lambda: self.linear(left.view(2, 3, 9)),
            "matmul": lambda: left @ right,
            "einsum": lambda: torch.einsum("ik,kj->ij", left, right),
            "bmm": lambda: torch.bmm(left[None], right[None]),
        }
        output: torch.Tensor = ways[self.way]()
        return output


@pytest.mark.parametrize("way", ["linear", "linear of a batch", "matmul", "einsum", "bmm"])
def test_a_matrix_product_however_it_is_written(way: str) -> None:
    cost = model_cost(Products(way), image_size=8, in_channels=1)
    assert (cost.flops, cost.activations) == (6 * 9 * 5, 6 * 5)


def test_norms_activations_and_pooling_are_free() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert model_cost(model, image_size=8) == ModelCost(parameters=6, flops=0, activations=0)


def test_only_trainable_parameters_count() -> None:
    model = nn.Conv2d(3, 2, 1)
    assert model.bias is not None
    model.bias.requires_grad_(False)
    assert model_cost(model, image_size=4).parameters == 6


def test_counting_leaves_the_model_as_it_is() -> None:
    model = create_model("vit_c_micro", num_classes=3, image_size=16)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first = model_cost(model, image_size=16)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert (
        model_cost(model.eval(), image_size=16)
        == first
        == named_model_cost("vit_c_micro", num_classes=3, image_size=16)
    )
    assert not model.training


def test_overrides_and_unknown_names() -> None:
    short = named_model_cost("vit_p_micro", num_classes=3, image_size=16, in_channels=1, overrides={"blocks": 1})
    longer = named_model_cost("vit_p_micro", num_classes=3, image_size=16, in_channels=1, overrides={"blocks": 2})
    assert longer.parameters - short.parameters == 10 * 32 * 32 + 4 * 32 + 96 + 32 + 4 * 32
    with pytest.raises(UnknownName):
        named_model_cost("vit_p_macro", num_classes=3, image_size=16)
