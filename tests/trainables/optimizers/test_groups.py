import re
from importlib import import_module
from typing import Any

import pytest
import timm
import torch
from torch import nn

from trainables import create_model, create_optimizer
from trainables.optimizers import weight_decay_groups


def group_names(model: nn.Module, decay_embeddings: bool = True) -> tuple[set[str], set[str]]:
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    decayed, plain = weight_decay_groups(model, decay_embeddings)
    assert len(decayed) + len(plain) == len(names)
    return {names[id(parameter)] for parameter in decayed}, {names[id(parameter)] for parameter in plain}


@pytest.mark.parametrize("name", ["vit_p_micro", "vit_c_micro"])
def test_norms_and_biases_are_not_decayed_and_the_embeddings_are(name: str) -> None:
    model = create_model(name, num_classes=10, image_size=32, in_channels=1)
    decayed, plain = group_names(model)
    assert {"cls_token", "pos_embed", "head.weight", "patch_embed.proj.weight"} <= decayed
    # The paper's own rule, by words in the name; the stem's batch norms are its layers 1, 4 and 7.
    by_name = {key for key, _ in model.named_parameters() if "norm" in key or "bias" in key}
    stem_norms = {f"patch_embed.convs.{at}.{part}" for at in (1, 4, 7) for part in ("weight", "bias")}
    assert plain == by_name | (stem_norms if "_c_" in name else set())


@pytest.mark.parametrize("name", ["resnet18", "regnety_002", "regnetx_002", "vit_tiny_patch16_224"])
def test_groups_of_timms_models_follow_the_public_codes_words(name: str) -> None:
    model = timm.create_model(name, num_classes=10)
    # timm calls the norm of a ResNet's shortcut downsample.1, where the public code's name has bn in it.
    words = re.compile(r"bn|norm|bias|downsample\.1\.")
    _, plain = group_names(model)
    assert plain == {key for key, _ in model.named_parameters() if words.search(key)}


def test_without_decay_of_embeddings_the_groups_are_timms() -> None:
    timm_optim: Any = import_module("timm.optim")
    model = create_model("vit_c_micro", num_classes=10, image_size=32, in_channels=1)
    _, plain = group_names(model, decay_embeddings=False)
    theirs = timm_optim.param_groups_weight_decay(model, 0.1, no_weight_decay_list={"cls_token", "pos_embed"})
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    assert plain == {names[id(parameter)] for parameter in theirs[0]["params"]}
    assert plain - group_names(model)[1] == {"cls_token", "pos_embed"}


def test_a_models_own_list_is_honoured_wherever_it_sits() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(3))
            self.scales = nn.ParameterList([torch.zeros(1), torch.zeros(1)])
            self.weight = nn.Parameter(torch.zeros(3))

        def no_weight_decay(self) -> set[str]:
            return {"table", "scales.*"}

    model = nn.ModuleDict({"inner": Own(), "class_token": nn.Linear(2, 2, bias=False)})
    assert group_names(model)[1] == set()
    assert group_names(model, decay_embeddings=False)[1] == {"inner.table", "inner.scales.0", "inner.scales.1"}


def test_torchvisions_names_of_the_embeddings_are_known() -> None:
    models = pytest.importorskip("torchvision.models.vision_transformer")
    model = models.VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=3)
    assert group_names(model, decay_embeddings=False)[1] - group_names(model)[1] == {
        "class_token",
        "encoder.pos_embedding",
    }


@pytest.mark.parametrize("name", ["sgd", "torch:RMSprop", "timm:lion"])
@pytest.mark.parametrize("decay_embeddings", [True, False])
def test_groups_carry_the_decay(name: str, decay_embeddings: bool) -> None:
    model = create_model("vit_c_micro", num_classes=10, image_size=32, in_channels=1)
    values = {"lr": 0.1, "weight_decay": 0.3}
    optimizer = create_optimizer(name, model, values, decay_embeddings=decay_embeddings)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    embedding = id(model.get_parameter("pos_embed"))
    assert (embedding in map(id, optimizer.param_groups[0]["params"])) is decay_embeddings


def test_groups_of_a_users_model() -> None:
    class RmsNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

    tied = nn.Linear(3, 3)
    model = nn.ModuleList([tied, RmsNorm(), nn.SyncBatchNorm(3), nn.ModuleList([tied]), nn.Linear(3, 1, bias=False)])
    frozen = model[4]
    assert isinstance(frozen, nn.Linear)
    frozen.weight.requires_grad_(False)
    decayed, plain = weight_decay_groups(model)
    assert [id(parameter) for parameter in decayed] == [id(tied.weight)]
    assert len(plain) == 4


def test_a_bias_is_one_under_any_name_that_ends_so() -> None:
    _, plain = group_names(nn.MultiheadAttention(4, 2))
    assert plain == {"in_proj_bias", "out_proj.bias"}


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="no trainable parameter"):
        create_optimizer("sgd", nn.Identity(), {"lr": 0.1, "weight_decay": 0.0})
