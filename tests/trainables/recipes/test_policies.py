from collections import Counter, defaultdict
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from scipy import stats

from trainables.recipes.policies import (
    IMAGENET_POLICY,
    RANDAUGMENT_OPERATIONS,
    SIGNED,
    Change,
    draw_autoaugment,
    draw_randaugment,
)

NUMBER, SIDE = 30_000, 32
ALL = slice(0, NUMBER)


def torchvision_policies() -> Any:
    return import_module("torchvision.transforms.v2")


def their_magnitude(policy: Any, operation: str, bins: int, at: int | None) -> float:
    values = policy._AUGMENTATION_SPACE[operation][0](bins, SIDE, SIDE)
    return 0.0 if values is None or at is None else float(values[at])


def test_the_table_is_torchvisions() -> None:
    assert [list(sub) for sub in IMAGENET_POLICY] == [
        list(sub) for sub in torchvision_policies().AutoAugment()._policies
    ]


def test_operations_and_signs_are_torchvisions() -> None:
    spaces = [
        torchvision_policies().RandAugment._AUGMENTATION_SPACE,
        torchvision_policies().AutoAugment._AUGMENTATION_SPACE,
    ]
    assert list(RANDAUGMENT_OPERATIONS) == list(spaces[0])
    for space in spaces:
        assert {name for name, (_, signed) in space.items() if signed} == SIGNED


def test_autoaugments_changes_occur_as_often_as_the_policy_says() -> None:
    policy = torchvision_policies().AutoAugment()
    rounds = draw_autoaugment(np.random.default_rng(0), NUMBER, SIDE, ALL)
    for at, changes in enumerate(rounds):
        expected: dict[Change | None, float] = defaultdict(float)
        for sub in policy._policies:
            operation, probability, bin_index = sub[at]
            magnitude = their_magnitude(policy, operation, 10, bin_index)
            for sign in (1, -1) if operation in SIGNED and magnitude else (1,):
                share = probability / 25 / (2 if operation in SIGNED and magnitude else 1)
                expected[Change(operation, sign * magnitude)] += share
            expected[None] += (1 - probability) / 25
        expected = {change: share for change, share in expected.items() if share > 0}
        found = Counter(changes)
        assert set(found) <= set(expected)
        test = stats.chisquare([found[key] for key in expected], [NUMBER * share for share in expected.values()])
        assert test.pvalue > 0.01


def test_the_two_steps_of_a_sub_policy_go_together() -> None:
    first, second = draw_autoaugment(np.random.default_rng(1), NUMBER, SIDE, ALL)
    pairs = {
        (one and one.operation, two and two.operation) for one, two in zip(first, second, strict=True) if one and two
    }
    possible = {(one[0], two[0]) for one, two in IMAGENET_POLICY if one[1] and two[1]}
    assert pairs == possible


@pytest.mark.parametrize("probability", [1.0, 0.5])
def test_randaugments_operations_are_equally_likely(probability: float) -> None:
    policy = torchvision_policies().RandAugment()
    rounds = draw_randaugment(
        np.random.default_rng(2), NUMBER, SIDE, ALL, operations=3, magnitude=9, probability=probability
    )
    assert len(rounds) == 3
    share = probability / len(RANDAUGMENT_OPERATIONS)
    for changes in rounds:
        found = Counter(changes)
        expected: dict[Change | None, float] = {None: 1 - probability + share}
        for operation in RANDAUGMENT_OPERATIONS[1:]:
            magnitude = their_magnitude(policy, operation, 31, 9)
            for sign in (1, -1) if operation in SIGNED else (1,):
                expected[Change(operation, sign * magnitude)] = share / (2 if operation in SIGNED else 1)
        assert set(found) == set(expected)
        test = stats.chisquare([found[key] for key in expected], [NUMBER * value for value in expected.values()])
        assert test.pvalue > 0.01


def test_randaugments_rounds_are_independent() -> None:
    first, second = draw_randaugment(np.random.default_rng(3), NUMBER, SIDE, ALL, operations=2, magnitude=9)
    names = ["Identity", *RANDAUGMENT_OPERATIONS[1:]]
    table = np.zeros((len(names), len(names)))
    for one, two in zip(first, second, strict=True):
        at = [names.index("Identity" if change is None else change.operation) for change in (one, two)]
        table[at[0], at[1]] += 1
    assert stats.chi2_contingency(table).pvalue > 0.01


@pytest.mark.parametrize("magnitude", [0, 9, 15, 27, 30])
def test_randaugments_strengths_are_torchvisions(magnitude: int) -> None:
    policy = torchvision_policies().RandAugment()
    changes = draw_randaugment(np.random.default_rng(4), 2000, SIDE, slice(0, 2000), operations=1, magnitude=magnitude)
    for change in changes[0]:
        if change is not None:
            assert abs(change.magnitude) == their_magnitude(policy, change.operation, 31, magnitude)


def test_a_part_is_a_part_of_the_whole() -> None:
    whole = draw_autoaugment(np.random.default_rng(5), 100, SIDE, slice(0, 100))
    part = draw_autoaugment(np.random.default_rng(5), 100, SIDE, slice(30, 60))
    assert part == [changes[30:60] for changes in whole]
