"""Stochastic depth of the built-in vision transformers, beside timm's."""

from functools import partial
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from trainables import create_model
from trainables.models.cost import named_model_cost
from trainables.models.create import check_model


def micro(name: str = "vit_p_micro", **options: Any) -> Any:
    torch.manual_seed(0)
    model = create_model(name, num_classes=10, image_size=32, in_channels=1, **options)
    torch.manual_seed(1)
    nn.init.normal_(model.head.weight)  # type: ignore[arg-type, union-attr]
    return model


def images(count: int = 16) -> torch.Tensor:
    return torch.randn(count, 1, 32, 32, generator=torch.Generator().manual_seed(2))


def test_training_draws_and_computes_what_timms_transformer_does() -> None:
    ours = micro(drop_path=0.6).train()
    theirs = VisionTransformer(
        img_size=32,
        patch_size=8,
        in_chans=1,
        num_classes=10,
        embed_dim=32,
        depth=3,
        num_heads=2,
        mlp_ratio=3,
        drop_path_rate=0.6,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    ).train()
    theirs.load_state_dict(ours.state_dict())
    outputs = []
    for model in (ours, theirs, ours):
        torch.manual_seed(5)
        outputs.append(model(images()))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], ours(images()))


@pytest.mark.parametrize(("blocks", "rates"), [(1, [0.0]), (2, [0.0, 0.3]), (4, [0.0, 0.1, 0.2, 0.3])])
def test_the_rate_rises_linearly_over_the_blocks(blocks: int, rates: list[float]) -> None:
    model = micro(drop_path=0.3, blocks=blocks)
    for block, rate in zip(model.blocks, rates, strict=True):
        for layer in (block.drop_path1, block.drop_path2):
            assert getattr(layer, "drop_prob", 0.0) == pytest.approx(rate)


@pytest.mark.parametrize("name", ["vit_p_micro", "vit_c_micro"])
def test_an_evaluation_drops_nothing(name: str) -> None:
    deep, plain = micro(name, drop_path=0.9).eval(), micro(name).eval()
    assert torch.equal(deep(images()), plain(images()))


def test_without_it_nothing_changes_not_even_a_draw() -> None:
    states = []
    for options in ({}, {"drop_path": 0.0}, {"drop_path": 0}):
        model = micro(**options).train()
        logits = model(images())
        states.append((logits, torch.get_rng_state(), *model.state_dict().values()))
    for other in states[1:]:
        assert all(torch.equal(first, second) for first, second in zip(states[0], other, strict=True))
    costs = [
        named_model_cost("vit_c_micro", num_classes=10, image_size=32, overrides={"drop_path": rate})
        for rate in (0.0, 0.5)
    ]
    assert costs[0] == costs[1] == named_model_cost("vit_c_micro", num_classes=10, image_size=32)


def test_a_rate_of_almost_one_leaves_the_last_block_out() -> None:
    deep, shallow = micro(blocks=2, drop_path=1 - 1e-9), micro(blocks=1)
    shallow.load_state_dict({key: value for key, value in deep.state_dict().items() if "blocks.1." not in key})
    assert torch.equal(deep.train()(images()), shallow.train()(images()))
    assert not torch.equal(deep.eval()(images()), shallow.eval()(images()))


def test_a_kept_branch_is_divided_by_the_probability_of_keeping_it() -> None:
    layer = micro(drop_path=0.5, blocks=2).blocks[1].drop_path2.train()
    torch.manual_seed(3)
    branches = layer(torch.ones(400, 17, 32)).flatten(1)
    assert set(branches.unique().tolist()) == {0.0, 2.0}
    assert (branches == branches[:, :1]).all()  # an image's branch is kept or left out as a whole
    left_out = int((branches[:, 0] == 0).sum())
    assert abs(left_out - 200) < 4 * 10  # four standard deviations of Binomial(400, 1/2)


@pytest.mark.parametrize("rate", [1.0, -0.1, True, "0.1", float("nan"), None])
def test_what_is_no_probability_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match=r"drop_path: got .*; it is a probability, give a number from 0 to below 1"):
        micro(drop_path=rate)


def test_the_check_before_a_study_builds_it() -> None:
    check_model("vit_c_tiny", num_classes=10, image_size=64, in_channels=3, overrides={"drop_path": 0.1})
