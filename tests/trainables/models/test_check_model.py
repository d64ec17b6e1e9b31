from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import trainables
from trainables import UnknownName
from trainables.models.create import check_model


def check(name: str, **changes: Any) -> None:
    check_model(name, **{"num_classes": 4, "image_size": 32, "in_channels": 1, **changes})


def test_nothing_is_said_of_a_model_that_fits() -> None:
    check("vit_c_micro", overrides={"blocks": 1, "stem": "s2"})
    check("vit_p_36gf", image_size=224, num_classes=1000)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vit_p_micro", {"image_size": 30}, "image_size: 30 px is not a multiple of the patch size 8 px; choose"),
        ("vit_p_micro", {"overrides": {"stem": {"channels": [8]}}}, "stem: strides is missing"),
        ("timm:vgg11", {"image_size": 8}, "model 'timm:vgg11' does not take images of 8 px with 1 channels"),
        ("resnet50", {"overrides": {"num_classes": 3}}, "option of model 'resnet50': num_classes cannot be set"),
        ("vit_p_micro", {"overrides": {"image_size": 3}}, "image_size cannot be set, the dataset sets it"),
        ("timm:resnet18", {"overrides": {"layers": "many"}}, "model 'timm:resnet18' cannot be built for images of 32"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check(name, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "overrides"), [("vit_x", {}), ("vit_p_micro", {"block": 1}), ("timm:nothing", {}), ("resnet50", {"a": 1})]
)
def test_unknown_names_stay_unknown_names(name: str, overrides: dict[str, Any]) -> None:
    with pytest.raises(UnknownName):
        check(name, overrides=overrides)


def head(outputs: int, **_: Any) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(outputs))


def needs_memory(*, num_classes: int, **_: Any) -> nn.Module:
    layer = nn.Linear(1024, num_classes)
    assert layer.weight.sum().item() < 1e9  # reads a value, which a tensor without memory has not
    return nn.Sequential(nn.Flatten(), layer)


def broken(**_: Any) -> nn.Module:
    raise KeyError("width")


def pair(**_: Any) -> nn.Module:
    class Pair(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return images, images

    return Pair()


def wrong_count(**_: Any) -> nn.Module:
    return head(9)


def no_module(**_: Any) -> Any:
    return 3


def small_images_only(*, num_classes: int, **_: Any) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(5, num_classes))


def test_a_users_model_that_needs_memory_is_tried_with_memory() -> None:
    trainables.register_model("mine", needs_memory)
    before = torch.get_rng_state()
    check("mine")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (broken, "model 'mine' does not take images of 32 px with 1 channels .KeyError: 'width'."),
        (pair, r"2 images of 32 px give an output of shape tuple, expected logits of shape \(2, 4\)"),
        (wrong_count, r"give an output of shape \(2, 9\), expected logits of shape \(2, 4\); correct the model"),
        (no_module, "its factory returned int, expected a torch.nn.Module"),
        (small_images_only, "model 'mine' does not take images of 32 px .*shapes cannot be multiplied"),
    ],
)
def test_a_users_model_that_does_not_fit(factory: Callable[..., nn.Module], message: str) -> None:
    trainables.register_model("mine", factory)
    with pytest.raises(ValueError, match=message) as caught:
        check("mine")
    assert "\n" not in str(caught.value)
