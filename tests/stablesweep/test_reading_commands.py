"""The commands that read results, on a study that was published into a home, and on a machine without torch and ray."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import stablesweep as ss
from dashboards.summary import render_summary
from stablesweep.home import Home
from tests.finished_study import ARMS, call


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


def test_a_selection_is_exported_and_reported_as_one(finished: Home, tmp_path: Path) -> None:
    out = tmp_path / "part.parquet"
    result = call(finished, "export", "done", "--where", f"arm={ARMS[0]}", "--where", "draw<3", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert pq.read_table(out)["draw"].to_pylist() == [0, 1, 2]
    result = call(finished, "report", "done", "--where", "draw<3", "--out", str(tmp_path / "part.html"))
    assert result.exit_code == 0, result.output
    assert "only trials with draw&lt;3" in (tmp_path / "part.html").read_text()
    part = ss.load("done", finished.path).where("draw<3")
    path = part.report(tmp_path / "again.html")
    assert "only trials with draw&lt;3" in path.read_text()
    assert part.edf(ARMS[0]).n == 3
    assert not (finished.study("done").report).exists(), "a selection is no report of the study"


def test_curves_are_exported(finished: Home, tmp_path: Path) -> None:
    result = call(finished, "export", "done", "--curves", "--out", str(tmp_path / "curves.csv"))
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
def test_mistakes_end_in_one_sentence(finished: Home, arguments: list[str], said: str) -> None:
    result = call(finished, *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1


def test_imported_results_stand_beside_our_own(finished: Home, sweep: Path, tmp_path: Path) -> None:
    columns = ["--column", "error=val_err", "--column", "arm=config", "--sampler", "random"]
    result = call(finished, "import", str(sweep), "--name", "theirs", *columns)
    assert result.exit_code == 0, result.output
    theirs = ss.load("theirs", finished.path)
    assert theirs.edf("mlp/sgd").n == 10
    assert call(finished, "import", str(sweep), "--name", "theirs", *columns).exit_code == 1
    assert call(finished, "import", str(sweep), "--name", "theirs", "--replace", *columns).exit_code == 0
    both = ss.load(["done", "theirs"], finished.path)
    assert set(both.edf()) == {f"{ARMS[0]} @ done", f"{ARMS[0]} @ theirs", ARMS[1], "mlp/sgd"}
    # Other draws: nothing is paired.
    verdict = next(one for one in both.summary().model_verdicts if {one.arm_a, one.arm_b} == {ARMS[1], "mlp/sgd"})
    assert "unrelated draws" in verdict.sentence
    assert both.report(tmp_path / "both.html").read_text().count("mlp/sgd") > 1
    result = call(finished, "report", "done", "--study", "theirs", "--out", str(tmp_path / "cli.html"))
    assert result.exit_code == 0, result.output


def test_all_edfs_are_drawn_together(finished: Home) -> None:
    figure = ss.load("done", finished.path).edf().plot()
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


def test_a_colleague_without_torch_and_ray_gets_the_same(finished: Home, tmp_path: Path) -> None:
    def colleague(*arguments: str) -> str:
        command = [sys.executable, "-c", COLLEAGUE, *arguments, "--tracking-uri", finished.tracking_uri]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert colleague("studies").split() == ["done"]
    results = ss.load("done", finished.path)
    shown = colleague("report", "done", "--out", "done.html")
    assert shown.startswith(render_summary(results.summary()))
    assert "vit_c_micro/sgd beats vit_p_micro/sgd on 6 of 6 common draws" in (tmp_path / "done.html").read_text()
    colleague("export", "done", "--out", "done.parquet")
    theirs = pq.read_table(tmp_path / "done.parquet")
    assert theirs.equals(results.trials)
    assert json.loads(theirs.schema.metadata[b"stablesweep.hyperparameters"]) == ["weight_decay", "lr"]
