"""Imports of files with named columns: roles, scales, statuses, draws, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from scipy.stats import ecdf

from dashboards.imports import UnusableResults, guess_kind, import_results
from dashboards.selection import select_draws
from dashboards.statistics.compare import compare, verdicts
from dashboards.statistics.edf import arm_edf
from dashboards.summary import summarize
from dashboards.tables import hyperparameters_of, trials_schema, write_table
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]


def _sweep(n: int = 40) -> pd.DataFrame:
    """Two arms of ``n`` random trials each, in an order of its own."""
    generator = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "config": np.repeat(["resnet/sgd", "resnet/adamw"], n),
            "learning_rate": 10 ** generator.uniform(-4, -1, 2 * n),
            "wd": 10 ** generator.uniform(-6, -3, 2 * n),
            "depth": generator.integers(2, 9, 2 * n),
            "norm": generator.choice(["batch", "layer"], 2 * n),
            "val_err": generator.uniform(5, 60, 2 * n),
        }
    )
    return frame.sample(frac=1, random_state=1)


COLUMNS = {"error": "val_err", "arm": "config"}


def _csv(frame: pd.DataFrame, folder: Path, name: str = "sweep.csv") -> Path:
    frame.to_csv(folder / name)
    return folder / name


def test_the_edf_of_a_csv_is_that_of_its_column(tmp_path: Path) -> None:
    frame = _sweep()
    record = import_results(_csv(frame, tmp_path), name="elsewhere", columns=COLUMNS, sampler="random")
    assert record.study == "elsewhere"
    assert (record.tracking_uri, record.source) == ("", str(tmp_path / "sweep.csv"))
    assert hyperparameters_of(record.trials) == ["learning_rate", "wd", "depth", "norm"]
    for arm in ("resnet/sgd", "resnet/adamw"):
        expected = ecdf(frame[frame.config == arm].val_err.to_numpy()).cdf
        edf = arm_edf(record.trials, arm)
        np.testing.assert_array_equal(edf.x, expected.quantiles)
        np.testing.assert_allclose(edf.lower, expected.probabilities, rtol=1e-12)
        assert (edf.n, edf.n_missing) == (40, 0)
    row = frame.iloc[7]
    found = [one for one in record.trials.to_pylist() if one["error"] == row.val_err]
    assert [found[0][name] for name in ("arm", "model", "optimizer")] == [row.config, *row.config.split("/")]
    assert [found[0][name] for name in ("learning_rate", "depth", "norm")] == [
        row.learning_rate,
        row.depth,
        row["norm"],
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".tsv", ".csv.gz"])
def test_other_formats_give_the_same_trials(tmp_path: Path, suffix: str) -> None:
    frame = _sweep(10).reset_index(drop=True)
    path = tmp_path / f"sweep{suffix}"
    if suffix == ".parquet":
        frame.astype({"norm": "category"}).to_parquet(path)
    elif suffix == ".arrow":
        write_table(pa.Table.from_pandas(frame), path)
    elif suffix == ".tsv":
        frame.to_csv(path, sep="\t", index=False)
    else:
        frame.to_csv(path, index=False)
    expected = import_results(_csv(frame, tmp_path), name="a", columns=COLUMNS, sampler="random").trials
    assert import_results(path, name="a", columns=COLUMNS, sampler="random").trials.equals(expected)


def test_fractions_and_accuracies_become_percent_errors(tmp_path: Path) -> None:
    frame = pd.DataFrame({"top1": [0.75, 0.5, 1.0], "lr": [0.1, 0.2, 0.3]})
    path = _csv(frame, tmp_path)
    columns = {"accuracy": "top1"}
    record = import_results(path, name="a", columns=columns, error_scale="fraction", sampler="grid")
    assert record.trials["error"].to_pylist() == [25.0, 50.0, 0.0]
    assert set(record.trials["arm"].to_pylist()) == {"a"}
    with pytest.warns(UserWarning, match="no accuracy is above 1 %; say error_scale=fraction"):
        record = import_results(path, name="a", columns=columns, sampler="grid", arm="net/sgd")
    assert record.trials["error"].to_pylist() == [99.25, 99.5, 99.0]
    assert set(record.trials["optimizer"].to_pylist()) == {"sgd"}


def test_missing_numbers_are_unknown_unless_said_and_infinite_ones_diverged(tmp_path: Path) -> None:
    path = tmp_path / "holes.csv"
    path.write_text("lr,error\n0.1,12.5\n0.2,\n0.3,NaN\n0.4,inf\n0.5,30\n")
    with pytest.warns(
        UserWarning, match=r"2 of 5 trials have no number as their result and count as failed \(not known\)"
    ):
        trials = import_results(path, name="a", sampler="random").trials
    assert trials["status"].to_pylist() == ["completed", "failed", "failed", "diverged", "completed"]
    assert trials["error"].to_pylist() == [12.5, None, None, None, 30.0]
    edf = arm_edf(trials, "a")
    assert (edf.n, edf.n_diverged, edf.n_missing) == (5, 1, 2)
    with pytest.warns(UserWarning, match=r"2 of 5 .* count as diverged"):
        trials = import_results(path, name="a", sampler="random", missing="diverged").trials
    assert arm_edf(trials, "a").n_diverged == 3


def test_statuses_of_other_tools_and_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "statuses.csv"
    path.write_text("lr,error,state\n1,10,Finished\n2,20,CRASHED\n3,30,Pruned\n4,,blown up\n5,,queued\n6,inf,done\n")
    columns = {"status": "state"}
    record = import_results(path, name="a", columns=columns, sampler="random", statuses={"Blown Up": "diverged"})
    expected = ["completed", "failed", "pruned", "diverged", "pending", "diverged"]
    assert record.trials["status"].to_pylist() == expected
    assert record.trials["error"].to_pylist() == [10.0, None, None, None, None, None]
    with pytest.raises(UnusableResults, match=r"'state' of row 4 .* is 'blown up', which is no known status"):
        import_results(path, name="a", columns=columns)


def test_trials_of_unknown_samplers_enter_nothing(tmp_path: Path) -> None:
    path = _csv(_sweep(5), tmp_path)
    with pytest.warns(
        UserWarning, match=r"10 of 10 trials enter no distribution .*sampler: 10 unknown.*sampler=random"
    ):
        record = import_results(path, name="a", columns=COLUMNS)
    assert summarize(record).arms == ()
    frame = _sweep(5).assign(sampler=["tpe", "RandomSampler"] * 5)
    with pytest.warns(UserWarning, match=r"5 of 10 trials .*sampler: 5 tpe"):
        record = import_results(_csv(frame, tmp_path), name="a", columns=COLUMNS, sampler="sobol")
    assert sorted(set(record.trials["sampler"].to_pylist())) == ["random", "tpe"]


def test_without_a_draw_column_nothing_is_paired(tmp_path: Path) -> None:
    path = _csv(_sweep(12), tmp_path)
    first = import_results(path, name="first", columns=COLUMNS, sampler="random")
    second = import_results(path, name="second", columns=COLUMNS, sampler="random")
    names = [
        set(select_draws(record.trials, arm).draws.to_pylist())
        for record in (first, second)
        for arm in ("resnet/sgd", "resnet/adamw")
    ]
    assert len(set().union(*names)) == sum(map(len, names)) == 48
    assert compare(first.trials, "resnet/sgd", "resnet/adamw").n_pairs == 0
    assert sorted(first.trials["draw"].to_pylist()) == sorted(2 * list(range(12)))


def _paired(folder: Path, scramble: bool) -> Path:
    generator = np.random.default_rng(3)
    unit = generator.random(20)
    sgd = pd.DataFrame({"draw": range(20), "config": "net/sgd", "lr": 0.1 * 32**unit, "val_err": 10 + 50 * unit})
    adamw = pd.DataFrame({"draw": range(20), "config": "net/adamw", "lr": 1e-4 * 32**unit, "val_err": 5 + 20 * unit})
    adamw["lr"] = adamw["lr"].sample(frac=1, random_state=2).to_numpy() if scramble else adamw["lr"]
    return _csv(pd.concat([sgd, adamw.sample(frac=1, random_state=4)]), folder)


def test_a_draw_column_pairs_arms_on_the_users_word(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="that arms are paired by 'draw' rests on your word"):
        record = import_results(_paired(tmp_path, scramble=False), name="a", columns=COLUMNS, sampler="random")
    found = compare(record.trials, "net/adamw", "net/sgd")
    assert (found.n_pairs, found.wins_a) == (20, 20)
    with pytest.warns(UserWarning, match=r"have 'lr' in different orders on their common draws.*not the same point"):
        import_results(_paired(tmp_path, scramble=True), name="a", columns=COLUMNS, sampler="random")
    unpaired = import_results(tmp_path / "sweep.csv", name="a", columns={**COLUMNS, "draw": ""}, sampler="random")
    assert hyperparameters_of(unpaired.trials) == ["lr"]
    assert compare(unpaired.trials, "net/adamw", "net/sgd").n_pairs == 0


def test_positions_in_the_unit_cube_come_along(tmp_path: Path) -> None:
    path = tmp_path / "units.csv"
    path.write_text("draw,arm,lr,unit_lr,error\n0,m/sgd,0.1,0.25,30\n1,m/sgd,0.4,0.5,20\n0,m/lion,0.01,0.25,40\n")
    record = import_results(path, name="a", sampler="random")
    assert hyperparameters_of(record.trials) == ["lr"]
    by_key = {row["key"]: row["lr"] for row in record.units.to_pylist()}
    assert by_key == {
        "stability/m/lion/000000/0": 0.25,
        "stability/m/sgd/000000/0": 0.25,
        "stability/m/sgd/000001/0": 0.5,
    }


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow"])
def test_an_export_of_ours_comes_back_equal(make_record: MakeRecord, tmp_path: Path, suffix: str) -> None:
    record = make_record()
    write_table(record.trials, tmp_path / f"export{suffix}")
    back = import_results(tmp_path / f"export{suffix}", name="quickstart")
    assert back.trials.equals(record.trials)
    assert back.trials.schema.metadata == record.trials.schema.metadata
    theirs = {(one.arm_a, one.arm_b): one.sentence for group in verdicts(record.trials) for one in group}
    ours = {(one.arm_a, one.arm_b): one.sentence for group in verdicts(back.trials) for one in group}
    assert ours == theirs
    assert len(ours) == 4


def test_model_and_optimizer_columns_name_the_arms(tmp_path: Path) -> None:
    frame = pd.DataFrame({"net": ["a", "b"], "opt": ["sgd", "lion"], "error": [1.0, 2.0], "lr": [True, False]})
    columns = {"model": "net", "optimizer": "opt"}
    trials = import_results(_csv(frame, tmp_path), name="x", columns=columns, sampler="random").trials
    assert trials["arm"].to_pylist() == ["a/sgd", "b/lion"]
    assert trials["lr"].to_pylist() == ["true", "false"]
    trials = import_results(_csv(frame, tmp_path), name="x", columns={"model": "net"}, sampler="random").trials
    assert (trials["arm"].to_pylist(), trials["optimizer"].to_pylist()) == (["a", "b"], ["", ""])
    assert hyperparameters_of(trials) == ["opt", "lr"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "lr,error\n1,10\n2,oops\n",
            {},
            r"sweep.csv: 'error' of row 2 \(the header not counted\) is 'oops', expected a number",
        ),
        ("lr,error\n1,10\n2,140\n", {}, r"'error' of row 2 .* is 140, expected 0 to 100, for error_scale is 'percent'"),
        ("lr,error\n1,0.5\n2,1.5\n", {"error_scale": "fraction"}, r"row 2 .* is 1.5, expected 0 to 1"),
        ("lr,error\n1,-inf\n", {}, r"is -inf, expected 0 to 100"),
        ("lr,loss\n1,10\n", {}, r"it has no column 'error'; say which .* one of 'lr', 'loss'"),
        (
            "lr,error\n1,10\n",
            {"columns": {"arm": "config"}},
            r"it has no column 'config' for 'arm'; it has 'lr', 'error'",
        ),
        ("lr,error\n1,10\n", {"hyperparameters": ["wd"]}, r"it has no column 'wd' for 'hyperparameter 1'"),
        ("lr,error\n", {}, "it has no trials"),
        ("lr,lr,error\n1,2,3\n", {}, "more than one column 'lr'"),
        ("lr,error\n1,2,3\n", {}, "cannot be read"),
        ("draw,error\n0,2\n1.5,3\n", {}, r"'draw' of row 2 .* is 1.5, expected a whole number"),
        ("draw,error\n0,2\n-1,3\n", {}, r"'draw' of row 2 .* is -1, expected a whole number from 0"),
        ("phase,error\nstability,2\n../x,3\n", {}, r"'phase' of row 2 .* is '../x', expected letters"),
        ("started,error\nyesterday,2\n", {}, r"'started' of row 1 .* is 'yesterday', expected a moment"),
        ("lr,error\n1,2\n", {"sampler": "fixed"}, "given setting .* no training length"),
        ("lr,error\n1,2\n", {"name": "../up"}, r"name: got '../up', expected up to 80 letters"),
        ("lr,error\n1,2\n", {"missing": "drop"}, "missing: got 'drop', expected one of failed, diverged"),
        ("lr,error\n1,2\n", {"columns": {"errors": "error"}}, "columns: got 'errors', expected one of error, accuracy"),
        ("lr,error\n1,2\n", {"kind": "excel"}, "kind: got 'excel', expected one of table, optuna, ray_tune"),
    ],
)
def test_what_is_refused_is_named(tmp_path: Path, text: str, options: dict[str, object], message: str) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text(text)
    with pytest.raises(UnusableResults, match=message):
        import_results(path, **{"name": "a", "sampler": "random", **options})  # type: ignore[arg-type]


def test_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text(
        "phase,arm,error,best,seed,epochs,secs,when,note,batch\n"
        "stability,<b>m</b>/sgd,12,11,7,50,3.5,2026-11-20T09:30:00+01:00,,x\n"
        "reference,<b>m</b>/sgd,13,,8,100,4,2026-11-20 10:00:00,it crashed,y\n"
    )
    columns = {"best_error": "best", "seconds": "secs", "started": "when", "reason": "note"}
    first, second = import_results(path, name="a", columns=columns, sampler="random").trials.sort_by("seed").to_pylist()
    assert (first["best_error"], first["seed"], first["epochs"], first["seconds"]) == (11.0, 7, 50, 3.5)
    assert first["started"].isoformat() == "2026-11-20T08:30:00+00:00"
    assert second["started"].isoformat() == "2026-11-20T10:00:00+00:00"
    assert (second["phase"], second["reason"], second["best_error"], second["batch"]) == (
        "reference",
        "it crashed",
        None,
        "y",
    )


def test_names_of_columns_that_no_hyperparameter_can_have_and_columns_that_are_none(tmp_path: Path) -> None:
    table = pa.table({"err": [1.0, 2.0], "epochs": [5, 6], "layers": [[1], [2, 3]], "lr": pa.array([0.1, math.nan])})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    columns = {"error": "err"}
    with pytest.warns(UserWarning, match="'layers' hold neither numbers nor texts"):
        trials = import_results(tmp_path / "t.parquet", name="a", columns=columns, sampler="random").trials
    assert trials.schema.names == [*trials_schema([]).names, "lr"]
    assert (trials["epochs"].to_pylist(), trials["lr"].to_pylist()) == ([5, 6], [0.1, None])
    with pytest.raises(UnusableResults, match="'layers' holds list"):
        import_results(tmp_path / "t.parquet", name="a", columns=columns, hyperparameters=["layers"])
    with pytest.warns(
        UserWarning, match="'epochs' has the name of a column of the trials table and is called 'param_epochs'"
    ):
        trials = import_results(
            tmp_path / "t.parquet", name="a", columns=columns, hyperparameters=["epochs"], sampler="random"
        ).trials
    assert hyperparameters_of(trials) == ["param_epochs"]


def test_kinds_are_guessed(tmp_path: Path) -> None:
    assert guess_kind("postgresql://u:p@host/db") == "optuna"
    assert guess_kind(tmp_path) == "ray_tune"
    for name, kind in (("a.csv", "table"), ("a.parquet", "table"), ("a.csv.gz", "table"), ("journal.log", "optuna")):
        (tmp_path / name).write_text("x")
        assert guess_kind(tmp_path / name) == kind
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(UnusableResults, match="xlsx is not known; say kind="):
        guess_kind(tmp_path / "a.xlsx")
    with pytest.raises(UnusableResults, match="no such file or folder"):
        guess_kind(tmp_path / "b.csv")
