"""What arms cost, in columns and in words: numbers worked out by hand."""

import pyarrow as pa
import pytest

from dashboards.statistics.costs import COST_FIELDS, ArmCost, cost_columns, counted

TRIALS = pa.table(
    {
        "seconds": pa.array([100.0, 300.0, 50.0, None, 50.0]),
        "epochs_done": pa.array([10, 10, None, 10, 0], pa.int64()),
    }
)
COST = ArmCost(parameters=4_800_000, flops=1_080_000_000, activations=5_500_000, images_per_epoch=1_000, gpus=0.5)


def test_sums_over_the_trials() -> None:
    assert cost_columns(TRIALS, "vit/sgd", {"vit/sgd": COST}) == {
        "parameters": 4_800_000,
        "flops": 1_080_000_000,
        "activations": 5_500_000,
        # 20 epochs in 450 seconds: the trials with only one of both known do not count.
        "images_per_s": pytest.approx(20_000 / 450),
        "gpu_hours": pytest.approx(500 / 3600 / 2),
        "compute_hours": pytest.approx(500 / 3600),
    }


def test_what_is_not_recorded_is_unknown() -> None:
    for costs in (None, {}, {"other/sgd": COST}, {"vit/sgd": ArmCost()}):
        found = cost_columns(TRIALS, "vit/sgd", costs)
        assert {name for name, value in found.items() if value is not None} == {"compute_hours"}
    assert list(found) == [field.name for field in COST_FIELDS]


def test_a_cpu_has_no_gpu_hours() -> None:
    found = cost_columns(TRIALS, "vit/sgd", {"vit/sgd": ArmCost(images_per_epoch=1_000, gpus=0)})
    assert found["gpu_hours"] is None
    assert found["images_per_s"] is not None


def test_trials_that_never_started_cost_nothing_known() -> None:
    found = cost_columns(TRIALS.slice(3, 1), "vit/sgd", {"vit/sgd": COST})
    assert (found["images_per_s"], found["gpu_hours"], found["compute_hours"]) == (None, None, None)
    assert cost_columns(TRIALS.slice(0, 0), "vit/sgd", None)["compute_hours"] is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (512, "512"),
        (29_184, "29.2 k"),
        (4_830_376, "4.83 M"),
        (86_567_656, "86.6 M"),
        (999_600, "1 M"),
        (1_083_000_000, "1.08 G"),
        (17_500_000_000, "17.5 G"),
        (224e9, "224 G"),
        (1.5e12, "1.5 T"),
    ],
)
def test_counted(value: float | None, text: str) -> None:
    assert counted(value) == text
