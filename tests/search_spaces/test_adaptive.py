import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from search_spaces import Choice, IntUniform, LogUniform, SearchSpace, SpaceError, Uniform
from search_spaces.adaptive import AdaptiveSearch, Told
from search_spaces.conditions import Conditional
from search_spaces.distributions import Constant, LogIntUniform
from search_spaces.values import HyperparameterValue

Setting = Mapping[str, HyperparameterValue]
Evaluate = Callable[[Setting], Told]

NUMBERS = SearchSpace(lr=LogUniform(1e-4, 1.0), weight_decay=LogUniform(1e-6, 1e-2), momentum=Uniform(0.5, 0.99))
MIXED = SearchSpace(
    lr=LogUniform(1e-4, 1.0),
    layers=IntUniform(1, 9),
    width=IntUniform(16, 64, step=16),
    solver=Choice(["sgd", "adamw"]),
)
CONDITIONAL = SearchSpace(
    momentum=Conditional(Uniform(0.5, 0.95, step=0.05), solver="sgd"),
    solver=Choice(["sgd", "adamw"]),
    nesterov=Conditional(Choice([True, False]), momentum={"at_least": 0.7}),
    lr=LogUniform(1e-4, 1.0),
    warmup=LogIntUniform(1, 100),
    clip=LogUniform(0.1, 1.0, step=0.1),
    layers=IntUniform(1, 9),
    eps=Constant(1e-8),
)
# The smallest starts and populations, so that thirty trials reach what is special about each sampler.
SAMPLERS: dict[str, Mapping[str, Any]] = {
    "tpe": {"name": "tpe", "n_startup_trials": 5},
    "random": {"name": "random"},
    "cmaes": {"name": "cmaes", "popsize": 4},
    "nsgaii": {"name": "nsgaii", "population_size": 4},
    "qmc": {"name": "qmc", "scramble": True},
}
# Genetic algorithms keep parents; Optuna's quasi-random sampler begins again where a condition changes the space.
NEVER_REPEAT = ("tpe", "random", "cmaes")


def error_of(setting: Setting) -> float:
    """A bowl around lr = 0.01, percent."""
    return 10 * abs(math.log10(float(setting["lr"])) + 2) + sum(
        abs(float(value)) for name, value in setting.items() if name != "lr" and not isinstance(value, str)
    )


def completed(setting: Setting) -> Told:
    return Told(status="completed", error=error_of(setting), curve=(90.0, error_of(setting)))


def mishaps(setting: Setting) -> Told:
    """Some settings diverge, some are pruned, some crash, some are lost; which ones follows from the setting."""
    error, kind = error_of(setting), int(float(setting["lr"]) * 1e9) % 8
    return {
        0: Told(status="diverged", curve=(90.0, math.inf, math.nan)),
        1: Told(status="pruned", curve=(error + 5, error + 2)),
        2: Told(status="failed"),
        3: Told(status="lost", curve=(error,)),
    }.get(kind, completed(setting))


def search(
    space: SearchSpace,
    sampler: Any,
    *,
    trials: int,
    batch: int,
    recorded: Sequence[Setting] = (),
    evaluate: Evaluate = mishaps,
    seed: int = 3,
) -> list[dict[str, HyperparameterValue]]:
    """A whole search, the first batches led through ``recorded``."""
    adaptive, done = AdaptiveSearch(space, sampler, seed=seed), list[dict[str, HyperparameterValue]]()
    while len(done) < trials:
        count = min(batch, trials - len(done))
        known = recorded[len(done) : len(done) + count]
        asked = adaptive.ask(count, known if len(known) == count else None)
        adaptive.tell([evaluate(setting) for setting in asked])
        done += asked
    return done


def distinct(done: Sequence[Setting]) -> bool:
    return len({tuple(setting.items()) for setting in done}) == len(done)


def plain_optuna(sampler: BaseSampler, trials: int) -> list[dict[str, HyperparameterValue]]:
    """What a user of Optuna would write for ``MIXED``."""
    done = []
    study = optuna.create_study(sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        setting: dict[str, HyperparameterValue] = {
            "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
            "layers": trial.suggest_int("layers", 1, 9),
            "width": trial.suggest_int("width", 16, 64, step=16),
            "solver": trial.suggest_categorical("solver", ["sgd", "adamw"]),
        }
        study.tell(trial, error_of(setting))
        done.append(setting)
    return done


HALTON: dict[str, Any] = {"qmc_type": "halton", "scramble": True}


@pytest.mark.filterwarnings("ignore")  # Optuna's own about an experimental sampler
@pytest.mark.parametrize(
    ("sampler", "make", "trials"),
    [
        ("tpe", partial(TPESampler, seed=3), 40),
        ("random", partial(RandomSampler, seed=3), 40),
        ("cmaes", partial(CmaEsSampler, seed=3), 40),
        ({"name": "gp", "n_startup_trials": 5}, partial(GPSampler, n_startup_trials=5, seed=3), 8),
        ({"name": "nsgaii", "population_size": 6}, partial(NSGAIISampler, population_size=6, seed=3), 40),
        ({"name": "QMC", **HALTON}, partial(QMCSampler, **HALTON, seed=3), 40),
        ({"name": "tpe", "seed": 8}, partial(TPESampler, seed=8), 15),
        (TPESampler(seed=9), partial(TPESampler, seed=9), 15),
    ],
)
def test_one_at_a_time_is_a_plain_optuna_loop(sampler: Any, make: Callable[[], BaseSampler], trials: int) -> None:
    assert search(MIXED, sampler, trials=trials, batch=1, evaluate=completed) == plain_optuna(make(), trials)


@pytest.mark.parametrize("space", [NUMBERS, CONDITIONAL], ids=["numbers", "conditional"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_goes_on_after_any_batch_as_if_never_stopped(sampler: str, space: SearchSpace) -> None:
    whole = search(space, SAMPLERS[sampler], trials=30, batch=4)
    assert distinct(whole) or sampler not in NEVER_REPEAT

    @settings(max_examples=8, database=None)
    @given(st.integers(0, 8))
    def stopped_after(batches: int) -> None:
        again = search(space, SAMPLERS[sampler], trials=30, batch=4, recorded=whole[: batches * 4])
        assert [list(setting.items()) for setting in again] == [list(setting.items()) for setting in whole]

    stopped_after()


def test_a_gaussian_process_goes_on_too() -> None:
    sampler = {"name": "gp", "n_startup_trials": 4}
    whole = search(NUMBERS, sampler, trials=12, batch=3)
    for batches in (1, 3):
        assert search(NUMBERS, sampler, trials=12, batch=3, recorded=whole[: 3 * batches]) == whole
    assert distinct(whole)


def test_another_process_suggests_the_same() -> None:
    # The order of Python's sets of texts changes from process to process.
    script = (
        "import json, sys; sys.path[:0] = sys.argv[1:]; import test_adaptive as t;"
        "print(json.dumps([t.search(t.CONDITIONAL, s, trials=20, batch=4) for s in t.SAMPLERS.values()]))"
    )
    here = Path(__file__).parent
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script, str(here.parents[1]), str(here)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert json.loads(outputs[0]) == json.loads(outputs[1])
    assert json.loads(outputs[0])[0] == search(CONDITIONAL, SAMPLERS["tpe"], trials=20, batch=4)


@pytest.mark.parametrize("space", [NUMBERS, CONDITIONAL], ids=["numbers", "conditional"])
@pytest.mark.parametrize("sampler", NEVER_REPEAT)
@settings(max_examples=5)
@given(changed=st.integers(0, 15), error=st.floats(0, 100))
def test_a_changed_result_repeats_nothing(sampler: str, space: SearchSpace, changed: int, error: float) -> None:
    whole = search(space, SAMPLERS[sampler], trials=16, batch=4)

    def corrected(setting: Setting) -> Told:
        return Told(status="completed", error=error) if setting == whole[changed] else mishaps(setting)

    longer = search(space, SAMPLERS[sampler], trials=32, batch=4, recorded=whole, evaluate=corrected)
    assert longer[:16] == whole
    assert distinct(longer)


class Watched(RandomSampler):
    """A random sampler that lets a test see Optuna's study."""

    studies: ClassVar[list[optuna.Study]] = []

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        self.studies.append(study)


def watched_study(
    space: SearchSpace, results: Sequence[Told], recorded: Sequence[Setting] | None = None
) -> optuna.Study:
    """Optuna's study after one batch."""
    adaptive = AdaptiveSearch(space, Watched(seed=0), seed=0)
    adaptive.ask(len(results), recorded)
    adaptive.tell(results)
    return Watched.studies[-1]


def test_every_end_of_a_trial_reaches_optuna() -> None:
    trials = watched_study(
        NUMBERS,
        [
            Told(status="completed", error=12.5, curve=(80.0, math.nan, 12.5)),
            Told(status="diverged", curve=(90.0, math.inf)),
            Told(status="pruned", curve=(70.0, 60.0)),
            Told(status="pruned"),
            Told(status="failed", curve=(99.0,)),
            Told(status="lost"),
            Told(status="completed", error=math.nan),
            Told(status="completed", error=250.0, curve=(250.0,)),
        ],
    ).trials
    complete, pruned, failed = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    assert [(trial.state, trial.value) for trial in trials] == [
        (complete, 12.5),
        (complete, 250.0),
        (pruned, 60.0),
        (pruned, None),
        (failed, None),
        (failed, None),
        (complete, 250.0),
        (complete, 250.0),
    ]
    assert [trial.intermediate_values for trial in trials[:5]] == [
        {1: 80.0, 3: 12.5},
        {1: 90.0},
        {1: 70.0, 2: 60.0},
        {},
        {1: 99.0},
    ]


def test_a_diverged_trial_is_worse_than_chance() -> None:
    told = [Told(status="completed", error=3.0), Told(status="diverged")]
    assert [trial.value for trial in watched_study(NUMBERS, told).trials] == [3.0, 100.0]


def test_what_has_one_value_is_not_suggested() -> None:
    space = SearchSpace(lr=LogUniform(0.1, 1.0), eps=Constant(1e-8), solver=Choice(["sgd"]))
    study = watched_study(space, [Told(status="failed")])
    assert list(study.trials[0].params) == ["lr"]
    assert list(search(space, "tpe", trials=1, batch=1)[0].items())[1:] == [("eps", 1e-8), ("solver", "sgd")]


def test_recorded_settings_become_optunas_history() -> None:
    # As after another version of Optuna: nothing recorded is what this sampler suggests.
    recorded = search(CONDITIONAL, "random", trials=40, batch=40, seed=99)
    study = watched_study(CONDITIONAL, [completed(setting) for setting in recorded], recorded)
    assert len(study.trials) == 40
    for trial, setting in zip(study.trials, recorded, strict=True):
        assert trial.value == error_of(setting)
        mapped = {name: CONDITIONAL.distribution(name).from_unit(trial.params[name]) for name in ("warmup", "clip")}
        expected = {name: value for name, value in setting.items() if name != "eps"}
        assert {name: pytest.approx(value) for name, value in {**trial.params, **mapped}.items()} == expected
        assert (mapped["warmup"], mapped["clip"]) == (setting["warmup"], setting["clip"])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_settings_are_what_the_space_gives(sampler: str) -> None:
    momenta = {CONDITIONAL.distribution("momentum").from_unit((i + 0.5) / 10) for i in range(10)}
    clips = {round(0.1 * i, 1) for i in range(1, 11)}
    kinds = {
        "solver": str,
        "momentum": float,
        "nesterov": bool,
        "lr": float,
        "warmup": int,
        "clip": float,
        "layers": int,
    }
    done = search(CONDITIONAL, SAMPLERS[sampler], trials=40, batch=4)
    for setting in done:
        active = {name for name in CONDITIONAL if CONDITIONAL.is_active(name, setting)}
        assert list(setting) == [name for name in CONDITIONAL if name in active]
        assert {name: type(value) for name, value in setting.items()} == {
            name: kind for name, kind in {**kinds, "eps": float}.items() if name in active
        }
        assert setting.get("momentum", 0.5) in momenta
        assert setting["clip"] in clips
        assert 1 <= int(setting["warmup"]) <= 100
        assert 1e-4 <= float(setting["lr"]) <= 1.0
    assert {len(setting) for setting in done} == {6, 7, 8}


def test_results_steer_the_search() -> None:
    batches = {
        name: search(NUMBERS, name, trials=60, batch=4, evaluate=completed)[-20:] for name in ("tpe", "cmaes", "random")
    }
    mean = {name: sum(map(error_of, batch)) / 20 for name, batch in batches.items()}
    assert mean["tpe"] < mean["random"] / 2
    assert mean["cmaes"] < mean["random"] / 2


@dataclass(frozen=True)
class Words:
    """A user's distribution of texts."""

    def from_unit(self, unit: float) -> str:
        return "low" if unit < 0.3 else "middle" if unit < 0.9 else "high"

    def to_config(self) -> dict[str, Any]:
        return {"words": None}


@dataclass(frozen=True)
class Cubic:
    """A user's distribution of numbers."""

    def from_unit(self, unit: float) -> float:
        return (2 * unit - 1) ** 3

    def to_config(self) -> dict[str, Any]:
        return {"cubic": None}


@dataclass(frozen=True)
class Steps:
    """A user's distribution of numbers in no order."""

    def from_unit(self, unit: float) -> int:
        return (256, 64, 128)[int(unit * 3)]

    def to_config(self) -> dict[str, Any]:
        return {"steps": None}


@settings(max_examples=15)
@given(st.integers(0, 2**31 - 1))
def test_a_users_distribution_is_searched_and_recorded(seed: int) -> None:
    space = SearchSpace(lr=LogUniform(1e-4, 1.0), size=Words(), shift=Cubic(), batch=Steps())
    done = search(space, SAMPLERS["tpe"], trials=12, batch=4, seed=seed)
    assert {setting["size"] for setting in done} <= {"low", "middle", "high"}
    assert search(space, SAMPLERS["tpe"], trials=16, batch=4, seed=seed, recorded=done)[:12] == done
    study = watched_study(space, [completed(setting) for setting in done], done)
    for trial, setting in zip(study.trials, done, strict=True):
        assert Steps().from_unit(trial.params["batch"]) == setting["batch"]
        assert Words().from_unit(trial.params["size"]) == setting["size"]
        assert Cubic().from_unit(trial.params["shift"]) == pytest.approx(setting["shift"], abs=1e-12)


@pytest.mark.parametrize("batch", [1, 4])
def test_brute_force_visits_everything_once_and_then_goes_on(batch: int) -> None:
    space = SearchSpace(
        solver=Choice(["sgd", "adamw"]), layers=IntUniform(1, 3), momentum=Conditional(Choice([0.8, 0.9]), solver="sgd")
    )
    done = search(space, "brute-force", trials=12, batch=batch, evaluate=lambda _: Told(status="failed"))
    assert distinct(done[:9])
    assert (
        search(
            space, "brute_force", trials=12, batch=batch, recorded=done[:8], evaluate=lambda _: Told(status="failed")
        )
        == done
    )


def test_a_sampler_object_is_copied() -> None:
    sampler = TPESampler(seed=4)
    first, second = (search(NUMBERS, sampler, trials=12, batch=4) for _ in range(2))
    assert first == second == search(NUMBERS, {"name": "tpe", "seed": 4}, trials=12, batch=4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_optuna_stays_silent(sampler: str, capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings(action="error"):
        search(CONDITIONAL, {**SAMPLERS[sampler]}, trials=16, batch=4)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr() == ("", "")


def test_batches_are_asked_and_told_in_turn() -> None:
    adaptive = AdaptiveSearch(NUMBERS, "random", seed=0)
    adaptive.ask(2)
    with pytest.raises(SpaceError, match="2 settings of the last batch have no result"):
        adaptive.ask(1)
    with pytest.raises(SpaceError, match="1 results for 2 asked settings"):
        adaptive.tell([Told(status="failed")])
    adaptive.tell([Told(status="failed")] * 2)
    with pytest.raises(SpaceError, match="2 results for 0 asked"):
        adaptive.tell([Told(status="failed")] * 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 3.0}, "lr: the recorded 3.0 is not in this space"),
        ({"lr": "0.1"}, "lr: the recorded '0.1' is not in this space"),
        ({"solver": "lars"}, "solver: the recorded 'lars'"),
        ({"nesterov": 1}, "nesterov: the recorded 1"),
        ({"warmup": 200}, "warmup: the recorded 200"),
        ({"clip": 0.55}, "clip: the recorded 0.55"),
        ({"size": "huge"}, "size: the recorded 'huge'"),
        ({"eps": 1e-6}, "eps: the recorded 1e-06"),
    ],
)
def test_a_record_of_another_space_is_refused(changes: dict[str, Any], words: str) -> None:
    space = SearchSpace({**CONDITIONAL, "size": Words()})
    setting = {"momentum": 0.9, "solver": "sgd", "nesterov": True, "lr": 0.1, "warmup": 5, "clip": 0.5, "layers": 3}
    recorded: dict[str, Any] = {**setting, "eps": 1e-8, "size": "low"}
    adaptive = AdaptiveSearch(space, "random", seed=0)
    with pytest.raises(SpaceError, match=r".+") as error:
        adaptive.ask(1, [{**recorded, **changes}])
    assert words in str(error.value)
    with pytest.raises(SpaceError, match="a recorded setting has no clip"):
        adaptive.ask(1, [{name: value for name, value in recorded.items() if name != "clip"}])
    with pytest.raises(SpaceError, match="2 settings asked but 1 recorded"):
        adaptive.ask(2, [recorded])
    assert adaptive.ask(1, [recorded]) == [recorded]


def test_a_failing_sampler_is_one_sentence() -> None:
    with pytest.raises(SpaceError, match=r"the sampler fails with TypeError: .*; check its arguments"):
        search(NUMBERS, {"name": "tpe", "gamma": 3, "n_startup_trials": 2}, trials=8, batch=1)
    with pytest.raises(SpaceError, match="brute_force: lr is no list of values"):
        AdaptiveSearch(NUMBERS, "brute_force", seed=0)
