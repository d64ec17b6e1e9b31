import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import trainables
from trainables import UnknownName, create_model
from trainables.registry import require_model

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("architecture", "image_size"),
    # One with a position embedding for one size, one with windows, one convolutional that takes no size.
    [("vit_tiny_patch16_224", 48), ("swin_tiny_patch4_window7_224", 56), ("resnet18", 40)],
)
def test_any_model_of_timm_is_built_for_the_images_and_classes(architecture: str, image_size: int) -> None:
    torch.manual_seed(0)
    model = create_model(f"timm:{architecture}", num_classes=6, image_size=image_size, in_channels=2).eval()
    assert model(torch.zeros(2, 2, image_size, image_size)).shape == (2, 6)
    size: dict[str, Any] = {} if architecture == "resnet18" else {"img_size": image_size}
    torch.manual_seed(0)
    theirs = timm.create_model(architecture, num_classes=6, in_chans=2, **size).state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())


def test_options_reach_timm() -> None:
    model = create_model("timm:vit_tiny_patch16_224", num_classes=6, image_size=32, depth=2, drop_rate=0.1)
    assert len(list(model.get_submodule("blocks").children())) == 2
    with pytest.raises(UnknownName, match="unknown option of model 'timm:resnet18' 'dept'; remove it"):
        create_model("timm:resnet18", num_classes=6, image_size=32, dept=2)


@pytest.mark.parametrize("name", ["timm:resnet18", "vit_p_micro", "regnety_1gf", "hybrid_base_r50_s16"])
def test_known_names(name: str) -> None:
    require_model(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet-18", "unknown model 'timm:resnet-18'; did you mean 'timm:resnet18'"),
        ("timm:", "unknown model 'timm:'; timm .* has .* models, none of that name"),
        ("timm:hf_hub:timm/resnet18", "unknown model 'timm:hf_hub:timm/resnet18'"),
        ("timm:local-dir:/tmp", "unknown model 'timm:local-dir:/tmp'"),
        ("resnet18", "unknown model 'resnet18'; did you mean 'resnet"),
        ("vit_c_5gf", "did you mean 'vit_c_4gf'|did you mean 'vit_c_1gf'"),
    ],
)
def test_unknown_names_get_a_hint(name: str, message: str) -> None:
    for call in (lambda: require_model(name), lambda: create_model(name, num_classes=2, image_size=32)):
        with pytest.raises(UnknownName, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_users_model_may_look_like_timms() -> None:
    trainables.register_model("timm:mine", lambda **_: torch.nn.Identity())
    require_model("timm:mine")
    assert isinstance(create_model("timm:mine", num_classes=2, image_size=8), torch.nn.Identity)


def test_names_are_checked_without_torch() -> None:
    code = (
        "import sys, trainables, trainables.registry as registry; registry.require_model('efficientnet_b4')\n"
        "import trainables.models.published as published; published.published_models()\n"
        "print(len(trainables.model_names()), sorted({'torch', 'timm', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "26 []\n"
