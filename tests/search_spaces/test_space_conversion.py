import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from ray import tune
from ray.tune.search.sample import Categorical
from scipy import stats

from search_spaces import (
    Choice,
    Conditional,
    Constant,
    Distribution,
    IntUniform,
    LogIntUniform,
    LogUniform,
    SearchSpace,
    SpaceError,
    Uniform,
    from_optuna,
    from_ray_tune,
    optuna_distribution,
    to_optuna,
    to_ray_tune,
)

NUM_SAMPLES = 2000

CONTINUOUS = {"uniform": Uniform(-1.0, 2.0), "log_uniform": LogUniform(1e-5, 1e-1)}
WHOLE = {"int": IntUniform(3, 11), "int_step": IntUniform(16, 96, step=16), "large": IntUniform(0, 2**40)}
NAMED = {"text": Choice(["a", "b", "c"]), "numbers": Choice([3, 1, 2]), "truth": Choice([True, False])}
CONSTANT = {"momentum": Constant(0.9), "solver": Constant("sgd"), "nesterov": Constant(True), "depth": Constant(12)}
RAY_ONLY = {
    "log_int": LogIntUniform(1, 20),
    "log_int_step": LogIntUniform(16, 256, step=16),
    "log_step": LogUniform(0.1, 1.0, step=0.1),
}
OPTUNA_ONLY = {"float_step": Uniform(0.0, 0.3, step=0.05), "int_offset": IntUniform(5, 26, step=7)}

RAY_SPACE = SearchSpace({**CONTINUOUS, **WHOLE, **NAMED, **CONSTANT, **RAY_ONLY})
OPTUNA_SPACE = SearchSpace({**CONTINUOUS, **WHOLE, **NAMED, **CONSTANT, **OPTUNA_ONLY})


class PowerLaw:
    def from_unit(self, unit: float) -> float:
        return unit**2

    def to_config(self) -> dict[str, Any]:
        return {"power": 2}


def ray_samples(param_space: Mapping[str, Any], name: str) -> list[Any]:
    domain, generator = param_space[name], np.random.default_rng(5)
    if not hasattr(domain, "sample"):
        return [domain] * NUM_SAMPLES
    # One by one, as Tune does; several at once come as numpy's types.
    return [domain.sample(random_state=generator) for _ in range(NUM_SAMPLES)]


@pytest.fixture(scope="module")
def optuna_samples() -> dict[str, list[Any]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler, study = optuna.samplers.RandomSampler(seed=5), optuna.create_study()
    study.ask()
    (trial,) = study.get_trials()
    return {
        name: [sampler.sample_independent(study, trial, name, distribution) for _ in range(NUM_SAMPLES)]
        for name, distribution in to_optuna(OPTUNA_SPACE).items()
    }


def check_same_law(distribution: Distribution, samples: list[Any]) -> None:
    """Samples lie in the set of ``from_unit`` and are distributed as its values are."""
    grid = [distribution.from_unit((i + 0.5) / 20_000) for i in range(20_000)]
    assert {type(value) for value in samples} == {type(grid[0])}
    if isinstance(distribution, Choice | Constant) or len(set(grid)) < 100:
        expected, found = Counter(map(rounded, grid)), Counter(map(rounded, samples))
        assert set(found) == set(expected)
        counts = [found[value] for value in expected]
        shares = np.array(list(expected.values())) / len(grid)
        assert len(counts) == 1 or stats.chisquare(counts, shares * len(samples)).pvalue > 0.01
    else:
        assert distribution.from_unit(0.0) <= min(samples)
        assert max(samples) <= distribution.from_unit(1 - 2**-53)
        assert stats.ks_2samp(samples, grid).pvalue > 0.01


def rounded(value: Any) -> Any:
    return round(value, 12) if isinstance(value, float) else value


@pytest.mark.parametrize("name", RAY_SPACE)
def test_ray_tune_draws_from_the_same_law(name: str) -> None:
    check_same_law(RAY_SPACE[name], ray_samples(to_ray_tune(RAY_SPACE), name))


@pytest.mark.parametrize("name", OPTUNA_SPACE)
def test_optuna_draws_from_the_same_law(name: str, optuna_samples: dict[str, list[Any]]) -> None:
    check_same_law(OPTUNA_SPACE[name], optuna_samples[name])


def test_the_comparison_of_laws_tells_laws_apart() -> None:
    # Optuna's log-scaled integers and Ray's quniform, which are refused for their law.
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError):
        check_same_law(Uniform(0.0, 0.3, step=0.05), ray_samples({"x": tune.quniform(0.0, 0.3, 0.05)}, "x"))
    nearest = np.round(np.exp(rng.uniform(math.log(0.5), math.log(20.5), 2000))).astype(int)
    with pytest.raises(AssertionError):
        check_same_law(LogIntUniform(1, 20), [int(value) for value in nearest])
    with pytest.raises(AssertionError):
        check_same_law(LogUniform(1e-5, 1e-1), rng.uniform(1e-5, 1e-1, 2000).tolist())


def test_ray_tune_and_back() -> None:
    assert from_ray_tune(to_ray_tune(RAY_SPACE)) == RAY_SPACE
    assert list(to_ray_tune(RAY_SPACE)) == list(RAY_SPACE)


def test_optuna_and_back() -> None:
    assert from_optuna(to_optuna(OPTUNA_SPACE)) == OPTUNA_SPACE
    assert list(to_optuna(OPTUNA_SPACE)) == list(OPTUNA_SPACE)


numbers = st.floats(1e-9, 1e6, allow_subnormal=False)
whole = st.integers(1, 10**6)
shared: st.SearchStrategy[Distribution] = st.one_of(
    st.builds(lambda low, width: Uniform(low, low + width), numbers, st.floats(1e-3, 1e6)),
    st.builds(lambda low, factor: LogUniform(low, low * factor), numbers, st.floats(1.001, 1e6)),
    st.builds(lambda first, steps, step: IntUniform(first * step, (first + steps) * step, step), whole, whole, whole),
    st.lists(st.text(max_size=5), min_size=2, max_size=6, unique=True).map(Choice),
    st.lists(numbers, min_size=2, max_size=6, unique=True).map(Choice),
    st.one_of(numbers, whole, st.text(max_size=5), st.booleans()).map(Constant),
)
of_ray: st.SearchStrategy[Distribution] = st.one_of(
    shared,
    st.builds(
        lambda first, steps, step: LogIntUniform(first * step, (first + steps) * step, step), whole, whole, whole
    ),
    st.builds(
        lambda first, steps, step: LogUniform(first * step, (first + steps) * step, step),
        st.integers(1, 99),
        st.integers(1, 999),
        st.sampled_from([0.25, 1.0, 8.0]),
    ),
)
of_optuna: st.SearchStrategy[Distribution] = st.one_of(
    shared,
    st.builds(
        lambda low, steps, step: Uniform(low, low + steps * step, step),
        st.integers(-99, 99),
        st.integers(1, 999),
        st.sampled_from([0.25, 1.0, 8.0]),
    ),
    st.builds(lambda low, steps, step: IntUniform(low, low + steps * step, step), st.integers(-99, 99), whole, whole),
)


def spaces(distributions: st.SearchStrategy[Distribution]) -> st.SearchStrategy[SearchSpace]:
    return st.dictionaries(st.text(min_size=1, max_size=4), distributions, min_size=1, max_size=4).map(SearchSpace)


@given(spaces(of_ray))
def test_every_space_for_ray_tune_comes_back(space: SearchSpace) -> None:
    assert from_ray_tune(to_ray_tune(space)) == space


@given(spaces(of_optuna))
def test_every_space_for_optuna_comes_back(space: SearchSpace) -> None:
    with warnings.catch_warnings():
        # Optuna warns where it moves the upper end; then the spaces would differ.
        warnings.simplefilter("error")
        assert from_optuna(to_optuna(space)) == space


def test_upper_bounds_are_inclusive_or_exclusive_as_the_library_has_them() -> None:
    rays = to_ray_tune(SearchSpace(one=IntUniform(1, 4), two=IntUniform(2, 8, step=2), log=LogIntUniform(1, 4)))
    assert {name: set(ray_samples(rays, name)) for name in rays} == {
        "one": {1, 2, 3, 4},
        "two": {2, 4, 6, 8},
        "log": {1, 2, 3, 4},
    }
    assert optuna_distribution(IntUniform(2, 8, step=2)) == IntDistribution(2, 8, step=2)
    assert optuna_distribution(LogUniform(0.1, 1.0)) == FloatDistribution(0.1, 1.0, log=True)


@pytest.mark.parametrize(
    ("domain", "distribution"),
    [
        (tune.randint(3, 9), IntUniform(3, 8)),
        (tune.randint(3, 4), Constant(3)),
        (tune.qrandint(3, 9, 1), IntUniform(3, 8)),
        (tune.qrandint(3, 10, 4), IntUniform(4, 8, step=4)),
        (tune.qrandint(3, 7, 4), Constant(4)),
        (tune.lograndint(1, 9), LogIntUniform(1, 8)),
        (tune.qlograndint(5, 64, 16), LogIntUniform(16, 64, step=16)),
        (tune.qloguniform(0.1, 1.0, 0.1), LogUniform(0.1, 1.0, step=0.1)),
        (tune.loguniform(1, 10), LogUniform(1.0, 10.0)),
        (tune.choice([1]), Choice([1])),
        (0.9, Constant(0.9)),
    ],
)
def test_spaces_of_ray_tune(domain: Any, distribution: Distribution) -> None:
    assert from_ray_tune({"x": domain}) == SearchSpace(x=distribution)
    check_same_law(distribution, ray_samples({"x": domain}, "x"))


@pytest.mark.parametrize(
    ("given", "distribution"),
    [
        (FloatDistribution(0, 1), Uniform(0.0, 1.0)),
        (FloatDistribution(2, 2), Constant(2.0)),
        (IntDistribution(2, 2, log=True), Constant(2)),
        (IntDistribution(1, 9, step=4), IntUniform(1, 9, step=4)),
        (CategoricalDistribution(["a"]), Constant("a")),
        (CategoricalDistribution([1, 2]), Choice([1, 2])),
    ],
)
def test_spaces_of_optuna(given: BaseDistribution, distribution: Distribution) -> None:
    assert from_optuna({"x": given}) == SearchSpace(x=distribution)


@pytest.mark.parametrize(
    ("convert", "words"),
    [
        (lambda: to_ray_tune(SearchSpace(a=1, x=Conditional(1, a=1))), "x: Ray Tune cannot switch"),
        (lambda: to_optuna(SearchSpace(a=1, x=Conditional(1, a=1))), "x: Optuna cannot switch"),
        (lambda: to_ray_tune(SearchSpace(x=PowerLaw())), "x: Ray Tune knows no PowerLaw"),
        (lambda: to_optuna(SearchSpace(x=PowerLaw())), "x: Optuna knows no PowerLaw"),
        (lambda: to_ray_tune(SearchSpace(x=Uniform(0, 1, step=0.5))), "x: Ray's quniform"),
        (lambda: to_ray_tune(SearchSpace(x=IntUniform(1, 9, step=4))), "x: .* low 1 is none of 4"),
        (lambda: to_ray_tune(SearchSpace(x=LogIntUniform(1, 9, step=4))), "x: .* low 1 is none of 4"),
        (lambda: to_ray_tune(SearchSpace(x=LogUniform(0.15, 0.35, step=0.1))), "x: .* low 0.15 is none of 0.1"),
        (lambda: to_optuna(SearchSpace(x=LogUniform(1, 2, step=0.5))), "x: Optuna takes no step"),
        (lambda: to_optuna(SearchSpace(x=LogIntUniform(1, 8))), "x: Optuna draws log-scaled integers"),
        (lambda: from_ray_tune({"x": tune.quniform(0, 1, 0.25)}), r"x: .* write Uniform\(0.0, 1.0, step=0.25\)"),
        (lambda: from_ray_tune({"x": tune.randn(0, 1)}), "x: a normal distribution"),
        (lambda: from_ray_tune({"x": tune.qrandn(0, 1, 0.1)}), "x: a normal distribution"),
        (lambda: from_ray_tune({"x": tune.sample_from(lambda config: 1)}), "x: sample_from is code"),
        (lambda: from_ray_tune({"x": tune.grid_search([1, 2])}), "x: grid_search"),
        (lambda: from_ray_tune({"x": Categorical([1, 2]).grid()}), "x: a grid"),  # type: ignore[no-untyped-call]
        (lambda: from_ray_tune({"x": {"y": tune.uniform(0, 1)}}), "x: a nested space"),
        (lambda: from_ray_tune({"x": tune.choice([1, None])}), "x: choice"),
        (lambda: from_ray_tune({"x": tune.randint(0.5, 3)}), "x: the bounds of an integer"),  # type: ignore[arg-type]
        (lambda: from_ray_tune({"x": tune.qrandint(5, 7, 4)}), "x: int_uniform: low 8 is not below high 4"),
        (lambda: from_ray_tune({"x": [1, 2]}), "x: .* is neither a value"),
        (lambda: from_ray_tune([tune.uniform(0, 1)]), "a space of Ray Tune is a mapping"),  # type: ignore[arg-type]
        (lambda: from_ray_tune({}), "at least one dimension"),
        (lambda: from_optuna({"x": IntDistribution(1, 8, log=True)}), r"x: .* write LogIntUniform\(1, 8\)"),
        (lambda: from_optuna({"x": CategoricalDistribution([None, 1])}), "x: choice"),
        (lambda: from_optuna({"x": CategoricalDistribution([None])}), "x: constant"),
        (lambda: from_optuna({"x": tune.uniform(0, 1)}), "x: .* is none of Optuna's"),
        (lambda: from_optuna({"x": FloatDistribution(0, math.inf)}), "x: uniform: the bounds"),
    ],
)
def test_what_has_no_exact_counterpart_is_one_sentence(convert: Callable[[], object], words: str) -> None:
    with pytest.raises(SpaceError, match=words) as error:
        convert()
    assert "\n" not in str(error.value)
