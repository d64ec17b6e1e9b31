"""Pruning against Optuna's pruner, closed forms and sorted lists."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainables.training.pruning import Pruning, to_prune

error = st.integers(0, 400).map(lambda quarters: quarters / 4)


def curves(epochs: int) -> st.SearchStrategy[list[list[float]]]:
    one = st.lists(error, min_size=epochs, max_size=epochs)
    return st.lists(one, min_size=1, max_size=7)


@settings(max_examples=40)
@given(st.data())
def test_the_median_rule_is_optunas_where_a_trial_is_alone(data: st.DataObject) -> None:
    epochs = data.draw(st.integers(1, 5))
    others, own = data.draw(curves(epochs)), data.draw(curves(epochs))[0]
    startup, warmup = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 3))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(startup, warmup))
    for curve in others:
        study.add_trial(optuna.trial.create_trial(value=curve[-1], intermediate_values=dict(enumerate(curve))))
    trial = study.ask()
    pruning = Pruning(rule="median", startup_trials=startup, warmup_epochs=warmup)
    for epoch, value in enumerate(own, start=1):
        trial.report(value, epoch - 1)
        ours = to_prune(pruning, epoch, {"own": own[:epoch]}, others)
        assert bool(ours) == trial.should_prune()


@given(st.data())
def test_all_live_trials_are_judged_at_once_by_all_others(data: st.DataObject) -> None:
    epochs = data.draw(st.integers(2, 4))
    everybody = data.draw(curves(epochs))
    live = {f"k{index}": curve for index, curve in enumerate(everybody)}
    found = to_prune(Pruning(rule="median", startup_trials=1), epochs, live, [])
    for key, curve in live.items():
        last = [other[-1] for name, other in live.items() if name != key]
        assert (key in found) == (bool(last) and min(curve) > np.median(last))
    # Whether a trial is live or has ended makes no difference for another.
    ended = to_prune(Pruning(rule="median", startup_trials=1), epochs, {"k0": everybody[0]}, everybody[1:])
    assert ("k0" in found) == ("k0" in ended)


def test_the_median_rule_waits_for_its_trials_and_epochs() -> None:
    pruning = Pruning(rule="median", startup_trials=4, warmup_epochs=2)
    others = [[10.0, 10.0, 10.0]] * 3
    assert to_prune(pruning, 2, {"a": [90.0, 90.0], "b": [10.0, 10.0]}, others) == {}
    assert to_prune(pruning, 3, {"a": [90.0] * 3}, others) == {}
    found = to_prune(pruning, 3, {"a": [90.0] * 3, "b": [10.0] * 3}, others)
    assert found == {"a": "its best error in 3 epochs, 90, is above 10, the median of 4 others"}
    assert to_prune(pruning, 3, {"a": [9.0, 90.0, 90.0], "b": [10.0] * 3}, others) == {}
    # A trial that did not come so far says nothing about this epoch.
    assert to_prune(pruning, 3, {"a": [90.0] * 3}, [*others, [10.0, 10.0]]) == {}


@pytest.mark.parametrize("rule", ["median", "halving"])
def test_a_diverged_trial_counts_as_infinitely_bad_from_its_end_on(rule: Any) -> None:
    pruning = Pruning(rule=rule, startup_trials=2, warmup_epochs=1, reduction=2)
    diverged, short = [[math.inf]] * 2, [[1.0]] * 2
    live = {"a": [90.0, 90.0]}
    assert to_prune(pruning, 2, live, [*diverged, *short]) == {}
    assert list(to_prune(pruning, 2, live, [*diverged, [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])) == ["a"]
    assert to_prune(pruning, 2, live, [*diverged, [50.0, math.inf], [1.0, 1.0], [2.0, 2.0]]) == {}


@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 2), st.randoms())
def test_halving_keeps_one_of_reduction_at_each_rung(reduction: int, first: int, power: int, random: Any) -> None:
    count = reduction ** (power + 1)
    final = random.sample(range(1000), count)
    live = {f"k{index}": float(value) for index, value in enumerate(final)}
    pruning = Pruning(rule="halving", warmup_epochs=first, reduction=reduction)
    left = []
    for epoch in range(1, first * reduction**power + 1):
        ended = to_prune(pruning, epoch, {key: [value] * epoch for key, value in live.items()}, [])
        live = {key: value for key, value in live.items() if key not in ended}
        left.append(len(live))
    rungs = [first * reduction**k for k in range(power + 1)]
    assert left == [count // reduction ** sum(rung <= epoch for rung in rungs) for epoch in range(1, len(left) + 1)]
    assert sorted(live.values()) == sorted(final)[: len(live)]


@given(st.data())
def test_halving_counts_the_trials_that_came_before(data: st.DataObject) -> None:
    reduction = data.draw(st.integers(2, 4))
    ours, before = data.draw(curves(2)), data.draw(curves(2))
    pruning = Pruning(rule="halving", warmup_epochs=2, reduction=reduction)
    live = {f"k{index}": curve for index, curve in enumerate(ours)}
    found = to_prune(pruning, 2, live, [*before, [0.0]])
    together = np.array([curve[-1] for curve in [*ours, *before]])
    for key, curve in live.items():
        better = int((together < curve[-1]).sum())
        assert (key in found) == (better >= math.ceil(len(together) / reduction))
    assert to_prune(pruning, 1, {"k": [99.0]}, before) == {}


def test_a_lone_trial_is_never_halved_and_the_reason_says_how_many_there_were() -> None:
    pruning = Pruning(rule="halving")
    assert to_prune(pruning, 1, {"a": [99.0]}, []) == {}
    found = to_prune(pruning, 3, {"a": [1.0, 1.0, 30.25], "b": [9.0, 9.0, 9.0]}, [])
    assert found == {"a": "its error after 3 epochs, 30.25, is not among the best 1 of 2"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rule": "mean"}, "rule"),
        ({"rule": "median", "startup_trials": 0}, "startup_trials"),
        ({"rule": "halving", "reduction": 1}, "reduction"),
        ({"rule": "halving", "warmup_epochs": 0}, "warmup_epochs: 0 is no first rung"),
        ({"rule": "median", "warmup_epochs": 1.0}, "warmup_epochs"),
        ({"rule": "median", "patience": 3}, "patience"),
    ],
)
def test_a_bad_rule_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Pruning.model_validate(asked)


def test_a_curve_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="trial 'a': got 1 errors, expected one for each of 2 epochs"):
        to_prune(Pruning(rule="median"), 2, {"a": [1.0]}, [])
