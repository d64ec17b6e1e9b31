"""What a plan warns of and notes, and what it does not."""

import math
import os
from pathlib import Path
from typing import Any

import pytest

import stablesweep as ss
from stablesweep.home import Home
from stablesweep.plan import make_plan
from stablesweep.plan_text import render_plan

AROUND: dict[str, Any] = {"lr": {"around": 1e-2}, "weight_decay": {"around": 1e-4}}
STABILITY: dict[str, Any] = {"stability": {"draws": 64, "epochs": 1}}
CENTRE: dict[str, Any] = {"lr": 1e-2, "weight_decay": 1e-4}


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def said(tmp_path: Path, **changes: Any) -> tuple[list[str], list[str]]:
    """The warnings and the notes on a study that has nothing to warn of but for some changes."""
    values = {
        "name": "remarked",
        "dataset": {"name": "digits", "image_size": 16},
        "arms": ["vit_p_micro/adamw", "vit_c_micro/sgd"],
        "space": AROUND,
        "centre": CENTRE,
        "phases": {"stability": {"draws": 63, "epochs": 1, "reference": 1}},
        "pack": {"size": 32},
        **changes,
    }
    plan = make_plan(ss.Study.model_validate(values), Home.at(tmp_path / "home"))
    text = " ".join(render_plan(plan).split())
    assert all(f"{remark.text}." in text for remark in plan.remarks)
    warnings = [remark.text for remark in plan.remarks if remark.is_warning]
    return warnings, [remark.text for remark in plan.remarks if not remark.is_warning]


def test_a_good_study_gets_no_warning(tmp_path: Path) -> None:
    warnings, notes = said(tmp_path)
    assert warnings == []
    assert notes == [
        f"With 63 draws an EDF is known to ± {100 * math.sqrt(math.log(40) / 126):.0f} points (DKW band, 95 %)"
    ]


@pytest.mark.parametrize(
    ("changes", "start", "part"),
    [
        (
            {"space": {**AROUND, "adamw": {"lr": {"log_uniform": [0.001, 0.005]}}}},
            "space: lr of vit_p_micro/adamw spans a factor of 5 only, [0.001, 0.005]",
            "factor of 32",
        ),
        (
            {"space": {**AROUND, "lr": {"log_uniform": [0.001, 0.005]}}},
            "space: lr of vit_p_micro/adamw and 1 more spans",
            "widen it",
        ),
        (
            {"space": {**AROUND, "lr": {"uniform": [1e-4, 1e-1]}}},
            "space: lr of vit_p_micro/adamw and 1 more is drawn uniformly from [0.0001, 0.1]",
            "log_uniform",
        ),
        ({"space": {**AROUND, "weight_decay": {"uniform": [0, 0.1]}}}, "space: weight_decay", "nine in ten draws"),
        (
            {"phases": {"stability": {"draws": 46, "epochs": 1}}},
            "phases.stability.draws: with 46 draws an EDF is known to ± 20 points",
            "47 draws give ± 20, 185 give ± 10",
        ),
        (
            {"phases": {"stability": {"sampler": "grid", "points": 6, "epochs": 1}}},
            "phases.stability.points: with 36 draws",
            "185 give",
        ),
        (
            {"phases": {"stability": {"draws": 65, "epochs": 1, "sampler": "sobol"}}},
            "phases.stability.draws: 65 is no power of two",
            "use 64 or 128",
        ),
        (
            {"centre": {}, "phases": {"search": {"draws": 4, "epochs": 1}, **STABILITY}},
            "phases.search.at_once: all 4 draws are suggested before any result",
            "raise draws",
        ),
        (
            {"centre": {}, "phases": {"search": {"draws": 10, "epochs": 1}, **STABILITY}},
            "phases.search.draws: the sampler tpe draws its first 10 trials at random and the search has 10",
            "n_startup_trials",
        ),
        (
            {"space": {**AROUND, "batch_size": {"choice": [16, 32]}}, "phases": STABILITY},
            "space: trials that differ in batch_size cannot share their batches, so that there are 4 packs where there could be 2",
            "recipe",
        ),
        (
            {"space": {**AROUND, "mixup": {"uniform": [0, 1]}, "flip": {"choice": [0.0, 0.5]}}, "phases": STABILITY},
            "space: trials that differ in mixup cannot share their batches, so that nearly every trial is a pack of its own",
            "few values",
        ),
        (
            {"pack": {"size": 31}, "phases": {"stability": {"draws": 64, "epochs": 1, "reference": 0}}},
            "pack.size: 31 leaves 2 of an arm's 64 trials to a pack of their own",
            "--set pack.size=32",
        ),
        (
            {
                "pack": {"size": 64, "cpus": 0.25, "spread": False},
                "phases": {"stability": {"draws": 64, "epochs": 1, "reference": 0}},
            },
            "pack.size: 64 makes 2 packs, and this machine can train 8 at the same time",
            "--set pack.size=21 or pack.spread=true",
        ),
        (
            {"recipe": {"batch_size": 2000}},
            "recipe.batch_size: 2000 is more than the 1437 training images",
            "lower it",
        ),
    ],
)
def test_what_a_plan_warns_of(changes: dict[str, Any], start: str, part: str, tmp_path: Path) -> None:
    if changes.get("space", {}).get("batch_size"):
        changes = {**changes, "pack": {"size": 64}}
    warnings, _ = said(tmp_path, **changes)
    (found,) = [text for text in warnings if text.startswith(start)]
    assert part in found


def test_the_size_that_is_advised_fills_the_machine(tmp_path: Path) -> None:
    for size, packs in ((21, 8), (22, 6)):
        plan = make_plan(
            ss.Study.model_validate(
                {
                    "name": "filled",
                    "dataset": {"name": "digits", "image_size": 16},
                    "arms": ["vit_p_micro/adamw", "vit_c_micro/sgd"],
                    "space": AROUND,
                    "phases": STABILITY,
                    "pack": {"size": size, "cpus": 0.25},
                }
            ),
            Home.at(tmp_path / "home"),
        )
        assert len(plan.packs) == packs


@pytest.mark.parametrize(
    ("arms", "pack", "is_said"),
    [
        # Of two arms each leaves a pack of two, and both are trained side by side as they are.
        (2, {"size": 31}, True),
        (1, {"size": 31}, False),
        (1, {"size": 31, "spread": False}, True),
        (1, {"size": 31, "cpus": 2}, True),
        (1, {"size": 64, "cpus": 0.25}, False),
        (1, {"size": 64, "cpus": 0.25, "spread": False}, True),
    ],
)
def test_what_spreading_mends_is_not_said(arms: int, pack: dict[str, Any], is_said: bool, tmp_path: Path) -> None:
    names = ["vit_p_micro/adamw", "vit_c_micro/sgd"][:arms]
    phases = {"stability": {"draws": 64, "epochs": 1, "reference": 0}}
    warnings, _ = said(tmp_path, arms=names, pack=pack, phases=phases)
    assert [text.startswith("pack.size: ") for text in warnings] == [True] * is_said


@pytest.mark.parametrize(
    "changes",
    [
        {"phases": {"stability": {"draws": 47, "epochs": 1}}},
        {"phases": {"stability": {"draws": 64, "epochs": 1, "sampler": "sobol", "reference": 0}}},
        {"phases": {"stability": {"draws": 65, "epochs": 1, "sampler": "halton"}}, "pack": {"size": 66}},
        {"centre": {}, "phases": {"search": {"draws": 5, "epochs": 1, "sampler": "cmaes"}}},
        {
            "centre": {},
            "phases": {"search": {"draws": 10, "epochs": 1, "sampler": {"name": "tpe", "n_startup_trials": 4}}},
        },
        {"centre": {}, "phases": {"search": {"draws": 4, "epochs": 1, "sampler": "random"}}},
        {"space": {**AROUND, "lr": {"uniform": [0.01, 0.5]}, "label_smoothing": {"uniform": [0, 0.3]}}},
        {"space": {**AROUND, "blocks": {"log_int_uniform": [1, 8]}, "batch_size": 32}},
    ],
)
def test_what_is_fine_gets_no_warning(changes: dict[str, Any], tmp_path: Path) -> None:
    assert said(tmp_path, **changes)[0] == []


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"phases": {"stability": {"draws": 64, "epochs": 1, "sampler": "sobol", "reference": 0}}},
            "The band around an EDF is proven for independent draws; for the sampler sobol it is usually too wide, see docs/samplers.md",
        ),
        (
            {"centre": {}, "phases": {"search": {"draws": 12, "epochs": 1}}},
            "The 24 trials of the search follow results, and so never enter an EDF; add the phase stability to have one",
        ),
        (
            {"centre": {}, "phases": {"search": {"draws": 12, "epochs": 1}, **STABILITY}},
            "The 24 trials of the search follow results, and so never enter an EDF",
        ),
        (
            {"phases": STABILITY},
            "There is no reference run: errors above the reference are then counted from the best draw",
        ),
        (
            {"space": {**AROUND, "lr": {"log_uniform": [0.01, 0.1]}}},
            "Intervals of lr are narrower than the paper's factor of 32",
        ),
        ({"pack": {"size": 64, "cpus": 3}}, "This machine cannot train one of these packs, each asks for 3 CPUs"),
    ],
)
def test_what_a_plan_notes(changes: dict[str, Any], note: str, tmp_path: Path) -> None:
    notes = said(tmp_path, **changes)[1]
    assert [text for text in notes if text.startswith(note)], notes


def test_on_its_own_trainable_no_name_shapes_batches(tmp_path: Path) -> None:
    def own(members: Any, context: Any) -> Any:
        raise RuntimeError("planning trains nothing")

    ss.register_trainable("own", own)
    warnings, notes = said(
        tmp_path,
        trainable="own",
        dataset=None,
        space={**AROUND, "batch_size": {"choice": [1, 2]}},
        phases={"stability": {"draws": 64, "epochs": 1}},
        pack={"size": 31},
    )
    assert warnings == []
    assert len(notes) == 2
