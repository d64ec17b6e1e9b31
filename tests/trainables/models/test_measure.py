from collections.abc import Callable
from typing import Any

import pytest
import torch

from trainables import UnknownName
from trainables.models.cost import named_model_cost
from trainables.models.measure import BATCH_SIZES, Measurement, default_device, measure_alone, measure_model

MICRO: dict[str, Any] = {"num_classes": 10, "image_size": 32}


def assert_plausible(measured: Measurement, batch_size: int) -> None:
    assert (measured.device, measured.batch_size) == ("cpu", batch_size)
    assert min(measured.inference_images_per_s, measured.train_images_per_s) > 0


def test_the_speed_of_a_model() -> None:
    before = torch.get_rng_state()
    assert_plausible(measure_model("vit_c_micro", **MICRO, device="cpu", batch_size=16, min_seconds=0.2), 16)
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_is_that_of_one_model_in_a_process_of_its_own() -> None:
    measured = measure_alone("timm:resnet18", **MICRO, device="cpu")
    assert_plausible(measured, BATCH_SIZES["cpu"])
    # Weights, gradients and the two moments of AdamW, in float32; and the process has no other model.
    held = 4 * 4 * named_model_cost("timm:resnet18", **MICRO).parameters
    assert measured.peak_memory_bytes is not None
    assert 0.9 * held < measured.peak_memory_bytes < 4 * held


@pytest.mark.parametrize("measure", [measure_model, measure_alone])
def test_unknown_names_are_refused(measure: Callable[..., Measurement]) -> None:
    with pytest.raises(UnknownName, match="did you mean 'vit_p_micro'"):
        measure("vit_p_mikro", **MICRO, device="cpu")


def test_want_of_memory_is_an_error_of_the_run() -> None:
    with pytest.raises(RuntimeError, match="allocate"):
        measure_model("vit_p_micro", **MICRO, device="cpu", batch_size=10**10)


def test_the_device_is_a_gpu_where_there_is_one() -> None:
    assert default_device() == ("cuda" if torch.cuda.is_available() else "cpu")
