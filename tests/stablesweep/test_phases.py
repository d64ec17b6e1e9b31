"""What a study may say of its phases, centres and samplers, and what it is told where it makes no sense."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import scipy.stats.qmc
import yaml
from hypothesis import given
from hypothesis import strategies as st

import stablesweep as ss
from stablesweep.errors import LedgerError, StudyError
from stablesweep.ledger import write_ledger
from stablesweep.study_file import load_study, make_study
from stablesweep.trials import plan_trials

LR_AND_DECAY = {"lr": {"around": 0.01}, "weight_decay": {"around": 0.1}}
GOOD: dict[str, Any] = {
    "name": "s",
    "dataset": "digits",
    "arms": ["vit_p_micro/adamw", "vit_c_micro/sgd"],
    "space": {**LR_AND_DECAY, "sgd": {"momentum": {"uniform": [0.5, 0.99]}}},
    "phases": {"stability": {"draws": 4, "epochs": 2}},
}
SETTING = {"lr": 0.1, "weight_decay": 0.1}


def edited(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not None}


def phases(**changes: Any) -> dict[str, Any]:
    return edited(phases=changes)


BAD = [
    (phases(stability={"draws": 4, "epochs": 2, "pruning": "median"}), ["stability", "pruning", "EDF", "search"]),
    (phases(stability={"draws": 4, "epochs": 2, "sampler": "tpe"}), ["sampler", "'tpe'", "results of others", "sobol"]),
    (phases(stability={"draws": 4, "epochs": 2, "sampler": "sobl"}), ["phases.stability.sampler", "sobl"]),
    (phases(stability={"epochs": 2}), ["phases.stability", "draws: 64"]),
    (phases(stability={"epochs": 2, "draws": 4, "sampler": "grid"}), ["phases.stability", "points"]),
    (phases(stability={"epochs": 2, "points": 4}), ["phases.stability", "draws"]),
    (phases(stability={"epochs": 2, "sampler": "grid", "points": 0}), ["points", "whole number from 1"]),
    (phases(stability={"epochs": 2, "sampler": "grid", "points": {"lr": 2, "beta": 3}}), ["points.beta", "no arm"]),
    (phases(stability={"epochs": 2, "sampler": "grid", "points": 2000}), ["points", "1,000,000"]),
    (phases(stability={"draws": 4, "epochs": 2, "around": "arm"}), ["stability.around", "no centre", "phase search"]),
    (phases(stability={"draws": 4, "epochs": 2, "reference": 1}), ["stability.reference", "no centre"]),
    (phases(search={"draws": 4, "epochs": 2, "sampler": "tpee"}), ["phases.search.sampler", "tpee", "tpe"]),
    (phases(search={"draws": 4, "epochs": 2, "sampler": {"name": "tpe", "startup": 3}}), ["startup"]),
    (phases(search={"draws": 4, "epochs": 2, "sampler": "sobol"}), ["phases.search.sampler", "sobol"]),
    (phases(search={"draws": 4, "epochs": 2, "sampler": 3}), ["phases.search.sampler", "3"]),
    (phases(search={"draws": 4, "epochs": 2, "pruning": "medan"}), ["search.pruning.rule", "median", "halving"]),
    (phases(search={"draws": 4, "epochs": 2, "pruning": {"rule": "median", "warmup": 2}}), ["warmup", "warmup_epochs"]),
    (
        {**phases(search={"draws": 99, "epochs": 2, "pruning": "median", "at_once": 30}), "pack": {"size": 24}},
        ["phases.search.at_once", "30", "pack of 24"],
    ),
    (
        {
            **phases(search={"draws": 4, "epochs": 2, "pruning": "median"}),
            "space": {**LR_AND_DECAY, "batch_size": {"choice": [1, 2]}},
        },
        ["phases.search.pruning", "batch_size", "out of the space"],
    ),
    (edited(centre={1: 2}), ["centre.1", "string"]),
    (phases(peak={"epochs": 2, "at": {None: 1}}), ["phases.peak.at", "is not the name"]),
    (
        edited(space={**LR_AND_DECAY, "grad_clip": {"choice": ["a"]}, "sgd": {"grad_clip": {"around": 1}}}),
        ["a number", "a text", "space"],
    ),
    ({**phases(search={"draws": 4, "epochs": 2}), "space": {}}, ["space", "missing", "search"]),
    ({**phases(search={"draws": 4, "epochs": 2}), "centre": SETTING}, ["centre", "search finds it"]),
    (phases(length={"epochs": 2}), ["phases.length.at", "no centre is known for the arm vit_p_micro/adamw"]),
    (phases(peak={"epochs": 2}), ["phases.peak.at", "no centre"]),
    (phases(peak={"epochs": 2, "at": "best"}), ["phases.peak.at", "search or stability"]),
    (phases(peak={"epochs": 2, "at": "bets"}), ["phases.peak.at", "'bets'", "centre, best"]),
    (phases(peak={"epochs": 2, "at": {}}), ["phases.peak.at", "no setting"]),
    (edited(centre={"lr": [1]}), ["centre", "lr", "[1]"]),
    (edited(centre={"adam": {"lr": 1}}), ["centre.adam", "no arm"]),
    (edited(centre={**SETTING, "beta3": 1}), ["centre", "vit_p_micro/adamw", "beta3"]),
    (edited(families={"vit": ["vit_q"]}), ["families.vit", "'vit_q'", "vit_p_micro"]),
    (edited(families={"a": ["vit_p_micro"], "b": ["vit_p_micro"]}), ["families", "'vit_p_micro'", "keep it in one"]),
    (edited(space={**LR_AND_DECAY, "adamw": "paper/vit/adam"}), ["space", "paper/vit/adam", "paper/vit/adamw"]),
    (edited(space={**LR_AND_DECAY, "batchsize": {"choice": [1, 2]}}), ["batchsize", "batch_size"]),
    (
        edited(space={"lr": {"around": 0.1}, "weight_decay": {"around": 1, "when": {"lr": {"above": 0.1}}}}),
        ["vit_p_micro/adamw", "weight_decay", "missing"],
    ),
    (edited(space={**LR_AND_DECAY, "grad_clip": {"around": 1, "when": {"solver": "x"}}}), ["grad_clip", "solver"]),
    (edited(trainable="mine"), ["trainable", "'mine'"]),
    (edited(dataset=None), ["dataset", "missing"]),
    (edited(space={**LR_AND_DECAY, "epochs": {"int_uniform": [1, 2]}}), ["space.epochs", "column", "rename"]),
]


@pytest.mark.parametrize(("values", "words"), BAD, ids=[" ".join(words) for _, words in BAD])
def test_a_phase_that_makes_no_sense_gets_one_sentence(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        make_study(values, "study.yaml")
    message = str(caught.value)
    assert message.startswith("study.yaml: ")
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message, message


FULL: dict[str, Any] = {
    **GOOD,
    "families": {"vits": ["vit_p_micro", "vit_c_micro"]},
    "space": {
        "lr": {"log_uniform": [1e-4, 1e-1]},
        "weight_decay": {"around": 0.1},
        "ema_every": {"int_uniform": [1, 4]},
        "label_smoothing": {"uniform": [0.0, 0.3], "step": 0.1},
        "sgd": {
            "momentum": {"uniform": [0.5, 0.99]},
            "nesterov": {"choice": [True, False], "when": {"momentum": {"above": 0.6}}},
        },
        "vit_c_micro/sgd": {"drop_path": {"constant": 0.1}},
    },
    "phases": {
        "search": {
            "draws": 9,
            "epochs": 2,
            "at_once": 3,
            "sampler": {"name": "tpe", "n_startup_trials": 4},
            "pruning": {"rule": "halving", "reduction": 2},
        },
        "stability": {"draws": 8, "epochs": 4, "sampler": "halton", "around": "family", "reference": 3},
        "length": {"epochs": [2, 4]},
        "peak": {"epochs": 8, "seeds": 2},
    },
}


def test_a_study_with_everything_reads_back_as_itself() -> None:
    study = make_study(FULL, "study.yaml")
    # In its own order: a dimension's place decides its coordinates in a Halton sequence.
    again = make_study(yaml.safe_load(yaml.safe_dump(study.to_config(), sort_keys=False)), "study.yaml")
    assert again == study
    assert again.fingerprint() == study.fingerprint()
    assert plan_trials(again) == plan_trials(study)


def test_everything_that_yaml_says_python_says_typed() -> None:
    python = ss.Study(
        name="s",
        dataset=ss.Dataset(name="digits"),
        arms=[ss.Arm(model="vit_p_micro", optimizer="adamw"), ss.Arm(model="vit_c_micro", optimizer="sgd")],
        families=FULL["families"],
        space={
            "lr": ss.LogUniform(1e-4, 1e-1),
            "weight_decay": ss.around(0.1),
            "ema_every": ss.IntUniform(1, 4),
            "label_smoothing": ss.Uniform(0.0, 0.3, step=0.1),
            "sgd": {
                "momentum": ss.Uniform(0.5, 0.99),
                "nesterov": ss.Conditional(ss.Choice([True, False]), momentum={"above": 0.6}),
            },
            "vit_c_micro/sgd": {"drop_path": ss.Constant(0.1)},
        },
        phases=ss.Phases(
            search=ss.SearchPhase(
                draws=9,
                epochs=2,
                at_once=3,
                sampler={"name": "tpe", "n_startup_trials": 4},
                pruning=ss.Pruning(rule="halving", reduction=2),
            ),
            stability=ss.StabilityPhase(draws=8, epochs=4, sampler="halton", around="family", reference=3),
            length=ss.FixedPhase(epochs=[2, 4]),
            peak=ss.FixedPhase(epochs=[8], seeds=2),
        ),
    )
    assert python == make_study(FULL, "study.yaml")


def test_an_optuna_sampler_can_be_given_from_python() -> None:
    sampler = optuna.samplers.TPESampler(seed=3)
    study = make_study(phases(search={"draws": 4, "epochs": 2, "sampler": sampler}), "study.yaml")
    assert {trial.sampler for trial in plan_trials(study)} == {"TPESampler"}
    assert yaml.safe_load(yaml.safe_dump(study.to_config()))["phases"]["search"]["sampler"] == "TPESampler"


@pytest.mark.parametrize(("sampler", "engine"), [("sobol", scipy.stats.qmc.Sobol), ("halton", scipy.stats.qmc.Halton)])
def test_draws_of_a_sequence_are_evener_than_random_ones_and_paired(sampler: str, engine: Any) -> None:
    study = make_study(phases(stability={"draws": 64, "epochs": 2, "sampler": sampler}), "study.yaml")
    points: dict[str, list[tuple[float, float]]] = {}
    for trial in plan_trials(study):
        points.setdefault(trial.arm, []).append((trial.unit["lr"], trial.unit["weight_decay"]))
    first, second = points.values()
    assert first == second
    random = make_study(phases(stability={"draws": 64, "epochs": 2}), "study.yaml")
    drawn = [(t.unit["lr"], t.unit["weight_decay"]) for t in plan_trials(random) if t.optimizer == "adamw"]
    assert scipy.stats.qmc.discrepancy(first) < 0.3 * scipy.stats.qmc.discrepancy(drawn)


@given(st.integers(1, 40), st.integers(0, 40), st.sampled_from(["random", "sobol", "halton"]))
def test_more_draws_and_another_arm_with_a_dimension_of_its_own_change_no_draw(
    draws: int, more: int, sampler: str
) -> None:
    before = make_study(phases(stability={"draws": draws, "epochs": 2, "sampler": sampler}), "study.yaml")
    values = phases(stability={"draws": draws + more, "epochs": 2, "sampler": sampler})
    values["arms"] = [*GOOD["arms"], "vit_c_micro/adamw"]
    values["space"] = {**GOOD["space"], "vit_c_micro/adamw": {"beta1": {"uniform": [0.8, 0.95]}}}
    after = {trial.key: trial for trial in plan_trials(make_study(values, "study.yaml"))}
    assert all(after[trial.key] == trial for trial in plan_trials(before))


def test_a_new_dimension_that_takes_anothers_place_in_a_sequence_is_refused(tmp_path: Path) -> None:
    phase = {"draws": 4, "epochs": 2, "sampler": "sobol"}
    write_ledger(tmp_path / "ledger.parquet", make_study(phases(stability=phase), "study.yaml"))
    first = {**phases(stability=phase), "space": {"grad_clip": {"around": 1.0}, **GOOD["space"]}}
    with pytest.raises(LedgerError, match="list new arms and dimensions after the others, give the study another name"):
        write_ledger(tmp_path / "ledger.parquet", make_study(first, "study.yaml"))


def test_a_grid_has_every_combination_once_in_every_arm() -> None:
    phase = {"epochs": 2, "sampler": "grid", "points": {"lr": 4, "weight_decay": 3, "momentum": 2}}
    trials = plan_trials(make_study(phases(stability=phase), "study.yaml"))
    by_arm: dict[str, set[tuple[Any, ...]]] = {}
    for trial in trials:
        by_arm.setdefault(trial.arm, set()).add(tuple(trial.hyperparameters.items()))
    assert {arm: len(settings) for arm, settings in by_arm.items()} == {"vit_p_micro/adamw": 12, "vit_c_micro/sgd": 24}
    # Cell centres: the interval 0.01/8 .. 0.04 in four parts on a log scale.
    lrs = sorted({float(trial.hyperparameters["lr"]) for trial in trials})
    assert lrs == pytest.approx([0.01 / 8 * 32 ** ((place + 0.5) / 4) for place in range(4)])


PAPER: dict[str, Any] = {
    "name": "s",
    "dataset": "digits",
    "recipe": "paper",
    "arms": ["vit_p_1gf/adamw", "vit_c_1gf/adamw", "vit_p_1gf/sgd"],
}


def test_the_papers_values_are_the_centre_at_the_papers_batch_size() -> None:
    """Table 4: vit_p_1gf 2.0e-3 / 0.20 and vit_c_1gf 2.5e-3 / 0.19 with AdamW, vit_p_1gf 1.9 / 1.3e-5 with SGD."""
    study = make_study({**PAPER, "phases": {"length": {"epochs": [50, 400]}}}, "study.yaml")
    settings = {trial.arm: dict(trial.hyperparameters) for trial in plan_trials(study)}
    assert settings == {
        "vit_p_1gf/adamw": {"lr": 2.0e-3, "weight_decay": 0.20},
        "vit_c_1gf/adamw": {"lr": 2.5e-3, "weight_decay": 0.19},
        "vit_p_1gf/sgd": {"lr": 1.9, "weight_decay": 1.3e-5},
    }
    with pytest.raises(StudyError, match="no centre is known"):
        make_study({**PAPER, "recipe": "plain", "phases": {"length": {"epochs": [50]}}}, "study.yaml")


def test_the_papers_examples_say_what_is_the_default() -> None:
    for name in ("length", "peak"):
        file = f"examples/early_convs_{name}.yaml"
        written = {trial.key: trial for trial in plan_trials(load_study(file))}
        # The paper's EfficientNets have no centre of their own: the example gives them that of the other CNNs.
        arms = [arm for arm in sorted({trial.arm for trial in written.values()}) if "efficientnet" not in arm]
        default = load_study(file, [f"phases.{name}.at=centre", f"arms={arms}"])
        assert len(arms) > 10
        for trial in plan_trials(default):
            assert trial == written[trial.key]


def test_draws_lie_around_the_papers_centre_and_a_reference_at_it() -> None:
    study = make_study({**PAPER, "phases": {"stability": {"draws": 16, "epochs": 50}}}, "study.yaml")
    trials = plan_trials(study)
    assert [trial.hyperparameters["lr"] for trial in trials if trial.phase == "reference"] == [2.5e-3, 2.0e-3, 1.9]
    for trial in trials:
        if trial.phase == "stability" and trial.arm == "vit_c_1gf/adamw":
            assert trial.hyperparameters["lr"] == pytest.approx(2.5e-3 / 8 * 32 ** trial.unit["lr"])


def test_the_papers_spaces_by_name() -> None:
    space = {"adamw": "paper/vit/adamw", "sgd": "paper/vit/sgd"}
    study = make_study({**PAPER, "space": space, "phases": {"stability": {"draws": 4, "epochs": 50}}}, "study.yaml")
    adamw, sgd = (study.space_of(arm) for arm in (study.arms[0], study.arms[2]))
    assert dict(adamw) == {"lr": ss.LogUniform(2.5e-4, 8.0e-3), "weight_decay": ss.LogUniform(0.02, 0.8)}
    assert dict(sgd) == {"lr": ss.LogUniform(0.1, 3.2), "weight_decay": ss.LogUniform(4.0e-6, 1.2e-4)}


def test_a_given_centre_feeds_every_phase() -> None:
    centre = {"adamw": {"lr": 0.004, "weight_decay": 0.1}, "sgd": {"lr": 0.16, "weight_decay": 1e-4, "momentum": 0.8}}
    values = {
        **GOOD,
        "space": None,
        "centre": centre,
        "phases": {
            "stability": {"draws": 3, "epochs": 2},
            "length": {"epochs": [1, 2]},
            "peak": {"epochs": 4, "at": "centre"},
        },
    }
    study = make_study({key: value for key, value in values.items() if value is not None}, "study.yaml")
    trials = plan_trials(study)
    assert all(trial.settled for trial in trials)
    for trial in trials:
        own = centre[trial.optimizer]
        if trial.phase == "stability":
            assert own["lr"] / 8 <= float(trial.hyperparameters["lr"]) <= own["lr"] * 4
            assert trial.hyperparameters.get("momentum") == own.get("momentum")
        else:
            assert dict(trial.hyperparameters) == own


def test_settings_of_a_phase_can_be_set_from_the_command_line() -> None:
    study = load_study("quickstart", ["phases.search={draws: 8, epochs: 2}", "phases.stability.around=arm"])
    assert study.phases.search is not None
    assert study.references == 1
    assert load_study("quickstart", ["phases.stability.sampler=sobol"]).references == 0


def test_whole_numbers_stay_whole_for_a_trainable_of_the_users_own() -> None:
    ss.register_trainable("users", lambda members, context: iter(()))
    values: dict[str, Any] = {
        "name": "s",
        "trainable": "users",
        "arms": ["a/x", "b/x"],
        "phases": {"peak": {"epochs": 1, "at": {"width": 32, "depth": 2, "b/x": {"depth": 2.5}}}},
    }
    for trial in plan_trials(make_study(values, "study.yaml")):
        assert type(trial.hyperparameters["width"]) is int
        # A whole number in one arm and a float in another are one column.
        assert type(trial.hyperparameters["depth"]) is float
    values["phases"]["peak"]["at"] = {"a/x": {"width": 32}}
    with pytest.raises(StudyError, match=r"phases\.peak\.at: it has no value for the arm b/x"):
        make_study(values, "study.yaml")
