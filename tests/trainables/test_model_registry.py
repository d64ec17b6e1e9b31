import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainables
from trainables import ImageData, UnknownName, create_model, load_dataset, registry

ROOT = Path(__file__).parents[2]


def linear(*, num_classes: int, image_size: int, in_channels: int, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes, bias=bias))


def test_a_registered_model_is_created_with_overrides() -> None:
    assert trainables.register_model("mine", linear) is linear
    assert "mine" in trainables.model_names()
    model = create_model("mine", num_classes=7, image_size=8, in_channels=2, bias=False)
    assert model(torch.zeros(3, 2, 8, 8)).shape == (3, 7)
    assert [name for name, _ in model.named_parameters()] == ["1.weight"]


def test_decorators_return_the_factory(small_data: ImageData) -> None:
    @trainables.register_model("decorated")
    def model(*, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
        return linear(num_classes=num_classes, image_size=image_size, in_channels=in_channels)

    @trainables.register_dataset("decorated")
    def data() -> ImageData:
        return small_data

    assert create_model("decorated", num_classes=2, image_size=4).training
    assert load_dataset("decorated") is data() is small_data
    assert callable(model)


@pytest.mark.parametrize("name", ["vit_p_micro", "vit_c_1gf", "regnety_4gf", "resnet50", "hybrid_base_r50_s16"])
def test_a_built_in_name_cannot_be_taken(name: str) -> None:
    with pytest.raises(ValueError, match=f"model '{name}' is registered already; choose another name"):
        trainables.register_model(name, linear)


def test_a_name_cannot_be_taken_twice(small_data: ImageData) -> None:
    trainables.register_model("twice", linear)
    with pytest.raises(ValueError, match="registered already"):
        trainables.register_model("twice", linear)
    trainables.register_dataset("twice", lambda: small_data)
    with pytest.raises(ValueError, match="dataset 'twice' is registered already"):
        trainables.register_dataset("twice", lambda: small_data)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "ä"])
def test_a_name_that_would_break_a_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use letters, digits"):
        trainables.register_model(name, linear)


def test_a_factory_must_be_callable() -> None:
    not_callable: Any = nn.Identity
    with pytest.raises(TypeError, match="must be callable, got str"):
        trainables.register_model("text", not_callable.__name__)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            partial(create_model, "vit_c_mirco", num_classes=2, image_size=32),
            "model 'vit_c_mirco'.*'vit_c_micro'.*known:",
        ),
        (partial(create_model, "vit_c_micro", num_classes=2, image_size=32, block=2), "option of model.*mean 'blocks'"),
        (partial(load_dataset, "digit"), "dataset 'digit'; did you mean 'digits'"),
        (partial(load_dataset, "digits", image_sise=32), "option of dataset 'digits' 'image_sise'.*mean 'image_size'"),
        (partial(trainables.optimizer_hyperparameters, "adam"), "optimizer 'adam'; did you mean 'adamw'.*adamw, sgd"),
    ],
)
def test_an_unknown_name_gets_one_sentence(call: Any, message: str) -> None:
    with pytest.raises(UnknownName, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_factories_must_return_what_they_promise() -> None:
    trainables.register_model("none", lambda **_: None)
    trainables.register_dataset("none", lambda: None)
    with pytest.raises(TypeError, match="model 'none': its factory returned NoneType, expected"):
        create_model("none", num_classes=2, image_size=4)
    with pytest.raises(TypeError, match="dataset 'none': its factory returned NoneType"):
        load_dataset("none")


def test_entries_survive_pickling_and_install_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    trainables.register_model("mine", partial(create_model, "vit_p_micro"))
    entries = pickle.loads(pickle.dumps(trainables.user_entries()))
    monkeypatch.setattr(registry, "_user_models", {})
    assert "mine" not in trainables.model_names()
    trainables.install(entries)
    trainables.install(pickle.loads(pickle.dumps(entries)))
    assert "mine" in trainables.model_names()
    assert create_model("mine", num_classes=3, image_size=16)(torch.zeros(1, 3, 16, 16)).shape == (1, 3)


def test_another_process_installs_what_this_one_registered(tmp_path: Path) -> None:
    (tmp_path / "users_code.py").write_text(
        "def net(*, num_classes, image_size, in_channels):\n"
        "    from torch import nn\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n"
    )
    header = f"import sys, pickle; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]; import trainables\n"
    file = tmp_path / "entries.pickle"
    send = f"import users_code; trainables.register_model('net', users_code.net)\nwith open({str(file)!r}, 'wb') as f: pickle.dump(trainables.user_entries(), f)"
    take = f"with open({str(file)!r}, 'rb') as f: trainables.install(pickle.load(f))\nprint(trainables.model_names())"
    for code in (send, take):
        done = subprocess.run([sys.executable, "-c", header + code], capture_output=True, text=True, check=True)
    assert "'net'" in done.stdout
