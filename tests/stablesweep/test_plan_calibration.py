"""Timing arms, and what follows from the times."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

import stablesweep as ss
from stablesweep import calibration
from stablesweep.calibration import Calibration, Excerpt, Speed, calibrate
from stablesweep.cli import main
from stablesweep.estimate import Estimator, find_data
from stablesweep.home import Home
from stablesweep.machine import Machine
from stablesweep.plan import Plan, make_plan, planned_packs
from stablesweep.plan_text import WIDTH, render_plan
from stablesweep.plan_times import PACK_START_CPU_S, PACK_START_S, Times, estimate_times
from stablesweep.trials import plan_trials
from trainables import LockstepPack, Reading, load_dataset, register_model
from trainables.training import modes

SIZE: dict[str, Any] = {"name": "digits", "image_size": 16}


def study(**changes: Any) -> ss.Study:
    return ss.Study.model_validate(
        {
            "name": "timed",
            "dataset": SIZE,
            "arms": ["vit_p_micro/adamw"],
            "space": {"lr": {"around": 1e-2}, "weight_decay": {"around": 1e-4}},
            "phases": {"stability": {"draws": 5, "epochs": 2}},
            "pack": {"size": 3},
            **changes,
        }
    )


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_an_excerpt_is_the_beginning_of_the_dataset() -> None:
    whole = load_dataset(**SIZE)
    part = Excerpt(whole, num_train=3 * 32, num_eval=300)
    reading = Reading(batch_size=32)
    batches = list(part.train_batches(reading, study_seed=1, epoch=2, crop=None))
    expected = whole.train_batches(reading, study_seed=1, epoch=2, crop=None)
    assert len(batches) == 3
    for batch, same in zip(batches, expected, strict=False):
        assert torch.equal(batch.images, same.images)
        assert torch.equal(batch.labels, same.labels)
    evaluated = list(part.eval_batches(Reading(batch_size=256)))
    assert [len(batch.labels) for batch in evaluated] == [256, 44]
    images = torch.cat([batch.images for batch in whole.eval_batches(Reading(batch_size=360))])
    assert torch.equal(torch.cat([batch.images for batch in evaluated]), images[:300])


@pytest.fixture(scope="module")
def on_digits() -> Iterator[Calibration]:
    asked = study(arms=["vit_p_micro/adamw", "vit_c_micro/sgd"], recipe={"precise_batch_norm": 200})
    threads = torch.get_num_threads()
    found = find_data(asked)
    assert found.data is not None
    yield calibrate(asked, plan_trials(asked), found.data, quiet())
    assert torch.get_num_threads() == threads


def test_speeds_are_times(on_digits: Calibration) -> None:
    assert on_digits.device == "CPU"
    assert not on_digits.on_gpu
    assert on_digits.failures == {}
    assert list(on_digits.speeds) == ["vit_p_micro/adamw", "vit_c_micro/sgd"]
    for speed in on_digits.speeds.values():
        assert speed.batch_size == 64
        for seconds in (speed.train_s, speed.forward_s):
            assert 0 < seconds < 1
        for seconds in (speed.shared_train_s, speed.shared_forward_s):
            assert 0 <= seconds < 1
        # A step is more than a forward pass, whatever the machine.
        assert speed.train_s + speed.shared_train_s > speed.forward_s + speed.shared_forward_s


def test_only_the_arms_that_are_left_are_timed() -> None:
    @register_model("raises")
    def raises(*, num_classes: int, image_size: int, in_channels: int) -> torch.nn.Module:
        raise RuntimeError("no such luck")

    asked = study(arms=["vit_p_micro/adamw", "raises/sgd"])
    found = find_data(asked)
    assert found.data is not None
    own = [trial for trial in plan_trials(asked) if trial.model == "raises"]
    calibration = calibrate(asked, own, found.data, quiet())
    assert calibration.speeds == {}
    assert list(calibration.failures) == ["raises/sgd"]
    assert "no such luck" in calibration.failures["raises/sgd"]


def test_a_rate_at_which_trials_diverge_is_timed_all_the_same() -> None:
    asked = study(arms=["vit_p_micro/sgd"], space={"lr": {"log_uniform": [1e9, 1e11]}, "weight_decay": 0.0})
    found = find_data(asked)
    assert found.data is not None
    assert calibrate(asked, plan_trials(asked), found.data, quiet()).failures == {}


@pytest.mark.parametrize("steps", [1, 5, 30])
def test_no_epoch_is_timed_in_which_the_pack_tries_ways_of_training(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "_measures", lambda _device: True)
    settled: list[bool] = []
    run_epoch = LockstepPack.run_epoch

    def watched(self: LockstepPack) -> Any:
        settled.append(self.settled)
        return run_epoch(self)

    monkeypatch.setattr(LockstepPack, "run_epoch", watched)
    asked = study()
    trials, found = plan_trials(asked), find_data(asked)
    assert found.data is not None
    arm = calibration._asked(asked, asked.arms[0], trials, found.data, "cpu")
    timed = calibration._timed(arm, members=2, batch=8, steps=steps, num_eval=8)
    assert settled == [False] * -(-8 // steps) + [True]
    assert timed.train_s > 0


SPEED = Speed(train_s=0.01, shared_train_s=0.1, forward_s=0.001, shared_forward_s=0.02, batch_size=64)


def test_a_pack_shares_what_is_shared() -> None:
    assert SPEED.pack_seconds([(100.0, 50.0)] * 3) == pytest.approx(3 * (1.0 + 0.05) + 10.0 + 1.0)


def times(asked: ss.Study, machine: Machine, speeds: dict[str, Speed], failures: dict[str, str] | None = None) -> Times:
    found = find_data(asked)
    assert found.data is not None
    calibration = Calibration(device="CPU", on_gpu=False, speeds=speeds, failures=failures or {})
    packs = planned_packs(asked, plan_trials(asked))
    return estimate_times(packs, asked, Estimator(asked, found.data), calibration, machine)


# An epoch of one trial: 22 batches of 64, and 360 images to evaluate on; and what its pack shares.
OWN, SHARED = 0.01 * 1408 + 0.001 * 360, 0.1 * 1408 + 0.02 * 360


def test_the_times_of_a_study_worked_out_by_hand() -> None:
    arms = ["vit_p_micro/adamw", "vit_c_micro/sgd"]
    asked = study(arms=arms)
    # Two arms of five trials in packs of three and two, for two epochs.
    packs = [2 * (3 * OWN + SHARED), 2 * (2 * OWN + SHARED)] * 2
    found = times(asked, Machine(cpus=2, gpus=0), dict.fromkeys(arms, SPEED))
    assert found.worker_s == pytest.approx(sum(packs))
    assert found.by_arm == pytest.approx(dict.fromkeys(arms, sum(packs) / 2))
    assert found.trial_epoch_s[arms[0]] == pytest.approx(OWN + 2 * SHARED / 5)
    # Two workers start once, whatever the number of packs.
    assert found.wall_s == pytest.approx(sum(packs) / 2 + PACK_START_CPU_S * 2 / 2)
    # With room for all, packs are divided until the longest trial decides; where they are not, the longest pack does.
    roomy = Machine(cpus=64, gpus=0)
    many = times(asked, roomy, dict.fromkeys(arms, SPEED)).wall_s
    assert many == pytest.approx(PACK_START_S + 2 * (OWN + SHARED))
    whole = study(arms=arms, pack={"size": 3, "spread": False})
    assert times(whole, roomy, dict.fromkeys(arms, SPEED)).wall_s == pytest.approx(PACK_START_S + max(packs))
    assert times(asked, Machine(cpus=0, gpus=0), dict.fromkeys(arms, SPEED)).wall_s is None


def test_the_rounds_of_a_search_follow_each_other() -> None:
    search = {"draws": 5, "epochs": 3, "at_once": 2}
    rounds = [3 * (2 * OWN + SHARED), 3 * (2 * OWN + SHARED), 3 * (OWN + SHARED)]
    divided = 3 * 3 * (OWN + SHARED)
    # Where pruning compares them, the trials of a round stay together.
    for pruning, longest in ((None, divided), ({"rule": "median"}, sum(rounds))):
        asked = study(phases={"search": {**search, "pruning": pruning}, "peak": {"epochs": [1, 3]}}, pack={"size": 2})
        found = times(asked, Machine(cpus=256, gpus=0), {"vit_p_micro/adamw": SPEED})
        assert found.worker_s == pytest.approx(sum(rounds) + 4 * (OWN + SHARED))
        assert found.wall_s == pytest.approx(PACK_START_S + longest + 3 * (OWN + SHARED))


def test_workers_share_the_time_of_a_pack() -> None:
    speeds = {"vit_p_micro/adamw": SPEED}
    one, four = (
        times(study(pack={"size": 5, "workers": workers}), Machine(cpus=64, gpus=0), speeds) for workers in (1, 4)
    )
    assert four.worker_s == one.worker_s
    assert one.wall_s is not None
    assert four.wall_s == pytest.approx(PACK_START_S + (one.wall_s - PACK_START_S) / 4)


def test_an_arm_that_could_not_be_timed_is_left_out_and_named(tmp_path: Path) -> None:
    arms = ["vit_p_micro/adamw", "vit_c_micro/sgd"]
    asked = study(arms=arms)
    alone = times(study(), Machine(cpus=2, gpus=0), {arms[0]: SPEED})
    both = times(asked, Machine(cpus=2, gpus=0), {arms[0]: SPEED}, {arms[1]: "RuntimeError: no"})
    assert both.worker_s == alone.worker_s
    text = render_plan(make_plan(asked, Home.at(tmp_path)), both)
    assert "vit_c_micro/sgd: not timed (RuntimeError: no)." in text
    assert "On this machine" not in text


def text_of(asked: ss.Study, calibration: Calibration, plan: Plan) -> str:
    found = find_data(asked)
    assert found.data is not None
    estimator = Estimator(asked, found.data)
    machine = Machine(cpus=8, gpus=4)
    return " ".join(render_plan(plan, estimate_times(plan.packs, asked, estimator, calibration, machine)).split())


def test_a_gpu_is_named_and_its_hours_are_told(tmp_path: Path) -> None:
    asked = study(pack={"size": 3, "gpus": 0.5})
    plan = make_plan(asked, Home.at(tmp_path))
    speed = Speed(train_s=1.0, shared_train_s=0.0, forward_s=0.0, shared_forward_s=0.0, batch_size=64)
    seconds = 5 * 2 * 1408.0
    on_gpu = Calibration(device="NVIDIA X", on_gpu=True, speeds={"vit_p_micro/adamw": speed}, failures={})
    text = text_of(asked, on_gpu, plan)
    assert "Training takes about 3 h 54 min on one NVIDIA X." in text
    assert f"That is {seconds * 0.5 / 3600:.3g} GPU-hours of NVIDIA X, 0.5 GPU a worker." in text
    on_cpu = Calibration(device="CPU", on_gpu=False, speeds={"vit_p_micro/adamw": speed}, failures={})
    text = text_of(asked, on_cpu, plan)
    assert "on one thread of this machine's CPU." in text
    assert (
        "The study asks for GPUs and torch finds none here: the times are those of this CPU, and no GPU-hours." in text
    )


def seconds_in(words: list[str]) -> float:
    """``1 min 05 s`` in seconds."""
    units = {"s": 1, "min": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))


def test_the_command_times_the_quickstart_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    settings = ["arms=[vit_c_micro/sgd]", "space={lr: {around: 0.16}, weight_decay: {around: 1.0e-4}}"]
    result = CliRunner().invoke(main, ["plan", "--calibrate", *(f"--set={setting}" for setting in settings)])
    assert result.exit_code == 0, result.output
    assert "calibrating vit_c_micro/sgd (1/1)" in result.stderr
    table = result.stdout[result.stdout.index("measured here") :].splitlines()
    arm, *cells = table[1].split()
    assert arm == "vit_c_micro/sgd"
    assert cells[-2:] == ["64", "images"]
    epoch_s, all_s = seconds_in(cells[:2]), seconds_in(cells[2:-2])
    assert epoch_s > 0
    # 24 trials of 4 epochs; a total of ten seconds or more is shown in whole ones.
    assert 24 * 4 * epoch_s == pytest.approx(all_s, abs=0.6, rel=0.01)
    assert table[2].startswith("Training takes about ")
    assert table[3].startswith("On this machine, with the start of processes: about ")
    assert max(map(len, result.stdout.splitlines()[1:])) <= WIDTH
    assert list(tmp_path.iterdir()) == []
