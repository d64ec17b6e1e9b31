"""What the overhead of a sweep is judged by."""

import pytest
from overhead import differing, goals, in_order


@pytest.mark.parametrize(
    ("walls", "expected"),
    [
        (
            {"platform": 10.0, "ray_guide": 80.0, "bare": 8.0},
            [
                "12 trials: the platform is 8.0 x faster than a TorchTrainer a draw; goal at least 8 x, reached.",
                "12 trials: the platform takes 1.25 x the time of the bare loop; goal at most 1.15 x, missed.",
            ],
        ),
        (
            {"platform": 10.0, "ray_guide": 79.0},
            ["12 trials: the platform is 7.9 x faster than a TorchTrainer a draw; goal at least 8 x, missed."],
        ),
        (
            {"platform": 11.0, "bare": 10.0, "optuna": 1.0},
            ["12 trials: the platform takes 1.10 x the time of the bare loop; goal at most 1.15 x, reached."],
        ),
        ({"ray_guide": 80.0, "bare": 8.0}, []),
        ({}, []),
    ],
)
def test_a_goal_is_judged_where_both_ways_were_run(walls: dict[str, float], expected: list[str]) -> None:
    assert goals(12, walls) == expected


def test_trials_differ_to_the_bit() -> None:
    expected = {"a": 12.5, "b": 0.1 + 0.2, "c": None, "d": None, "e": 7.0}
    assert differing(dict(expected), expected) == 0
    # One rounded otherwise, one that diverged only there, one that diverged only here, and one that is not there.
    assert differing({"a": 12.5, "b": 0.3, "c": 1.0, "e": None, "f": 1.0}, expected) == 4


def test_the_bare_loop_comes_first() -> None:
    assert in_order(("platform", "ray_guide", "bare", "optuna"), {}, 64) == ["bare", "platform", "ray_guide", "optuna"]


def test_a_way_is_left_out_above_its_most_trials() -> None:
    ways, most = ("platform", "ray_guide", "bare"), {"ray_guide": 16}
    assert in_order(ways, most, 16) == ["bare", "platform", "ray_guide"]
    assert in_order(ways, most, 17) == ["bare", "platform"]
