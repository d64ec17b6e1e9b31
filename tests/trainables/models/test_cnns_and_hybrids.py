from typing import Any

import pytest
import timm
import torch
from timm.layers.drop import DropPath
from timm.models.regnet import RegNet, RegNetCfg
from torch import nn

from trainables import UnknownName, create_model, model_names
from trainables.models.create import check_model

HYBRIDS = {
    "hybrid_tiny_r_s16_p8": "vit_tiny_r_s16_p8_224",
    "hybrid_small_r26_s32": "vit_small_r26_s32_224",
    "hybrid_base_r50_s16": "vit_base_r50_s16_224",
}


def seeded(name: str, **options: Any) -> Any:
    torch.manual_seed(3)
    return create_model(name, **{"num_classes": 10, "image_size": 64, **options})


def assert_same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    assert all(torch.equal(mine[key], other[key]) for key in mine)


@pytest.mark.parametrize("name", model_names())
def test_every_built_in_model_gives_logits(name: str) -> None:
    check_model(name, num_classes=7, image_size=64, in_channels=1)


@pytest.mark.parametrize(
    ("name", "image_size"),
    [("resnet50", 32), ("regnety_1gf", 40), ("efficientnet_b2", 48), ("hybrid_tiny_r_s16_p8", 32), ("vit_c_tiny", 64)],
)
def test_a_training_step_reaches_every_weight(name: str, image_size: int) -> None:
    model = seeded(name, image_size=image_size, num_classes=5)
    nn.init.normal_(list(model.parameters())[-2])  # a head of zeros would pass nothing back
    logits = model(torch.randn(3, 3, image_size, image_size))
    assert logits.shape == (3, 5)
    torch.autograd.backward(nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])))
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b2"])
def test_cnns_are_timms(name: str) -> None:
    ours = seeded(name, in_channels=1)
    torch.manual_seed(3)
    assert_same_weights(ours, timm.create_model(name, num_classes=10, in_chans=1))


@pytest.mark.parametrize(
    ("name", "image_size"), [("hybrid_tiny_r_s16_p8", 64), ("hybrid_tiny_r_s16_p8", 96), ("hybrid_small_r26_s32", 48)]
)
def test_hybrids_are_timms_at_any_size(name: str, image_size: int) -> None:
    ours = seeded(name, image_size=image_size)
    torch.manual_seed(3)
    theirs = timm.create_model(HYBRIDS[name], num_classes=10, img_size=image_size)
    assert_same_weights(ours, theirs)
    images = torch.randn(2, 3, image_size, image_size)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize("name", HYBRIDS)
def test_the_hybrids_counts_are_timms(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = (
            seeded(name, num_classes=1000, image_size=224),
            timm.create_model(HYBRIDS[name], num_classes=1000),
        )
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


def test_a_hybrid_takes_the_sizes_of_its_backbone_only() -> None:
    check_model("hybrid_base_r50_s16", num_classes=3, image_size=100, in_channels=3)
    message = "model 'hybrid_tiny_r_s16_p8' cannot be built for images of 100 px with 3 channels .*choose another image"
    with pytest.raises(ValueError, match=message) as caught:
        seeded("hybrid_tiny_r_s16_p8", image_size=100)
    assert "\n" not in str(caught.value)


def test_regnety_4gf_is_the_one_that_its_line_of_widths_generates() -> None:
    """arXiv:2003.13678: 26 blocks, w0 88, wa 30.3, wm 2.404, group width 32, as the paper's public code gives them."""
    ours = seeded("regnety_4gf")
    torch.manual_seed(3)
    line = RegNetCfg(depth=26, w0=88, wa=30.3, wm=2.404, group_size=32, se_ratio=0.25)
    theirs = RegNet(line, num_classes=10)
    assert_same_weights(ours, theirs)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), theirs.eval()(images))


def test_stages_and_groups_of_a_regnety() -> None:
    with torch.device("meta"):
        model = seeded("regnety_1gf")
    stages = [list(stage.children()) for stage in (model.s1, model.s2, model.s3, model.s4)]
    assert [len(stage) for stage in stages] == [1, 4, 10, 3]
    assert [stage[-1].conv3.conv.out_channels for stage in stages] == [40, 120, 328, 904]
    convs = [block.conv2.conv for stage in stages for block in stage]
    assert {conv.in_channels // conv.groups for conv in convs} == {4}
    # Squeeze-and-excitation is a quarter of what enters the block.
    assert stages[1][0].se.fc1.out_channels == 40 // 4


@pytest.mark.parametrize("name", ["resnet50", "regnety_1gf", "efficientnet_b4", "hybrid_tiny_r_s16_p8"])
def test_no_dropout_and_no_stochastic_depth_unless_asked(name: str) -> None:
    with torch.device("meta"):
        plain, dropping = seeded(name), seeded(name, drop_path_rate=0.2)
    assert max((dropout_rate(module) for module in plain.modules()), default=0) == 0
    assert getattr(plain, "drop_rate", 0) == 0
    assert max(dropout_rate(module) for module in dropping.modules()) == pytest.approx(0.2, rel=0.2)


def dropout_rate(module: nn.Module) -> float:
    if isinstance(module, DropPath):
        return float(module.drop_prob or 0.0)
    return module.p if isinstance(module, nn.Dropout) else 0.0


def test_stochastic_depth_of_a_regnety_grows_with_depth() -> None:
    with torch.device("meta"):
        model = seeded("regnety_1gf", drop_path_rate=0.17, drop_rate=0.3)
    rates = [module.drop_prob for module in model.modules() if isinstance(module, DropPath)]
    # The first of the 18 blocks has none, and so no such module.
    assert rates == pytest.approx([0.01 * block for block in range(1, 18)])
    assert model.head.drop.p == 0.3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("regnety_1gf", {"group_width": 3}, "group_width: 3 does not divide the width 40 of a stage"),
        ("regnety_1gf", {"depths": [1, 2, 3]}, r"depths: got \[1, 2, 3\]; give 4 numbers"),
        ("regnety_1gf", {"widths": [8, 8, 8, 8.0]}, "got 8.0; give whole numbers above 0"),
        ("resnet50", {"pretrained": True}, "option of model 'resnet50': pretrained cannot be set"),
        ("timm:resnet18", {"checkpoint_path": "x.pth"}, "checkpoint_path cannot be set"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seeded(name, **options)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("regnety_4gf", "depth", "unknown option of model 'regnety_4gf' 'depth'; did you mean 'depths'"),
        ("resnet50", "stem", "unknown option of model 'resnet50' 'stem'"),
        ("hybrid_tiny_r_s16_p8", "stemm", "unknown option of model 'hybrid_tiny_r_s16_p8' 'stemm'"),
    ],
)
def test_options_that_nothing_has(name: str, option: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        seeded(name, **{option: 1})


def test_regnety_sizes_can_be_overridden() -> None:
    model = seeded("regnety_1gf", depths=[1, 1, 1, 1], widths=[8, 8, 16, 16], image_size=32)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert len(list(model.s3.children())) == 1
