"""What a plan counts, against numbers worked out by hand, published figures, a schedule and real checkpoints."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import stablesweep as ss
from stablesweep.cli import main
from stablesweep.estimate import NO_WORK, optimizer_share
from stablesweep.home import Home
from stablesweep.ledger import Ledger
from stablesweep.machine import Machine, packs_at_once
from stablesweep.messages import TrialEnded, TrialStarted
from stablesweep.outcomes import Outcomes
from stablesweep.plan import ArmPlan, Plan, make_plan
from stablesweep.plan_text import WIDTH, render_plan
from stablesweep.record import Record
from stablesweep.schedule import Schedule
from stablesweep.study import Pack
from stablesweep.study_file import load_study, read_study_file
from stablesweep.trials import Trial, plan_trials
from tests.support import small_study
from trainables import (
    Batch,
    LockstepPack,
    Member,
    Metrics,
    RandomCrop,
    Reading,
    TrainingContext,
    load_dataset,
    register_dataset,
    register_model,
    register_trainable,
)

ROOT = Path(__file__).resolve().parents[2]
SPACE: dict[str, Any] = {"lr": {"around": 1e-2}, "weight_decay": {"around": 1e-4}}


def study(**changes: Any) -> ss.Study:
    return ss.Study.model_validate(
        {
            "name": "planned",
            "dataset": {"name": "digits", "image_size": 16},
            "arms": ["vit_p_micro/adamw", "vit_c_micro/sgd"],
            "space": SPACE,
            "phases": {"stability": {"draws": 8, "epochs": 2}},
            **changes,
        }
    )


def planned(tmp_path: Path, **changes: Any) -> Plan:
    return make_plan(study(**changes), Home.at(tmp_path / "home"))


def by_phase(plan: Plan) -> dict[tuple[str, str], ArmPlan]:
    return {(arm.phase, arm.arm): arm for arm in plan.arms}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["plan", *arguments])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_quickstart_in_numbers(tmp_path: Path) -> None:
    plan = make_plan(load_study("quickstart"), Home.at(tmp_path))
    # 1,437 images to train on are 22 whole batches of 64, and there are 360 to evaluate on.
    images, evaluated = 24 * 4 * 22 * 64, 24 * 4 * 360
    for arm in plan.arms:
        assert (arm.trials, arm.to_train, arm.packs, arm.epochs, arm.epochs_to_train) == (24, 24, 1, (4,), 96)
        assert arm.work is not None
        assert (arm.work.train_images, arm.work.forward_images) == (images, evaluated)
    assert plan.work is not None
    assert plan.work.train_images == 4 * images == 540_672
    assert len(plan.packs) == 4
    assert plan.mlflow_runs == 1 + 4 + 96


class ImageNetSizes:
    """The numbers of images of ImageNet-1k, and no image."""

    name, num_classes, image_size, channels = "imagenet_sizes", 1000, 224, 3
    mean, std = (0.5,) * 3, (0.5,) * 3
    num_train, num_eval, crops_on_read = 1_281_167, 50_000, False

    def train_batches(
        self, reading: Reading, *, study_seed: int, epoch: int, crop: RandomCrop | None
    ) -> Iterator[Batch]:
        raise OSError("there are no images")

    def eval_batches(self, reading: Reading) -> Iterator[Batch]:
        raise OSError("there are no images")


def vit_p_flops(dim: int, mlp_ratio: int, blocks: int) -> int:
    """Multiply-adds of ViT_P on 224 px, 1000 classes: patches, attention, MLP and head."""
    tokens, patches = 14**2 + 1, 14**2
    attention = 4 * tokens * dim**2 + 2 * tokens**2 * dim
    mlp = 2 * tokens * dim * mlp_ratio * dim
    return blocks * (attention + mlp) + patches * (16 * 16 * 3) * dim + dim * 1000


@pytest.fixture(scope="module")
def figures_4_and_5(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    values = read_study_file(ROOT / "examples/early_convs_stability.yaml")[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainables.registry._user_datasets", {})
        register_dataset("imagenet_sizes", ImageNetSizes)
        asked = ss.Study.model_validate({**values, "dataset": "imagenet_sizes"})
        return make_plan(asked, Home.at(tmp_path_factory.mktemp("paper")))


def test_the_papers_sweep_takes_the_flop_of_its_published_models(figures_4_and_5: Plan) -> None:
    arms = by_phase(figures_4_and_5)
    trained = 64 * 50 * (1_281_167 // 2048) * 2048
    for name, shape in {"1gf": (192, 3, 12), "4gf": (384, 3, 12), "18gf": (768, 4, 12)}.items():
        work = arms["stability", f"vit_p_{name}/sgd"].work
        assert work is not None
        assert work.train_images == trained
        assert work.forward_images == 64 * 50 * 50_000
        assert work.flop == pytest.approx(2 * vit_p_flops(*shape) * (3 * trained + 64 * 50 * 50_000), rel=1e-9)
    # Table 1 of the paper: 1.1, 3.9 and 17.7 GF, rounded. Batch norm is computed anew on 4 batches, for the weights and their average.
    for name, published in {"1gf": 1.1e9, "4gf": 4.0e9, "18gf": 17.7e9}.items():
        work = arms["stability", f"vit_c_{name}/adamw"].work
        assert work is not None
        assert work.forward_images == 64 * 50 * (50_000 + 2 * 8192)
        assert work.flop == pytest.approx(2 * published * (3 * trained + work.forward_images), rel=0.03)


def test_the_papers_checkpoints(figures_4_and_5: Plan) -> None:
    arms = by_phase(figures_4_and_5)
    # Weights, their average, and of AdamW two moments, of SGD one momentum; eight trials a pack; float32.
    for arm, copies in {"vit_p_4gf/adamw": 4, "vit_p_4gf/sgd": 3}.items():
        assert arms["stability", arm].pack_bytes == pytest.approx(8 * copies * 4 * 18_507_112, rel=1e-6)
    # This machine has room for none of these packs, which is no reason to know nothing else.
    assert figures_4_and_5.packs_at_once == 0
    assert figures_4_and_5.checkpoint_bytes is None
    assert "This machine cannot train" in figures_4_and_5.remarks[-1].text


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "timm:lion"])
@pytest.mark.parametrize("recipe", [{}, {"ema_horizon": 0.5}])
def test_a_checkpoint_is_as_large_as_planned(optimizer: str, recipe: dict[str, Any], tmp_path: Path) -> None:
    arm = f"vit_c_micro/{optimizer}"
    plan = planned(tmp_path, arms=[arm], recipe=recipe, phases={"stability": {"draws": 3, "epochs": 1}})
    pack = LockstepPack(
        [Member(key=str(n), seed=n, hyperparameters={"lr": 1e-3, "weight_decay": 0.1}) for n in range(3)],
        model="vit_c_micro",
        optimizer=optimizer,
        data=load_dataset("digits", image_size=16),
        recipe=ss.Study.model_validate({**study().to_config(), "recipe": recipe}).recipe,
        epochs=1,
        study_seed=0,
    )
    pack.run_epoch(lambda: True)
    torch.save(pack.state_dict(), tmp_path / "pack.pt")
    # The file has besides the states of generators and the names of tensors, which count in so small a model.
    saved = (tmp_path / "pack.pt").stat().st_size
    assert plan.arms[0].pack_bytes is not None
    assert 0.8 * saved < plan.arms[0].pack_bytes < saved


def test_what_optimizers_keep_of_each_number() -> None:
    values = {"lr": 0.1, "weight_decay": 0.0}
    assert optimizer_share("adamw", values) == 2
    assert optimizer_share("sgd", values) == 1
    assert optimizer_share("sgd", {**values, "momentum": 0.0}) == 0
    assert optimizer_share("sgd", {**values, "momentum": -1.0}) is None


@pytest.mark.parametrize(
    ("draws", "size", "at_once", "packs"),
    [(8, 4, 2, [4, 4, 4, 4]), (8, 8, 1, [8, 8]), (9, 4, 3, [4, 4, 4, 4, 1, 1])],
)
def test_the_home_holds_two_checkpoints_of_every_pack_that_trains(
    draws: int, size: int, at_once: int, packs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: at_once)
    arms = ["vit_p_micro/sgd", "vit_p_micro/timm:lion"]
    plan = planned(tmp_path, arms=arms, phases={"stability": {"draws": draws, "epochs": 1}}, pack={"size": size})
    assert sorted((len(pack.trials) for pack in plan.packs), reverse=True) == packs
    assert plan.arms[0].pack_bytes == plan.arms[1].pack_bytes
    assert plan.arms[0].pack_bytes is not None
    assert plan.checkpoint_bytes == 3 * sum(packs[:at_once]) * (plan.arms[0].pack_bytes // size)


def run_on_paper(study: ss.Study) -> list[str]:
    """The packs that the schedule hands out if every trial completes, the larger rates with the larger errors."""
    outcomes, names = Outcomes(), []
    schedule = Schedule(
        study,
        plan_trials(study),
        outcomes,
        settings={},
        keep=lambda trials, settings: None,
        give_up=lambda messages: None,
    )
    while not schedule.done():
        pack = schedule.next()
        assert pack is not None
        names.append(f"{pack.first.phase} {pack.first.arm} {len(pack.trials)}")
        for trial in pack.trials:
            outcomes.note([TrialEnded(key=trial.key, status="completed", error=float(trial.hyperparameters["lr"]))])
    return sorted(names)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"phases": {"search": {"draws": 7, "epochs": 1, "at_once": 3}, "stability": {"draws": 9, "epochs": 2}}},
        {
            "phases": {
                "search": {"draws": 4, "epochs": 1, "at_once": 4, "sampler": "random"},
                "stability": {"draws": 4, "epochs": 2, "reference": 2},
                "length": {"epochs": [1, 2, 3]},
                "peak": {"epochs": [3], "seeds": 5},
            },
            "pack": {"size": 3},
        },
        {
            "centre": {"lr": 0.01, "weight_decay": 1e-4},
            "phases": {"stability": {"draws": 3, "epochs": 1, "around": "family"}},
        },
        {"phases": {"stability": {"sampler": "grid", "points": 3, "epochs": 1}, "length": {"epochs": 2, "at": "best"}}},
        {
            "space": {**SPACE, "batch_size": {"choice": [16, 32, 64]}},
            "phases": {"stability": {"draws": 12, "epochs": 1}},
            "pack": {"size": 3},
        },
    ],
)
def test_the_packs_are_those_that_a_schedule_hands_out(changes: dict[str, Any], tmp_path: Path) -> None:
    changes = {"pack": {"size": 4}, **changes}
    plan = planned(tmp_path, **changes)
    handed_out = run_on_paper(study(**changes))
    assert sorted(f"{p.first.phase} {p.first.arm} {len(p.trials)}" for p in plan.packs) == handed_out
    assert sum(arm.packs for arm in plan.arms) == len(handed_out)
    assert not any(arm.packs_at_least for arm in plan.arms)


def test_of_settings_that_follow_there_may_be_more_packs(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "space": {**SPACE, "batch_size": {"choice": [16, 32]}},
        "phases": {
            "search": {"draws": 8, "epochs": 1, "at_once": 4},
            "stability": {"draws": 8, "epochs": 1, "reference": 0},
        },
    }
    plan = planned(tmp_path, **changes)
    assert all(arm.packs_at_least for arm in plan.arms)
    assert len(plan.packs) < len(run_on_paper(study(**changes)))
    assert "≥ 6 packs" in render_plan(plan)


def test_each_trial_counts_with_its_own_batch_size(tmp_path: Path) -> None:
    space = {**SPACE, "batch_size": {"choice": [512, 1000]}}
    phases = {"stability": {"sampler": "grid", "points": {"lr": 3, "weight_decay": 1}, "epochs": 2}}
    plan = planned(tmp_path, space=space, phases=phases)
    assert plan.work is not None
    # Of 1,437 images two batches of 512 or one of 1,000.
    assert plan.work.train_images == 2 * 3 * 2 * (2 * 512 + 1000)
    # A search will draw one as often as the other.
    searched = planned(tmp_path, space=space, phases={"search": {"draws": 6, "epochs": 2, "sampler": "random"}})
    assert searched.work is not None
    low, middle, high = 2 * 512, 1000, 1000
    assert searched.work.train_images == pytest.approx(2 * 6 * 2 * (low + middle + high) / 3)


def test_each_trial_counts_with_its_own_model(tmp_path: Path) -> None:
    base, twice = (
        planned(tmp_path, arms=["vit_p_micro/adamw"], space={**SPACE, "blocks": {"choice": blocks}}).work
        for blocks in ([2], [2, 4])
    )
    four = planned(tmp_path, arms=["vit_p_micro/adamw"], space={**SPACE, "blocks": {"choice": [4]}}).work
    drawn = plan_trials(study(arms=["vit_p_micro/adamw"], space={**SPACE, "blocks": {"choice": [2, 4]}}))
    share = sum(trial.hyperparameters["blocks"] == 4 for trial in drawn) / len(drawn)
    assert base is not None
    assert base.flop is not None
    assert four is not None
    assert four.flop is not None
    assert twice is not None
    assert 0 < share < 1
    assert twice.flop == pytest.approx((1 - share) * base.flop + share * four.flop)


def finish(home: Home, study: ss.Study, statuses: Mapping[str, str]) -> list[Trial]:
    folder = home.study(study.name)
    folder.path.mkdir(parents=True)
    trials = Ledger.opened(folder.ledger, study).trials
    record = Record(folder.record)
    for trial in trials:
        status = statuses.get(trial.key)
        if status is not None:
            record.apply([TrialStarted(key=trial.key, pack="p", started=0.0)])
            record.apply([TrialEnded(key=trial.key, status=status)] if status != "running" else [])
    record.close()
    return trials


def test_what_has_a_result_is_not_planned_again(tmp_path: Path) -> None:
    home, asked = Home.at(tmp_path / "home"), study()
    keys = [trial.key for trial in plan_trials(asked) if trial.arm == "vit_p_micro/adamw"]
    ends = ["completed", "diverged", "failed", "lost", "pruned", "running"]
    finish(home, asked, dict(zip(keys, ends, strict=False)))
    whole, left = make_plan(asked, Home.at(tmp_path / "other")), make_plan(asked, home)
    assert [arm.to_train for arm in left.arms] == [8 - 5, 8]
    assert [arm.trials for arm in left.arms] == [8, 8]
    before, now = whole.arms[0].work, left.arms[0].work
    assert before is not None
    assert now is not None
    assert now.train_images == before.train_images * 3 / 8
    assert left.mlflow_runs == whole.mlflow_runs == 1 + 2 + 16


def test_a_finished_study_has_nothing_left(tmp_path: Path) -> None:
    home, asked = Home.at(tmp_path / "home"), study()
    finish(home, asked, {trial.key: "completed" for trial in plan_trials(asked)})
    plan = make_plan(asked, home)
    assert plan.packs == ()
    assert plan.work == NO_WORK
    assert "16 trials, 0 to train in 0 packs" in render_plan(plan)


def test_planning_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home, asked = Home.at(tmp_path / "there"), small_study()
    finish(home, asked, {plan_trials(asked)[0].key: "completed"})
    (tmp_path / "study.yaml").write_text((ROOT / "platform/stablesweep/studies/quickstart.yaml").read_text())
    before = tree(tmp_path)
    result = invoke("study.yaml", "--home", "new")
    assert result.exit_code == 0, result.output
    make_plan(asked, home)
    assert tree(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.yaml", "there"]


def test_planning_needs_neither_ray_nor_mlflow_nor_optuna(tmp_path: Path) -> None:
    code = (
        "import sys; from stablesweep.plan import make_plan; from stablesweep.plan_text import render_plan;"
        "from stablesweep.study_file import load_study; from stablesweep.home import Home;"
        "render_plan(make_plan(load_study('quickstart'), Home.at('none')));"
        "print(sorted({'ray', 'mlflow', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_without_the_data_the_rest_is_planned(tmp_path: Path) -> None:
    result = invoke(str(ROOT / "examples/early_convs_length.yaml"), "--home", str(tmp_path / "home"))
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "72 trials, 72 to train in 72 packs of at most 1; 13500 epochs of one model." in text
    assert "Images, PFLOP and checkpoints are unknown here: dataset 'parquet'" in text
    assert "PFLOP" not in result.output.splitlines()[2]
    assert f"{1 + 18 + 72} MLflow runs" in text
    calibrated = invoke(str(ROOT / "examples/early_convs_length.yaml"), "--calibrate")
    assert calibrated.exit_code == 0
    assert "Nothing was timed: dataset 'parquet'" in calibrated.stderr


def test_a_trainable_of_the_users_own_has_no_images(tmp_path: Path) -> None:
    @register_trainable("own")
    def own(members: Sequence[Member], context: TrainingContext) -> Iterator[dict[str, Metrics]]:
        raise RuntimeError("planning trains nothing")

    (tmp_path / "study.yaml").write_text(
        "{name: custom, trainable: own, arms: [a/b, c/b], space: {depth: {int_uniform: [1, 9]}, lr: {around: 0.1}},"
        " phases: {stability: {draws: 50, epochs: 3}}}"
    )
    result = invoke(str(tmp_path / "study.yaml"), "--calibrate", "--home", str(tmp_path / "home"))
    assert result.exit_code == 0, result.output
    assert "100 trials, 100 to train in 6 packs of at most 24; 300 epochs of one model." in result.stdout
    assert "unknown here: the trainable 'own' has its own data and models." in " ".join(result.stdout.split())
    assert result.stderr == "Nothing was timed: the trainable 'own' has its own data and models.\n"


def test_a_model_that_cannot_be_counted_is_a_question_mark(tmp_path: Path) -> None:
    @register_model("broken")
    def broken(*, num_classes: int, image_size: int, in_channels: int) -> torch.nn.Module:
        raise RuntimeError("no such luck")

    @register_model("needs_tensors")
    def needs_tensors(*, num_classes: int, image_size: int, in_channels: int) -> torch.nn.Module:
        layer = torch.nn.Linear(in_channels * image_size**2, num_classes)
        float(layer.weight.detach().sum())  # which a tensor without memory cannot tell
        return torch.nn.Sequential(torch.nn.Flatten(), layer)

    plan = planned(tmp_path, arms=["broken/sgd", "needs_tensors/sgd"])
    first, second = plan.arms
    assert first.work is not None
    assert (first.work.train_images, first.work.flop, first.pack_bytes) == (8 * 2 * 1408, None, None)
    assert second.work is not None
    assert second.work.flop == 2 * 16 * 16 * 10 * 8 * 2 * (3 * 1408 + 360)
    assert plan.work is not None
    assert plan.work.flop is None
    lines = render_plan(plan).splitlines()
    assert lines[3].split() == ["stability", "broken/sgd", "8", "8", "1", "2", "22.5", "k", "5.76", "k", "?"]


def test_a_value_that_no_trial_can_have_is_said(tmp_path: Path) -> None:
    plan = planned(tmp_path, space={**SPACE, "batch_size": {"uniform": [16.5, 64.5]}})
    assert plan.uncounted.startswith("hyperparameter 'batch_size' is ")
    assert plan.work is None
    assert "Images, PFLOP and checkpoints are unknown here: hyperparameter 'batch_size'" in render_plan(plan)


def test_planning_draws_from_no_global_generator(tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    planned(tmp_path, arms=["vit_p_micro/adamw", "timm:test_resnet/sgd"])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("pack", "machine", "fit"),
    [
        ({}, (2, 0), 2),
        ({"cpus": 3}, (16, 0), 5),
        ({"gpus": 1, "cpus": 2}, (16, 4), 4),
        ({"gpus": 1, "cpus": 2}, (16, 0), 0),
        ({"gpus": 0.25}, (16, 2), 8),
        ({"gpus": 0.4}, (16, 2), 4),
        ({"gpus": 2}, (16, 5), 2),
        ({"workers": 8, "gpus": 1, "cpus": 12}, (96, 8), 1),
        ({"workers": 3}, (8, 0), 2),
    ],
)
def test_packs_that_fit_a_machine(pack: dict[str, Any], machine: tuple[int, int], fit: int) -> None:
    cpus, gpus = machine
    assert packs_at_once(Pack.model_validate(pack), [Machine(cpus=cpus, gpus=gpus)]) == fit


@pytest.mark.parametrize(
    ("pack", "nodes", "fit"),
    [
        # What is left over on two nodes is no place for one worker.
        ({"cpus": 3}, [(4, 0), (4, 0)], 2),
        ({"gpus": 2}, [(16, 3), (16, 3)], 2),
        ({"gpus": 0.4}, [(16, 1), (16, 1)], 4),
        # A pack of several workers may span nodes.
        ({"workers": 4, "gpus": 1}, [(16, 2), (16, 2)], 1),
        ({"gpus": 1}, [(0, 8), (64, 0)], 0),
    ],
)
def test_packs_that_fit_a_cluster(pack: dict[str, Any], nodes: list[tuple[int, int]], fit: int) -> None:
    machines = [Machine(cpus=cpus, gpus=gpus) for cpus, gpus in nodes]
    assert packs_at_once(Pack.model_validate(pack), machines) == fit


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_no_line_of_a_plan_is_too_long(file: Path, tmp_path: Path) -> None:
    plan = make_plan(load_study(file), Home.at(tmp_path / "home"))
    # The folder's name may be as long as it likes.
    assert max(map(len, render_plan(plan).splitlines()[1:])) <= WIDTH


def test_long_names_fit_beside_all_columns(figures_4_and_5: Plan) -> None:
    assert max(map(len, render_plan(figures_4_and_5).splitlines()[1:])) <= WIDTH
