"""What arms cost, as it is tagged in MLflow, against layers counted by hand and what ``stablesweep models`` says."""

import pytest
import torch

import stablesweep as ss
from dashboards import tags
from stablesweep.arm_costs import ImageSizes, cost_tags, images_of_one_epoch
from stablesweep.model_table import count_model, model_settings
from tests.support import small_study

SIZES = ImageSizes(num_classes=10, image_size=32, channels=1, num_train=1500)


def test_counts_are_those_of_the_table_of_models() -> None:
    found = cost_tags(small_study(pack={"gpus": 0.5, "workers": 4}), SIZES)
    for arm, model in (("vit_p_micro/adamw", "vit_p_micro"), ("vit_c_micro/sgd", "vit_c_micro")):
        cost = count_model(model_settings([model])[0]).cost
        assert found.arms[arm] == {
            tags.PARAMETERS: str(cost.parameters),
            tags.FLOPS: str(cost.flops),
            tags.ACTIVATIONS: str(cost.activations),
        }
    assert found.study[tags.GPUS] == "2"


def test_images_are_counted_in_whole_batches() -> None:
    study = small_study(recipe={"batch_size": 64})
    assert images_of_one_epoch(study, 1500) == 23 * 64
    searched = {"lr": {"around": 1e-3}, "weight_decay": {"around": 1e-4}, "batch_size": {"choice": [32, 64]}}
    assert images_of_one_epoch(small_study(space=searched), 1500) == 1500


def test_an_arm_whose_trials_differ_in_their_models_has_no_counts() -> None:
    searched = {
        "lr": {"around": 1e-3},
        "weight_decay": {"around": 1e-4},
        "vit_c_micro/sgd": {"blocks": {"choice": [1, 2]}},
    }
    found = cost_tags(small_study(space=searched), SIZES)
    assert set(found.arms) == {"vit_p_micro/adamw"}


def test_a_users_model_is_not_called_here() -> None:
    @ss.register_model("mine")
    def mine(*, num_classes: int, image_size: int, in_channels: int) -> torch.nn.Module:
        pytest.fail("it was called")

    space = {"lr": {"around": 0.01}, "weight_decay": {"around": 1e-4}}
    found = cost_tags(small_study(arms=["mine/sgd", "vit_c_micro/sgd"], space=space), SIZES)
    assert set(found.arms) == {"vit_c_micro/sgd"}


def test_a_model_that_does_not_take_the_images_has_no_counts() -> None:
    odd = ImageSizes(num_classes=10, image_size=31, channels=1, num_train=1500)
    assert "vit_p_micro/adamw" not in cost_tags(small_study(), odd).arms


def test_without_a_dataset_only_the_gpus_are_known() -> None:
    found = cost_tags(small_study(), None)
    assert found.study == {tags.GPUS: "0"}
    assert found.arms == {}
