"""A pack on two Ray Train workers, reading a dataset with a damaged image."""

import io
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import stablesweep as ss
from dashboards import tags
from dashboards.report.page import render_report
from stablesweep.cli import main
from stablesweep.early_session import EarlySession
from stablesweep.home import Home
from stablesweep.trials import plan_trials
from tests.support import run_here, small_study

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def write_shard(file: Path, count: int, damaged: int | None = None) -> None:
    """Images of two classes that differ in brightness; one of them can be cut short."""
    random = np.random.default_rng(count)
    images = []
    for row in range(count):
        pixels = random.integers(0, 100, (24, 24, 3)) + 120 * (row % 2)
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
        data = stream.getvalue()
        images.append(data[:60] if row == damaged else data)
    labels = pa.array([row % 2 for row in range(count)], pa.int64())
    pq.write_table(pa.table({"image": pa.array(images, pa.binary()), "label": labels}), file, row_group_size=16)


def study(name: str, folder: Path, workers: int) -> ss.Study:
    return small_study(
        name=name,
        dataset={"name": "parquet", "path": str(folder), "image_size": 16, "on_bad_sample": "skip"},
        arms=["vit_c_micro/sgd"],
        space={"sgd": {"lr": {"around": 0.02}, "weight_decay": {"around": 1e-4}}},
        phases={"stability": {"draws": 2, "epochs": 2}},
        recipe={"batch_size": 32, "mixup": 0.8, "ema_horizon": 0.2},
        pack={"workers": workers},
    )


def test_two_workers_agree_with_one_and_the_damaged_image_is_counted(ray_here: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_shard(data / "train.parquet", 128, damaged=37)
    write_shard(data / "val.parquet", 40)
    one = run_here(study("one", data, 1), tmp_path / "home")
    two = run_here(study("two", data, 2), tmp_path / "home")
    for ran in (one, two):
        assert ran.outcome.trained == 2
        assert len(ran.outcome.skipped) == 1
        assert "train.parquet, row 37" in ran.outcome.skipped[0]
    first, second = (ran.results.curves.to_pylist() for ran in (one, two))
    assert len(first) == len(second) == 4
    for ours, theirs in zip(first, second, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
        assert ours["error"] == pytest.approx(theirs["error"], abs=2.6)  # one image of forty
    client = mlflow.MlflowClient(two.home.tracking_uri)
    experiment = client.get_experiment_by_name("two")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`{tags.ROLE}` = 'study'")
    assert run.data.tags[tags.SKIPPED_SAMPLES] == "1"
    assert two.results.record.skipped_samples == 1
    assert "Samples left out" in render_report(two.results.record)
    assert tags.SKIPPED_ARTIFACT in {item.path for item in client.list_artifacts(run.info.run_id)}


@pytest.mark.faults
def test_a_trial_that_raises_on_one_worker_alone_costs_the_others_nothing(ray_here: None, tmp_path: Path) -> None:
    def sometimes_raises(*, num_classes: int, image_size: int, in_channels: int) -> torch.nn.Module:
        pixels = in_channels * image_size**2
        model = torch.nn.Sequential(
            torch.nn.BatchNorm2d(in_channels), torch.nn.Flatten(), torch.nn.Linear(pixels, num_classes)
        )
        doomed = torch.initial_seed() == seeds[0]

        def check(module: torch.nn.Module, inputs: object) -> None:
            if doomed and torch.distributed.get_rank() == 1:
                raise ArithmeticError("on the second worker only")

        model.register_forward_pre_hook(check)
        return model

    ss.register_model("sometimes-raises", sometimes_raises)
    asked = study("alone", tmp_path, 2).to_config()
    asked |= {"dataset": {"name": "digits", "image_size": 16}, "arms": ["sometimes-raises/sgd"]}
    chosen = ss.Study.model_validate(asked)
    seeds = [trial.seed for trial in plan_trials(chosen)]
    ran = run_here(chosen, tmp_path / "home")
    first, second = ran.results.trials.to_pylist()
    assert (first["status"], second["status"]) == ("failed", "completed")
    assert first["reason"] == "ArithmeticError: on the second worker only"


@pytest.mark.faults
def test_a_damaged_image_stops_a_study_that_does_not_skip(ray_here: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_shard(data / "train.parquet", 64, damaged=5)
    write_shard(data / "val.parquet", 16)
    strict = study("strict", data, 1).to_config()
    strict["dataset"]["on_bad_sample"] = "error"
    ran = run_here(ss.Study.model_validate({**strict, "pack": {"max_failures": 0}}), tmp_path / "home")
    assert ran.outcome.lost == 2
    reasons = {row["reason"] for row in ran.results.trials.to_pylist()}
    assert len(reasons) == 1
    assert reasons == set(ran.outcome.lost_reasons)
    assert "train.parquet, row 5" in reasons.pop()


def test_what_can_be_known_of_the_data_is_said_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    monkeypatch.setattr(EarlySession, "begin", lambda _: pytest.fail("Ray was started"))
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study("gone", tmp_path / "nowhere", 1).to_config()))
    result = CliRunner().invoke(main, ["run", str(file), "--home", str(Home.at(tmp_path / "home").path)])
    assert result.exit_code == 2
    assert str(tmp_path / "nowhere") in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
