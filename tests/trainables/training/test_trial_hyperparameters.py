"""Which part of a training each hyperparameter of a trial goes to."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables import Recipe, UnknownName, register_model
from trainables.hyperparameters import (
    SHARED_FIELDS,
    recipe_for,
    require_trial_hyperparameters,
    shared_values,
    split_hyperparameters,
)

ROOT = Path(__file__).parents[3]
VIT = "vit_c_micro"


def test_each_name_goes_to_the_first_that_has_it() -> None:
    values: dict[str, Any] = {
        "lr": 1e-3,
        "beta1": 0.8,
        "label_smoothing": 0.2,
        "batch_size": 64.0,
        "drop_path": 0.1,
        "stem": "s1",
    }
    split = split_hyperparameters(VIT, "adamw", values)
    assert split.optimizer == {"lr": 1e-3, "beta1": 0.8}
    assert split.recipe == {"label_smoothing": 0.2, "batch_size": 64}
    assert split.model == {"drop_path": 0.1, "stem": "s1"}


def test_an_optimizers_name_is_not_the_models_nor_a_recipes_field_the_models() -> None:
    register_model("greedy", lambda *, num_classes, image_size, in_channels, momentum=0.1, flip=0.0, gain=1: None)
    split = split_hyperparameters("greedy", "sgd", {"lr": 0.1, "momentum": 0.5, "flip": 0.5, "gain": 2.0})
    assert (split.optimizer, split.recipe, split.model) == ({"lr": 0.1, "momentum": 0.5}, {"flip": 0.5}, {"gain": 2})


def test_whole_numbers_are_ints_where_no_float_is_declared() -> None:
    def factory(
        *, num_classes: int, image_size: int, in_channels: int, width: int, gain: "float | None" = None, rate: Any = 0.5
    ) -> None: ...

    register_model("declares", factory)
    values = {"width": 8.0, "gain": 2.0, "rate": 1.0}
    for model, given_values, kinds in (
        ("declares", values, {"width": int, "gain": float, "rate": float}),
        (VIT, {"blocks": 3.0, "mlp_ratio": 2.0, "drop_path": 0.0}, {"blocks": int, "mlp_ratio": float}),
        ("regnety_1gf", {"stem_width": 16.0, "se_ratio": 1.0}, {"stem_width": int, "se_ratio": float}),
        ("resnet50", {"cardinality": 2.0, "drop_rate": 0.5}, {"cardinality": int, "drop_rate": float}),
    ):
        split = split_hyperparameters(model, "sgd", given_values)
        assert split.model == given_values
        assert {name: type(split.model[name]) for name in kinds} == kinds


@pytest.mark.parametrize(
    ("model", "names", "message"),
    [
        (VIT, ["drop_pth"], "unknown hyperparameter 'drop_pth'; did you mean 'drop_path'"),
        (VIT, ["label_smothing"], "'label_smothing'; did you mean 'label_smoothing'"),
        (VIT, ["momentun"], "'momentun'; did you mean 'momentum'"),
        (VIT, ["base"], "unknown hyperparameter 'base'"),
        ("timm:test_vit", ["momentun"], "'momentun'; did you mean 'momentum'"),
        ("timm:test_vit", ["pretrained"], "unknown hyperparameter 'pretrained'"),
        ("regnety_1gf", ["drop_path"], "'drop_path'; did you mean 'drop_path_rate'"),
        ("fixed", ["gain"], "model 'fixed' takes width, and"),
        ("fixed", ["image_size"], "unknown hyperparameter 'image_size'"),
        ("open", ["num_classes"], "unknown hyperparameter 'num_classes'"),
    ],
)
def test_a_name_of_none_of_them_is_refused(model: str, names: list[str], message: str) -> None:
    register_model("fixed", lambda *, num_classes, image_size, in_channels, width=8: None)
    register_model("open", lambda **options: None)
    with pytest.raises(UnknownName, match=message) as caught:
        require_trial_hyperparameters(model, "sgd", ["lr", "weight_decay", *names])
    assert "\n" not in str(caught.value)


def test_a_model_that_takes_any_name_gets_any_name() -> None:
    register_model("open", lambda **options: None)
    for model in ("open", "timm:test_vit", "resnet50"):
        require_trial_hyperparameters(model, "sgd", ["lr", "weight_decay", "drop_path_rate", "depth"])
        assert split_hyperparameters(model, "sgd", {"depth": 2}).model == {"depth": 2}


def test_what_the_optimizer_requires_must_be_there() -> None:
    require_trial_hyperparameters(VIT, "torch:Adam", ["lr", "eps", "mixup", "drop_path"])
    with pytest.raises(ValueError, match="optimizer 'adamw': hyperparameter 'weight_decay' is missing"):
        require_trial_hyperparameters(VIT, "adamw", ["lr", "drop_path"])


def test_a_recipe_with_a_trials_own_values() -> None:
    recipe = Recipe(base="paper", batch_size=256)
    values: dict[str, Any] = {
        "lr": 1.0,
        "batch_size": 64.0,
        "warmup_epochs": 3.0,
        "drop_path": 0.1,
        "lr_update": "step",
    }
    found = recipe_for(recipe, "sgd", values)
    assert found == Recipe(base="paper", batch_size=64, warmup_epochs=3.0, lr_update="step")
    assert (type(found.batch_size), type(found.warmup_epochs)) == (int, float)
    assert recipe_for(recipe, "sgd", {"lr": 1.0, "drop_path": 0.1}) is recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label_smoothing": 1.5}, "hyperparameter 'label_smoothing' is 1.5, but it should be less than 1; change it"),
        ({"batch_size": 1.5}, "hyperparameter 'batch_size' is 1.5, but it should be a valid integer"),
        ({"grad_clip": 0.0}, "hyperparameter 'grad_clip' is 0.0, but it should be greater than 0"),
        ({"crop": "centre"}, "hyperparameter 'crop' is 'centre', but it should be 'none' or 'random_resized'"),
        ({"flip": True}, "hyperparameter 'flip' is True"),
        ({"decay_embeddings": 1.0}, "hyperparameter 'decay_embeddings' is 1.0"),
        ({"explode": float("inf")}, "hyperparameter 'explode' is inf"),
    ],
)
def test_a_value_that_does_not_suit_its_field_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        recipe_for(Recipe(), "sgd", values)
    assert "\n" not in str(caught.value)


@given(st.dictionaries(st.sampled_from(sorted({*Recipe.model_fields, "lr", "drop_path"})), st.integers(1, 9)))
def test_shared_values_are_those_of_the_shared_fields(values: dict[str, int]) -> None:
    shared = shared_values("sgd", {name: float(value) for name, value in values.items()})
    assert shared == tuple(sorted((name, value) for name, value in values.items() if name in SHARED_FIELDS))
    assert hash(shared) == hash(shared_values("sgd", values))


def test_every_shared_field_is_a_field_and_the_document_names_them_all() -> None:
    assert set(Recipe.model_fields) >= SHARED_FIELDS
    document = (ROOT / "docs" / "recipes.md").read_text()
    paragraph = document.split("These fields shape the batches:", 1)[1].split(".", 1)[0]
    named = {part.strip().strip("`") for part in paragraph.replace(" and ", ",").split(",")}
    assert named == SHARED_FIELDS


def test_none_of_this_needs_torch() -> None:
    code = """
import sys
from trainables.hyperparameters import recipe_for, require_trial_hyperparameters, shared_values
from trainables.recipes.recipe import Recipe
from trainables.training.pruning import Pruning, to_prune
require_trial_hyperparameters("vit_c_micro", "sgd", ["lr", "weight_decay", "mixup", "drop_path"])
require_trial_hyperparameters("timm:anything", "sgd", ["lr", "weight_decay", "depth"])
recipe_for(Recipe(), "sgd", dict(shared_values("sgd", {"mixup": 0.5})))
to_prune(Pruning(rule="median"), 2, {"a": [1.0, 1.0]}, [])
print(sorted({"torch", "timm", "numpy", "optuna"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
