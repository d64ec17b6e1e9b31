import sys
from typing import Any

import pytest
from optuna.samplers import TPESampler

from search_spaces import LogUniform, SearchSpace, SpaceError, Uniform
from search_spaces.adaptive import AdaptiveSearch, Told
from search_spaces.optuna_samplers import adaptive_sampler_names, make_sampler, require_sampler


@pytest.mark.parametrize("name", [*adaptive_sampler_names(), "TPE", "CMA-ES", "NSGA_II", "BruteForce"])
def test_every_name_is_taken(name: str) -> None:
    require_sampler(name)
    require_sampler({"name": name, "seed": 2**32 - 1})


@pytest.mark.parametrize("name", [name for name in adaptive_sampler_names() if name != "brute_force"])
def test_every_sampler_searches(name: str) -> None:
    space = SearchSpace(lr=LogUniform(1e-4, 1.0), momentum=Uniform(0.5, 0.99))
    adaptive = AdaptiveSearch(space, name, seed=2**40 + 1)
    asked = []
    for _ in range(4):
        batch = adaptive.ask(3)
        adaptive.tell([Told(status="completed", error=float(setting["lr"])) for setting in batch])
        asked += batch
    assert len({setting["lr"] for setting in asked}) == 12


def test_options_reach_the_constructor() -> None:
    space = SearchSpace(lr=LogUniform(1e-4, 1.0))
    learning, starting = (AdaptiveSearch(space, {"name": "tpe", "n_startup_trials": n}, seed=0) for n in (1, 1000))
    lowest = []
    for adaptive in (learning, starting):
        for _ in range(40):
            (setting,) = adaptive.ask(1)
            adaptive.tell([Told(status="completed", error=float(setting["lr"]))])
        lowest.append(float(setting["lr"]))
    assert lowest[0] < 3e-4 < lowest[1]


def test_a_sampler_object_is_taken() -> None:
    sampler = TPESampler(seed=1)
    require_sampler(sampler)
    assert isinstance(made := make_sampler(sampler, seed=0), TPESampler)
    assert made is not sampler


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("tep", "'tep' is no adaptive sampler; did you mean 'tpe'? Known are tpe, gp, cmaes"),
        ("bruteforse", "did you mean 'brute_force'"),
        (3, "give one of tpe"),
        ({"n_startup_trials": 3}, "give one of tpe"),
        (
            {"name": "tpe", "n_startup_trails": 3},
            "takes no argument 'n_startup_trails'; did you mean 'n_startup_trials'",
        ),
        ({"name": "tpe", 3: 3}, "takes no argument 3"),
        ({"name": "tpe", "n_startup_trials": "3"}, "n_startup_trials must be int, got '3'"),
        ({"name": "tpe", "constant_liar": 1}, "constant_liar must be bool, got 1"),
        ({"name": "nsgaii", "population_size": 1}, "greater than or equal to 2"),
        ({"name": "qmc", "qmc_type": "faure"}, "faure"),
        ({"name": "random", "seed": -1}, "seed must be from 0"),
        ({"name": "random", "seed": "x"}, "seed must be int"),
    ],
)
def test_bad_samplers_say_what_to_change(sampler: Any, words: str) -> None:
    with pytest.raises(SpaceError, match=r".+") as error:
        require_sampler(sampler)
    assert words in str(error.value)


def test_a_missing_package_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)  # as Python notes a package that must not be imported
    with pytest.raises(SpaceError, match="sampler cmaes needs cmaes, which is not installed; run: pip install cmaes"):
        require_sampler("cmaes")
    require_sampler("tpe")
