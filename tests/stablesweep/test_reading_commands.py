"""The commands that read results, on a study that was published into a home, and on a machine without torch and ray."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result

import stablesweep as ss
from dashboards.summary import render_summary
from stablesweep.cli import main
from stablesweep.home import Home
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from stablesweep.recorder import publish_all
from tests.mlflow_server import story
from tests.support import small_study

ARMS = ("vit_c_micro/sgd", "vit_p_micro/sgd")


def published(folder: Path) -> Home:
    """A home with a finished study of six draws, of which the first diverged in one arm."""
    home = Home.at(folder)
    study = small_study(
        name="done",
        arms=list(ARMS),
        space={"weight_decay": {"around": 1e-4}, "lr": {"around": 0.1}},
        phases={"stability": {"draws": 6, "epochs": 2}},
    )
    files = home.study("done")
    files.path.mkdir(parents=True)
    trials = to_trials(write_ledger(files.ledger, study))
    files.study_file.write_text(yaml.safe_dump(study.to_config()))
    record = Record(files.record)
    publisher = Publisher(home.tracking_uri, home.artifact_root, study, trials)
    publisher.connect(record)
    publisher.begin([files.ledger, files.study_file], training=True)
    for trial in trials:
        worse = 30.0 if trial.arm == ARMS[1] else 0.0
        status = "diverged" if trial.arm == ARMS[1] and trial.draw == 0 else "completed"
        record.apply(story(trial, 2, status, 5.0 + trial.draw + worse))
    assert publish_all(publisher, record) is None
    publisher.end(finished=True, timing={"total": 1.0})
    record.close()
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield published(tmp_path_factory.mktemp("home"))


def call(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--home", str(home.path)])


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Somebody else's results: a random search over one arm of ours and one of their own."""
    path = tmp_path / "sweep.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["config", "val_err", "lr"])
        for arm in ("vit_c_micro/sgd", "mlp/sgd"):
            writer.writerows([arm, 20.0 + draw, 0.01 * (draw + 1)] for draw in range(10))
    return path


def test_a_selection_is_exported_and_reported_as_one(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "part.parquet"
    result = call(home, "export", "done", "--where", f"arm={ARMS[0]}", "--where", "draw<3", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert pq.read_table(out)["draw"].to_pylist() == [0, 1, 2]
    result = call(home, "report", "done", "--where", "draw<3", "--out", str(tmp_path / "part.html"))
    assert result.exit_code == 0, result.output
    assert "only trials with draw&lt;3" in (tmp_path / "part.html").read_text()
    part = ss.load("done", home.path).where("draw<3")
    path = part.report(tmp_path / "again.html")
    assert "only trials with draw&lt;3" in path.read_text()
    assert part.edf(ARMS[0]).n == 3
    assert not (home.study("done").report).exists(), "a selection is no report of the study"


def test_curves_are_exported(home: Home, tmp_path: Path) -> None:
    result = call(home, "export", "done", "--curves", "--out", str(tmp_path / "curves.csv"))
    assert result.exit_code == 0, result.output
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * 2
    assert {row["epoch"] for row in rows} == {"1", "2"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "done", "--where", "error<20"], "error is a result"),
        (["report", "nothing"], "studies there: done"),
        (["export", "done", "--out", "/proc/nowhere.csv"], "/proc/"),
        (["export", "done", "--out", "t.xlsx"], ".xlsx"),
        (["import", "no-such.csv", "--name", "x"], "there is no such file"),
        (["figures", "done", "--out", "/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_mistakes_end_in_one_sentence(home: Home, arguments: list[str], said: str) -> None:
    result = call(home, *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1


def test_imported_results_stand_beside_our_own(home: Home, sweep: Path, tmp_path: Path) -> None:
    columns = ["--column", "error=val_err", "--column", "arm=config", "--sampler", "random"]
    result = call(home, "import", str(sweep), "--name", "theirs", *columns)
    assert result.exit_code == 0, result.output
    theirs = ss.load("theirs", home.path)
    assert theirs.edf("mlp/sgd").n == 10
    assert call(home, "import", str(sweep), "--name", "theirs", *columns).exit_code == 1
    assert call(home, "import", str(sweep), "--name", "theirs", "--replace", *columns).exit_code == 0
    both = ss.load(["done", "theirs"], home.path)
    assert set(both.edf()) == {f"{ARMS[0]} @ done", f"{ARMS[0]} @ theirs", ARMS[1], "mlp/sgd"}
    # Other draws: nothing is paired.
    verdict = next(one for one in both.summary().model_verdicts if {one.arm_a, one.arm_b} == {ARMS[1], "mlp/sgd"})
    assert "unrelated draws" in verdict.sentence
    assert both.report(tmp_path / "both.html").read_text().count("mlp/sgd") > 1
    result = call(home, "report", "done", "--study", "theirs", "--out", str(tmp_path / "cli.html"))
    assert result.exit_code == 0, result.output


def test_all_edfs_are_drawn_together(home: Home) -> None:
    figure = ss.load("done", home.path).edf().plot()
    names = [trace.name for trace in figure.data if trace.name]
    assert [name.split(" ")[0] for name in names] == list(ARMS)


COLLEAGUE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "ray", "stablesweep", "trainables", "search_spaces"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from dashboards.__main__ import main
main(sys.argv[1:], prog_name="dashboards")
"""


def test_a_colleague_without_torch_and_ray_gets_the_same(home: Home, tmp_path: Path) -> None:
    def colleague(*arguments: str) -> str:
        command = [sys.executable, "-c", COLLEAGUE, *arguments, "--tracking-uri", home.tracking_uri]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert colleague("studies").split() == ["done"]
    results = ss.load("done", home.path)
    shown = colleague("report", "done", "--out", "done.html")
    assert shown.startswith(render_summary(results.summary()))
    assert "vit_c_micro/sgd beats vit_p_micro/sgd on 6 of 6 common draws" in (tmp_path / "done.html").read_text()
    colleague("export", "done", "--out", "done.parquet")
    theirs = pq.read_table(tmp_path / "done.parquet")
    assert theirs.equals(results.trials)
    assert json.loads(theirs.schema.metadata[b"stablesweep.hyperparameters"]) == ["weight_decay", "lr"]
