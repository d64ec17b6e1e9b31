"""The studies of the paper: what they plan is what the paper did, and small copies of them run."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

import stablesweep as ss
from dashboards.report.page import render_report
from stablesweep.cli import main
from stablesweep.packs import make_packs
from stablesweep.study_file import make_study, read_study_file
from stablesweep.trials import plan_trials
from tests.support import Ran, run_here

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_plans_and_says_what_it_is(file: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = CliRunner().invoke(main, ["plan", str(file), "--home", str(home)])
    assert result.exit_code == 0, result.output
    assert not home.exists()
    header = file.read_text().split("name:")[0]
    for word in ("2106.14881", "Data ", "Cost ", "Expect ", f"Command  stablesweep run examples/{file.name}"):
        assert word in header


def test_the_three_figures_are_there() -> None:
    assert {file.stem.removeprefix("early_convs_") for file in EXAMPLES} >= {"stability", "length", "peak"}


def example(name: str) -> dict[str, Any]:
    return read_study_file(ROOT / f"examples/early_convs_{name}.yaml")[1]


def test_figures_4_and_5_are_the_papers_1152_trainings() -> None:
    study = ss.load_study(ROOT / "examples/early_convs_stability.yaml")
    trials = plan_trials(study)
    assert len(trials) == 9 * 2 * 64 == 1152
    assert {trial.epochs for trial in trials} == {50}
    assert (study.recipe.base, study.recipe.batch_size, study.recipe.lr_batch_size) == ("paper", 2048, 2048)
    # Table 4: the interval of each family and optimizer; its lower end is an eighth of the centre, its upper end four times.
    reference = json.loads((ROOT / "tests/stablesweep/paper_intervals.json").read_text())
    for arm in study.arms:
        family = "regnety" if arm.model.startswith("regnety") else "vit"
        for name, (low, high) in reference[family][arm.optimizer].items():
            interval = study.space_of(arm)[name]
            assert isinstance(interval, ss.LogUniform)
            assert (interval.low, interval.high) == (low, high)


def test_figures_2_and_3_train_each_arm_at_four_lengths() -> None:
    trials = plan_trials(ss.load_study(ROOT / "examples/early_convs_length.yaml"))
    assert Counter(trial.epochs for trial in trials) == {50: 18, 100: 18, 200: 18, 400: 18}
    one = next(trial for trial in trials if trial.arm == "vit_c_4gf/sgd" and trial.epochs == 400)
    assert one.hyperparameters == {"lr": 1.3, "weight_decay": 2.2e-5}
    assert one.key == "length/vit_c_4gf/sgd/000400/0"
    assert len({pack.name for pack in make_packs(trials, 1)}) == 72


def test_figure_6_has_every_model_once_a_length() -> None:
    trials = plan_trials(ss.load_study(ROOT / "examples/early_convs_peak.yaml"))
    assert Counter(trial.epochs for trial in trials) == {100: 19, 200: 19, 400: 19}
    assert {trial.optimizer for trial in trials if trial.model.startswith("vit")} == {"adamw"}
    assert {trial.optimizer for trial in trials if not trial.model.startswith("vit")} == {"sgd"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits as JPEGs of different sizes in Parquet shards, as ImageNet is published."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("shards")
    digits = load_digits()
    kinds = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for name, rows in {
        "train-00000-of-00002": (0, 160),
        "train-00001-of-00002": (160, 320),
        "validation": (320, 400),
    }.items():
        images = []
        for row in range(*rows):
            pixels = Image.fromarray((digits.images[row] * 15.9).astype("uint8")).convert("RGB")
            stream = io.BytesIO()
            pixels.resize((40 + row % 9, 44)).save(stream, "JPEG", quality=90)
            images.append({"bytes": stream.getvalue(), "path": f"{row}.jpg"})
        table = pa.table({"image": pa.array(images, kinds), "label": pa.array(digits.target[slice(*rows)], pa.int64())})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=32)
    return folder


SMALL_MODELS = {
    "vit_p_1gf": "vit_p_micro",
    "vit_c_1gf": "vit_c_micro",
    "regnety_1gf": "timm:test_resnet",
    "resnet50": "timm:test_resnet",
}


def scaled_down(name: str, arms: list[str], shards: Path, decode_workers: int = 0, **phase: Any) -> ss.Study:
    """The example with small models, data and lengths; its recipe, data source, settings and shape stay."""
    values = json.loads(json.dumps(example(name)))

    def renamed(arm: str) -> str:
        model, optimizer = arm.split("/")
        return f"{SMALL_MODELS[model]}/{optimizer}"

    def kept(nodes: dict[str, Any]) -> dict[str, Any]:
        places = {place for arm in arms for place in (arm, arm.split("/")[1])}
        return {renamed(key) if "/" in key else key: node for key, node in nodes.items() if key in places}

    values["arms"] = [renamed(arm) for arm in arms]
    values["dataset"] |= {"path": str(shards), "image_size": 32}
    values["recipe"] = {"base": values["recipe"], "batch_size": 32, "warmup_epochs": 1.0}
    if "space" in values:
        values["space"] = kept(values["space"])
    for one in values["phases"].values():
        one |= phase
        if "at" in one:
            one["at"] = kept(one["at"])
    values["pack"] = {"size": 8, "decode_workers": decode_workers}
    return make_study(values, name)


def run_small(study: ss.Study, folder: Path) -> Ran:
    ran = run_here(study, folder)
    assert ran.outcome.unfinished == ran.outcome.lost == 0
    assert set(ran.results.trials["status"].to_pylist()) <= {"completed", "diverged"}
    assert study.name in render_report(ran.results.record)
    return ran


@pytest.mark.slow
@pytest.mark.cluster
def test_a_small_copy_of_figures_4_and_5_runs(ray_here: None, shards: Path, tmp_path: Path) -> None:
    arms = ["vit_p_1gf/adamw", "regnety_1gf/sgd"]
    ran = run_small(scaled_down("stability", arms, shards, decode_workers=1, draws=3, epochs=2), tmp_path)
    assert ran.results.trials.num_rows == 6
    assert {arm.edf.n for arm in ran.results.summary().arms} == {3}


@pytest.mark.slow
@pytest.mark.cluster
def test_a_small_copy_of_figures_2_3_and_6_runs(ray_here: None, shards: Path, tmp_path: Path) -> None:
    """Two examples in one study: they differ in their phases alone."""
    arms = ["vit_c_1gf/adamw"]
    length, peak = (
        scaled_down(name, arms, shards, **phase).to_config()
        for name, phase in (("length", {"epochs": [1, 2]}), ("peak", {"epochs": [2], "seeds": 2}))
    )
    assert {key for key in length if length[key] != peak[key]} == {"name", "description", "phases"}
    ran = run_small(
        make_study({**length, "phases": {**length["phases"], **peak["phases"]}}, "length and peak"), tmp_path
    )
    rows = ran.results.summary().lengths.to_pylist()
    assert [(row["arm"], row["epochs"]) for row in rows] == [
        ("vit_c_micro/adamw", 1),
        ("vit_c_micro/adamw", 2),
    ]
    assert [row["gap"] for row in rows if row["epochs"] == 2] == [0.0]
    assert "Error by training length" in render_report(ran.results.record)
    trials = [trial for trial in ran.results.trials.to_pylist() if trial["phase"] == "peak"]
    assert len({trial["seed"] for trial in trials}) == 2
    assert [trial["key"][-1] for trial in trials] == ["0", "1"]
    (best,) = ran.results.peak().to_pylist()
    assert (best["n"], best["lr"]) == (2, 1.0e-3)
