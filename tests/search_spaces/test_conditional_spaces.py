import pickle

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import (
    Choice,
    Conditional,
    Constant,
    HyperparameterValue,
    IntUniform,
    LogIntUniform,
    LogUniform,
    SearchSpace,
    SpaceError,
    Uniform,
    around,
    parse_distribution,
    space_around,
)

units = st.floats(0, 1, exclude_max=True)

OPTIMIZERS = SearchSpace(
    nesterov=Conditional(Choice([True, False]), momentum={"at_least": 0.8}),
    momentum=Conditional(Uniform(0.5, 1.0), solver="sgd"),
    solver=Choice(["sgd", "adam", "lars"]),
    beta2=Conditional(Constant(0.99), solver=["adam", "lars"]),
    lr=around(0.1),
)
"""Children before their parents: the order of values is not the order of drawing."""


def test_only_active_dimensions_have_values() -> None:
    point = {"nesterov": 0.1, "momentum": 0.7, "solver": 0.1, "beta2": 0.5, "lr": 0.6, "another": 0.5}
    assert OPTIMIZERS.from_unit(point) == {
        "nesterov": True,
        "momentum": pytest.approx(0.85),
        "solver": "sgd",
        "lr": pytest.approx(0.1),
    }
    assert set(OPTIMIZERS.from_unit({**point, "momentum": 0.5})) == {"momentum", "solver", "lr"}
    assert OPTIMIZERS.from_unit({**point, "solver": 0.9}) == {"solver": "lars", "beta2": 0.99, "lr": pytest.approx(0.1)}


@given(st.fixed_dictionaries(dict.fromkeys(OPTIMIZERS, units)))
def test_values_stand_in_the_order_of_the_space(point: dict[str, float]) -> None:
    values = OPTIMIZERS.from_unit(point)
    assert list(values) == [name for name in OPTIMIZERS if name in values]
    assert ("momentum" in values) == (values["solver"] == "sgd")
    assert ("nesterov" in values) == (0.5 + 0.5 * point["momentum"] >= 0.8 and values["solver"] == "sgd")
    assert ("beta2" in values) == (values["solver"] != "sgd")


def test_a_switched_off_dimension_still_needs_its_coordinate() -> None:
    with pytest.raises(SpaceError, match="no coordinate for nesterov"):
        OPTIMIZERS.from_unit({"momentum": 0.7, "solver": 0.9, "beta2": 0.5, "lr": 0.6})


def test_what_a_space_says_of_its_dimensions() -> None:
    order = OPTIMIZERS.order
    assert sorted(order) == sorted(OPTIMIZERS)
    assert order.index("solver") < order.index("momentum") < order.index("nesterov")
    assert OPTIMIZERS.is_active("momentum", {"solver": "sgd"})
    assert not OPTIMIZERS.is_active("momentum", {"solver": "adam"})
    assert not OPTIMIZERS.is_active("nesterov", {"solver": "adam"})
    assert OPTIMIZERS.distribution("momentum") == Uniform(0.5, 1.0)
    assert OPTIMIZERS["momentum"] == Conditional(Uniform(0.5, 1.0), solver="sgd")
    assert not OPTIMIZERS.unconditional
    assert SearchSpace(lr=around(1.0)).unconditional
    assert OPTIMIZERS.example() == {
        "nesterov": True,
        "momentum": 0.5,
        "solver": "sgd",
        "beta2": 0.99,
        "lr": pytest.approx(0.0125),
    }


def test_a_space_without_conditions_keeps_its_order() -> None:
    space = SearchSpace(b=around(1.0), a=Constant(1), c=Choice([1, 2]))
    assert space.order == ("b", "a", "c")


def test_yaml_and_python_say_the_same() -> None:
    text = """
    nesterov: {choice: [true, false], when: {momentum: {at_least: 0.8}}}
    momentum: {uniform: [0.5, 1.0], when: {solver: sgd}}
    solver: {choice: [sgd, adam, lars]}
    beta2: {constant: 0.99, when: {solver: [adam, lars]}}
    lr: {around: 0.1}
    """
    space = SearchSpace(yaml.safe_load(text))
    assert space == OPTIMIZERS
    assert hash(space) == hash(OPTIMIZERS)
    assert SearchSpace(yaml.safe_load(yaml.safe_dump(space.to_config(), sort_keys=False))) == OPTIMIZERS
    assert pickle.loads(pickle.dumps(OPTIMIZERS)) == OPTIMIZERS


def test_equal_spaces_hash_alike_in_any_order() -> None:
    first = SearchSpace({"a": around(1.0), "b": 2})
    second = SearchSpace({"b": 2, "a": around(1.0)})
    assert first == second
    assert hash(first) == hash(second)
    assert Conditional(1, a=1, b=2) == Conditional(1, b=2, a=1)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ({"at_least": 2}, [2, 2.5], [1.9]),
        ({"above": 2}, [2.1], [2, 1]),
        ({"at_most": 2}, [2, 1], [2.1]),
        ({"below": 2}, [1.9], [2, 3]),
        ({"at_least": 1, "below": 2}, [1, 1.5], [0.9, 2]),
        ({"above": 1, "at_most": 2}, [1.1, 2], [1, 2.1]),
        ([1, 3], [1, 3], [2]),
        (1, [1, 1.0], [2]),
    ],
)
def test_conditions_on_numbers(bounds: object, inside: list[float], outside: list[float]) -> None:
    child = Conditional(0.5, parent=bounds)
    assert all(child.holds({"parent": value}) for value in inside)
    assert not any(child.holds({"parent": value}) for value in outside)
    assert not any(child.holds({"parent": value}) for value in (True, "1"))
    assert not child.holds({})


@pytest.mark.parametrize(
    ("parent", "condition", "words"),
    [
        (Choice(["a", "b"]), "c", "never holds"),
        (Choice(["a", "b"]), ["a", "c"], "never is 'c'"),
        (Choice([0, 1]), True, "never holds"),
        (Choice([True, False]), 1, "never holds"),
        (Choice(["a", "b"]), {"above": 0}, "never holds"),
        (Choice([1, 2]), {"above": 2}, "never holds"),
        (Constant(3), 4, "never holds"),
        (Constant(3), {"below": 3}, "never holds"),
        (Uniform(0, 1), 0.5, "use at_least"),
        (Uniform(0, 1), {"at_least": 1}, "never holds"),
        (Uniform(0, 1), {"at_most": 0}, "never holds"),
        (Uniform(0, 1), {"above": 0.5, "below": 0.5}, "never holds"),
        (Uniform(0, 1, step=0.25), 0.3, "never holds"),
        (Uniform(0, 1, step=0.25), {"above": 0.25, "below": 0.5}, "never holds"),
        (LogUniform(1, 2), {"below": 1}, "never holds"),
        (LogUniform(1, 2, step=0.5), [1.5, 1.6], "never is 1.6"),
        (IntUniform(1, 9, step=2), 4, "never holds"),
        (IntUniform(1, 9), {"above": 9}, "never holds"),
        (IntUniform(1, 2**53), {"above": 2**53}, "never holds"),
        (LogIntUniform(8, 64), 7, "never holds"),
        (LogIntUniform(8, 64), "8", "never holds"),
        (Choice(["a"]), {"over": 1}, "bounds are at_least"),
        (Choice(["a"]), {"above": "b"}, "finite number"),
        (Choice(["a"]), {}, "bounds are"),
        (Choice(["a"]), [], "a condition is"),
        (Choice(["a"]), None, "a condition is"),
        (Choice(["a"]), [["a"]], "a condition is"),
    ],
)
def test_conditions_that_cannot_hold(parent: object, condition: object, words: str) -> None:
    with pytest.raises(SpaceError, match=words) as error:
        SearchSpace({"parent": parent, "child": {"constant": 1, "when": {"parent": condition}}})
    assert str(error.value).startswith("child: when.parent: ")


@pytest.mark.parametrize(
    ("parent", "condition"),
    [
        (Uniform(0, 1, step=0.05), 0.15),
        (Uniform(0, 1), {"at_least": 0.999}),
        (Uniform(0, 1, step=0.25), {"at_least": 0.25, "at_most": 0.25}),
        (LogUniform(1e-4, 1e-1, step=1e-4), [3e-4, 0.1]),
        (IntUniform(1, 2**53), 2**53),
        (LogIntUniform(16, 256, step=16), [16, 256.0]),
        (Choice([1, 2.5]), 1),
        (Constant("a"), "a"),
    ],
)
def test_conditions_that_can_hold(parent: object, condition: object) -> None:
    space = SearchSpace({"parent": parent, "child": {"constant": 1, "when": {"parent": condition}}})
    found = [space.from_unit({"parent": (i + 0.5) / 2000, "child": 0.0}) for i in range(2000)]
    rare = isinstance(parent, IntUniform)
    assert any("child" in values for values in found) or rare


def test_conditions_of_ancestors_count() -> None:
    with pytest.raises(SpaceError, match=r"grandchild: when.solver: .* never holds"):
        SearchSpace(
            solver=Choice(["sgd", "adam"]),
            child=Conditional(Uniform(0, 1), solver="sgd"),
            grandchild=Conditional(Uniform(0, 1), solver="adam", child={"above": 0.5}),
        )


@pytest.mark.parametrize(
    ("dimensions", "words"),
    [
        ({"a": {"constant": 1, "when": {"b": 1}}}, "a: when.b: the space has no such dimension; it has a"),
        ({"a": {"constant": 1, "when": {"a": 1}}}, "a: its condition depends on itself"),
        (
            {
                "a": {"uniform": [0, 1], "when": {"b": {"above": 0}}},
                "b": {"uniform": [0, 1], "when": {"c": {"above": 0}}},
                "c": {"uniform": [0, 1], "when": {"a": {"above": 0}}},
                "d": 1,
            },
            "depends on itself",
        ),
        ({"a": 1, "b": {"constant": 1, "when": {}}}, "b: when: name at least one dimension"),
        ({"a": 1, "b": {"constant": 1, "when": "a"}}, "b: when: give dimensions"),
        ({"a": 1, "b": {"when": {"a": 1}}}, "b: write one of"),
        ({"a": 1, "b": {1: 2, "when": {"a": 1}}}, "b: 1 is not a distribution"),
        ({"a": 1, "b": {"constant": 1, "when": {3: 1}}}, "b: when: give dimensions"),
        ({"a": SearchSpace(b=1)}, "a: write|a: 'b' is not a distribution"),
        ({1: 2}, "the name of a dimension is a text, got 1"),
        ("paper/vit/adamw", "a search space is a mapping"),
        ([], "a search space is a mapping"),
    ],
)
def test_spaces_that_make_no_sense(dimensions: object, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        SearchSpace(dimensions)  # type: ignore[arg-type]


def test_conditions_do_not_nest() -> None:
    with pytest.raises(SpaceError, match="into one Conditional"):
        Conditional(Conditional(1, a=1), b=1)


def test_a_users_distribution_may_be_a_parent() -> None:
    class Square:
        def from_unit(self, unit: float) -> float:
            return unit**2

        def to_config(self) -> dict[str, object]:
            return {"square": None}

    space = SearchSpace(square=Square(), child=Conditional(1, square={"above": 0.25}))
    assert space.from_unit({"square": 0.4, "child": 0.0}) == {"square": pytest.approx(0.16)}
    assert space.from_unit({"square": 0.6, "child": 0.0}) == {"square": pytest.approx(0.36), "child": 1}
    with pytest.raises(SpaceError, match="never holds"):
        SearchSpace(square=Square(), child=Conditional(1, square={"above": 1}))


def test_a_space_moves_to_a_centre() -> None:
    space = SearchSpace(
        solver=Choice(["sgd", "adam"]),
        lr=LogUniform(1e-6, 1.0),
        weight_decay=LogUniform(1e-6, 1.0),
        momentum=Conditional(LogUniform(0.1, 1.0), solver="sgd"),
        label_smoothing=LogUniform(0.001, 10.0),
        width=LogIntUniform(8, 64),
        dropout=LogUniform(0.1, 0.3, step=0.1),
    )
    centre: dict[str, HyperparameterValue] = {
        "lr": 2.0,
        "weight_decay": 0.0,
        "momentum": 0.4,
        "label_smoothing": 0.08,
        "width": 16,
        "dropout": 0.2,
        "solver": "sgd",
        "eps": 1e-8,
    }
    moved = space.around(centre)
    assert dict(moved) == {
        **space,
        "lr": LogUniform(0.25, 8.0),
        "momentum": Conditional(LogUniform(0.1, 1.0), solver="sgd"),
        "label_smoothing": LogUniform(0.01, 0.32),
        "eps": Constant(1e-8),
    }
    assert space.around({}) == space
    with pytest.raises(SpaceError, match="constant: give"):
        space.around({"new": None})  # type: ignore[dict-item]


def test_learning_rate_and_weight_decay_leave_their_intervals() -> None:
    space = SearchSpace(
        lr=LogUniform(1e-4, 1e-3), weight_decay=Conditional(LogUniform(0.1, 0.2), on=True), on=Choice([True, False])
    )
    assert dict(space.around({"lr": 0.8, "weight_decay": 1e-3})) == {
        "lr": LogUniform(0.1, 3.2),
        "weight_decay": Conditional(LogUniform(1.25e-4, 4e-3), on=True),
        "on": Choice([True, False]),
    }


@pytest.mark.parametrize("centre", [0.5001, 0.0999, 0.0, -1, True, "high"])
@pytest.mark.parametrize("conditional", [False, True])
def test_a_centre_outside_an_interval_is_refused(centre: HyperparameterValue, conditional: bool) -> None:
    interval = LogUniform(0.1, 0.5)
    space = SearchSpace(lr=0.1, eps=Conditional(interval, lr=0.1) if conditional else interval)
    with pytest.raises(SpaceError) as caught:
        space.around({"lr": 0.1, "eps": centre})
    assert str(caught.value) == (
        f"eps: the centre {centre!r} lies outside {{'log_uniform': [0.1, 0.5]}}; change one of them"
    )


@given(
    low=st.floats(1e-300, 1e300),
    spread=st.floats(1.001, 1e6),
    where=st.floats(0, 1),
    unit=units,
    rounding=st.sampled_from([1 - 1e-12, 1.0, 1 + 1e-12]),
)
def test_a_narrowed_interval_holds_its_centre_and_stays_in_its_own(
    low: float, spread: float, where: float, unit: float, rounding: float
) -> None:
    high = low * spread
    centre = min(max(low * spread**where, low), high)
    narrowed = SearchSpace(eps=LogUniform(low, high)).around({"eps": centre * rounding}).distribution("eps")
    assert isinstance(narrowed, LogUniform)
    assert low <= narrowed.low <= centre <= narrowed.high <= high
    assert narrowed.low == low or narrowed.low == pytest.approx(centre / 8, rel=1e-9, abs=0)
    assert narrowed.high == high or narrowed.high == pytest.approx(centre * 4, rel=1e-9, abs=0)
    assert low <= narrowed.from_unit(unit) <= high


def test_what_is_out_of_reach_around_a_centre_is_never_active() -> None:
    dimensions = {
        "lr": LogUniform(1e-5, 1.0),
        "momentum": Conditional(Uniform(0.5, 0.99), lr={"at_least": 0.05}),
        "nesterov": Conditional(Choice([True, False]), momentum={"above": 0.8}),
    }
    space = SearchSpace(dimensions)
    moved = space.around({"lr": 1e-3, "momentum": 0.9})
    assert dict(moved) == {**space, "lr": around(1e-3)}
    assert moved.order == space.order
    for unit in (0.0, 0.5, 1 - 2.0**-53):
        assert set(moved.from_unit(dict.fromkeys(space, unit))) == {"lr"}
    assert set(space.around({"lr": 0.1}).from_unit(dict.fromkeys(space, 0.9))) == set(space)
    assert pickle.loads(pickle.dumps(moved)) == moved
    with pytest.raises(SpaceError, match=r"momentum: when.lr: \{'at_least': 0.05\} never holds"):
        SearchSpace({**dimensions, "lr": around(1e-3)})


@given(
    bound=st.sampled_from(["at_least", "at_most", "above", "below"]),
    threshold=st.floats(1e-6, 1.0, exclude_min=True, exclude_max=True),
    centre=st.floats(1e-6, 1.0),
    parent=st.sampled_from(["lr", "eps"]),
    unit=units,
)
def test_a_condition_means_the_same_around_any_centre(
    bound: str, threshold: float, centre: float, parent: str, unit: float
) -> None:
    space = SearchSpace({parent: LogUniform(1e-6, 1.0), "child": Conditional(1, **{parent: {bound: threshold}})})
    values = space.around({parent: centre}).from_unit({parent: unit, "child": 0.0})
    value = float(values[parent])
    expected = {
        "at_least": value >= threshold,
        "at_most": value <= threshold,
        "above": value > threshold,
        "below": value < threshold,
    }
    assert ("child" in values) == expected[bound]


def test_a_space_is_made_around_a_centre() -> None:
    centre: dict[str, HyperparameterValue] = {"lr": 0.1, "weight_decay": 1e-4, "momentum": 0.9, "nesterov": True}
    assert dict(space_around(centre)) == {
        "lr": around(0.1),
        "weight_decay": around(1e-4),
        "momentum": Constant(0.9),
        "nesterov": Constant(True),
    }
    assert space_around({"lr": 0.1, "weight_decay": 0})["weight_decay"] == Constant(0)
    with pytest.raises(SpaceError, match="at least one dimension"):
        space_around({})


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3))
KINDS = ("uniform", "log_uniform", "int_uniform", "log_int_uniform", "choice", "constant", "around")
WORDS = ("step", "when", "centre", "low", "high", "at_least", "below", "a", "b")
keys = st.one_of(st.sampled_from([*KINDS, *WORDS]), st.text(max_size=4), st.integers())
nested = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)), max_leaves=8
)
huge = st.sampled_from([10**400, -(10**5000), 2**53 + 1, 1e308, -1e308, 5e-324, float("nan"), float("inf")])
intervals = st.dictionaries(
    keys, st.one_of(nested, huge, st.lists(st.one_of(plain, huge), min_size=2, max_size=2)), max_size=3
)


@given(st.one_of(nested, intervals))
def test_whatever_is_written_gives_a_distribution_or_a_sentence(config: object) -> None:
    sentence = "read"
    try:
        distribution = parse_distribution(config)
    except SpaceError as error:
        sentence = str(error)
    else:
        for unit in (0.0, 0.5, 1 - 2**-53):
            assert isinstance(distribution.from_unit(unit), float | int | str | bool)
    assert sentence
    assert "\n" not in sentence


@given(st.one_of(plain, st.dictionaries(keys, st.one_of(nested, intervals), max_size=4)))
def test_whatever_is_written_gives_a_space_or_a_sentence(config: object) -> None:
    try:
        space = SearchSpace(config)  # type: ignore[arg-type]
    except SpaceError:
        return
    assert set(space.from_unit(dict.fromkeys(space, 0.5))) <= set(space)
    assert SearchSpace(space.to_config()) == space
