"""Imports of Ray Tune experiments: folders in the format of Ray 2.60, and one that a real Tuner wrote."""

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ecdf

from dashboards.imports import UnusableResults, guess_kind, import_results
from dashboards.imports.ray_tune import flat
from dashboards.report.page import render_report
from dashboards.statistics.edf import arm_edf
from dashboards.tables import hyperparameters_of

SCRIPT = """
import json, sys
import ray
from ray import tune


def train(config):
    for epoch in range(3):
        if config["opt"]["lr"] > 0.05 and epoch == 1:
            raise RuntimeError("out of memory")
        nan = config["opt"]["lr"] < 0.002
        tune.report({"val": {"err": float("nan") if nan else 60 / (epoch + 1) + config["wd"]}, "loss": 1 / (epoch + 1)})


ray.init(num_cpus=1, include_dashboard=False)
opt = {"lr": tune.grid_search([0.001, 0.02, 0.09]), "name": "sgd"}
space = {"opt": opt, "wd": tune.uniform(0, 1), "sizes": [64, 32]}
run = tune.RunConfig(name="tiny", storage_path=sys.argv[1], verbose=0)
found = tune.Tuner(train, param_space=space, tune_config=tune.TuneConfig(max_concurrent_trials=1), run_config=run).fit()
rows = []
for one in found:
    config = one.config
    row = {"lr": config["opt"]["lr"], "wd": config["wd"], "err": one.metrics["val"]["err"], "failed": bool(one.error)}
    rows.append(row)
print("RESULTS " + json.dumps(rows))
"""


@pytest.mark.cluster
def test_what_a_real_tuner_wrote(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    clean |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "0"}
    (tmp_path / "sweep.py").write_text(SCRIPT)
    command = [sys.executable, "sweep.py", str(tmp_path / "results")]
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULTS "))
    expected = {row["lr"]: row for row in json.loads(line.removeprefix("RESULTS "))}
    folder = tmp_path / "results" / "tiny"
    with pytest.warns(UserWarning, match="1 of 3 trials have no number as their result and count as failed"):
        record = import_results(folder, name="tiny", columns={"error": "val/err", "train_loss": "loss"}, sampler="grid")
    assert hyperparameters_of(record.trials) == ["opt/lr", "opt/name", "sizes", "wd"]
    rows = {row["opt/lr"]: row for row in record.trials.to_pylist()}
    assert rows.keys() == expected.keys()
    for lr, row in rows.items():
        assert (row["wd"], row["sizes"], row["opt/name"]) == (expected[lr]["wd"], "[64, 32]", "sgd")
        good = not expected[lr]["failed"] and math.isfinite(expected[lr]["err"])
        assert row["status"] == ("completed" if good else "failed")
        assert row["error"] == (expected[lr]["err"] if good else None)
    assert rows[0.09]["reason"] == "RuntimeError: out of memory"
    assert [rows[lr]["epochs_done"] for lr in (0.001, 0.02, 0.09)] == [3, 3, 1]
    assert all(row["started"] is not None and row["seconds"] > 0 for row in rows.values())
    curve = [row for row in record.curves.to_pylist() if row["key"] == rows[0.02]["key"]]
    assert [row["train_loss"] for row in curve] == [1.0, 0.5, 1 / 3]
    assert [row["error"] for row in curve] == [60 / epoch + rows[0.02]["wd"] for epoch in (1, 2, 3)]


def _trial(
    folder: Path,
    number: int,
    config: dict[str, Any],
    errors: Sequence[float],
    *,
    failure: str = "",
    status: str = "TERMINATED",
) -> tuple[str, str]:
    """Files of one trial as Ray 2.60 writes them; returns its entry in the experiment's state."""
    identity = f"4c3fd_{number:05d}"
    name = f"f_{identity}_{number}_lr={config.get('lr', 0):.4f}_2026-11-21_10-57-13"
    path = folder / name
    path.mkdir(parents=True)
    (path / "params.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    (path / "params.pkl").write_bytes(b"\x80\x05never loaded")
    with (path / "result.json").open("w") as file:
        for iteration, error in enumerate(errors, start=1):
            result: dict[str, Any] = {
                "val_err": error,
                "timestamp": 1795258635 + iteration,
                "done": False,
                "training_iteration": iteration,
            }
            result |= {"trial_id": identity, "time_total_s": 2.0 * iteration, "pid": 7031, "config": config}
            file.write(json.dumps(result) + "\n")
    if failure:
        (path / "error.txt").write_text(
            f'Traceback (most recent call last):\n  File "x.py", line 1\n\x1b[36m{failure}\x1b[0m\n\n'
        )
        (path / "error.pkl").write_bytes(b"\x80\x05never loaded")
    own = {
        "stub": False,
        "trainable_name": "f",
        "trial_id": identity,
        "config": config,
        "status": status,
        "relative_logdir": name,
    }
    own |= {"storage": {"_type": "CLOUDPICKLE_FALLBACK", "value": "8005958b02"}}
    return json.dumps(own), json.dumps({"start_time": 1795258635.25 + number, "num_failures": int(bool(failure))})


def _state(folder: Path, trials: Sequence[tuple[str, str]], time: str = "2026-11-21_10-57-13") -> None:
    state = {"trial_data": trials, "runner_data": {}, "stats": {"start_time": 1795258633.5}}
    (folder / f"experiment_state-{time}.json").write_text(json.dumps(state))


COLUMNS = {"error": "val_err"}


def test_the_edf_of_the_last_results(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    curves = np.sort(generator.uniform(5, 90, (30, 4)))[:, ::-1]
    state = [_trial(tmp_path, place, {"lr": 0.001 * (place + 1)}, curve.tolist()) for place, curve in enumerate(curves)]
    _state(tmp_path, state)
    assert guess_kind(tmp_path) == "ray_tune"
    record = import_results(tmp_path, name="x", columns=COLUMNS, sampler="random", arm="net/sgd")
    expected = ecdf(curves[:, -1]).cdf
    edf = arm_edf(record.trials, "net/sgd")
    np.testing.assert_array_equal(edf.x, expected.quantiles)
    np.testing.assert_allclose(edf.lower, expected.probabilities, rtol=1e-12)
    assert record.curves.num_rows == 120
    assert set(record.trials["epochs"].to_pylist()) == {4}
    assert record.trials["best_error"].to_pylist() == record.trials["error"].to_pylist()
    assert record.trials["started"].to_pylist()[0].timestamp() == 1795258635.25
    assert record.source == f"Ray Tune, {tmp_path}"
    assert "net/sgd" in render_report(record)


def test_statuses(tmp_path: Path) -> None:
    state = [
        _trial(tmp_path, 0, {"lr": 0.0}, [50.0, 40.0]),
        _trial(tmp_path, 1, {"lr": 0.1}, [50.0]),
        _trial(tmp_path, 2, {"lr": 0.2}, [50.0], failure="ValueError: <b>no</b>", status="ERROR"),
        _trial(tmp_path, 3, {"lr": 0.3}, [50.0, 30.0], failure="it was tried again with success"),
        _trial(tmp_path, 4, {"lr": 0.4}, [50.0], status="RUNNING"),
        _trial(tmp_path, 5, {"lr": 0.5}, [], status="PENDING"),
        _trial(tmp_path, 6, {"lr": 0.6}, [math.inf]),
    ]
    never = {"trial_id": "4c3fd_00007", "config": {"lr": 0.7}, "status": "PENDING", "relative_logdir": "f_4c3fd_00007"}
    _state(tmp_path, [*state, (json.dumps(never), "{}")])
    _state(tmp_path, [], "2026-11-20_00-00-00")
    with pytest.warns(UserWarning, match="1 of 8 trials ended before iteration 2 and count as pruned"):
        record = import_results(tmp_path, name="x", columns=COLUMNS, sampler="random")
    rows = record.trials.sort_by("lr").to_pylist()
    expected = ["completed", "pruned", "failed", "completed", "running", "pending", "diverged", "pending"]
    assert [row["status"] for row in rows] == expected
    assert [row["error"] for row in rows] == [40.0, None, None, 30.0, None, None, None, None]
    assert [row["reason"] for row in rows if row["reason"]] == ["ValueError: <b>no</b>"]
    record = import_results(tmp_path, name="x", columns=COLUMNS, sampler="random", short="completed")
    assert record.trials.sort_by("lr")["error"].to_pylist()[:4] == [40.0, 50.0, None, 30.0]


def test_files_alone_are_enough_and_a_cut_line_is_left_out(tmp_path: Path) -> None:
    _trial(tmp_path, 0, {"lr": 0.1, "net": {"depth": 3, "stem": None}}, [50.0, 40.0])
    _trial(tmp_path, 1, {"lr": 0.2, "net": {"depth": 5, "stem": "conv"}}, [50.0, 45.0], failure="OSError: x")
    results = sorted(tmp_path.glob("*/result.json"))
    with results[0].open("a") as file:
        # Restored from a checkpoint: iteration 2 comes again, then a line is cut off.
        file.write(json.dumps({"val_err": 35.0, "training_iteration": 2}) + '\n{"val_err": 3')
    (tmp_path / "experiment_state-2026-11-21_10-57-13.json").write_text("{")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record = import_results(tmp_path, name="x", columns={**COLUMNS, "model": "net/stem"}, sampler="random")
    said = " ".join(str(warning.message) for warning in caught)
    assert "its last line was cut off" in said
    assert "the trials' files are used alone" in said
    assert "the experiment's state says nothing about 2 trials" in said
    rows = record.trials.sort_by("lr").to_pylist()
    assert [(row["status"], row["error"], row["model"]) for row in rows] == [
        ("completed", 35.0, "x"),
        ("failed", None, "conv"),
    ]
    assert hyperparameters_of(record.trials) == ["lr", "net/depth"]
    lines = results[1].read_text().splitlines()
    results[1].write_text("\n".join(["{", *lines]))
    with pytest.raises(UnusableResults, match=r"result.json: line 1 is no JSON object"):
        import_results(tmp_path, name="x", columns=COLUMNS)


def test_each_trial_can_have_its_own_length(tmp_path: Path) -> None:
    state = [_trial(tmp_path, place, {"lr": 0.1, "epochs": 2 + place}, [50.0, 40.0]) for place in range(2)]
    _state(tmp_path, state)
    with pytest.warns(UserWarning, match="1 of 2 trials ended before iteration 3"):
        record = import_results(tmp_path, name="x", columns={**COLUMNS, "epochs": "epochs"}, sampler="random")
    rows = record.trials.sort_by("epochs").to_pylist()
    assert [(row["epochs"], row["epochs_done"], row["status"]) for row in rows] == [
        (2, 2, "completed"),
        (3, 2, "pruned"),
    ]


def test_what_the_folder_says_about_the_search(tmp_path: Path) -> None:
    _state(tmp_path, [_trial(tmp_path, 0, {"lr": 0.1}, [50.0])])
    (tmp_path / "basic-variant-state-2026-11-21_10-57-13.json").write_bytes(b"\x80")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import_results(tmp_path, name="x", columns=COLUMNS)
    assert "draws at random or takes a grid" in str(caught[0].message)
    assert "say sampler=random" in str(caught[1].message)
    (tmp_path / "pbt_global.txt").write_text("")
    with pytest.warns(UserWarning, match="population based training changed parameters"):
        import_results(tmp_path, name="x", columns=COLUMNS, sampler="random")


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableResults, match="neither experiment_state"):
        import_results(tmp_path, name="x", columns=COLUMNS)
    with pytest.raises(UnusableResults, match="no such folder"):
        import_results(tmp_path / "a", name="x", kind="ray_tune")
    _state(tmp_path, [_trial(tmp_path, 0, {"lr": 0.1}, [50.0])])
    with pytest.raises(
        UnusableResults, match=r"no metric is said to be the error; say which column .* one of val_err\."
    ):
        import_results(tmp_path, name="x")
    with pytest.raises(UnusableResults, match=r"no result has the metric 'err'; .* one of val_err"):
        import_results(tmp_path, name="x", columns={"error": "err"})
    with pytest.raises(UnusableResults, match=r"no trial has a parameter or metric 'net' for 'model'"):
        import_results(tmp_path, name="x", columns={**COLUMNS, "model": "net"})
    with pytest.raises(UnusableResults, match=r"'val_err' of trial f_4c3fd_00000_0_lr=.* is 50.0, expected 0 to 1"):
        import_results(tmp_path, name="x", columns=COLUMNS, error_scale="fraction")
    with pytest.warns(UserWarning, match=r"1 of 1 trials enter no distribution .*unknown"):
        import_results(tmp_path, name="x", columns=COLUMNS)
    next(tmp_path.glob("*/params.json")).write_text("[")
    with pytest.raises(UnusableResults, match=r"params.json: it holds no JSON object"):
        import_results(tmp_path, name="x", columns=COLUMNS)


def test_nested_parameters_become_flat() -> None:
    pickled = {"_type": "CLOUDPICKLE_FALLBACK", "value": "8005"}
    nested = {"a": {"b": {"c": 1}, "d": [1, 2]}, "e": {}, "f": pickled, "g": None}
    assert flat(nested) == {"a/b/c": 1, "a/d": "[1, 2]", "e": "{}", "f": "(pickled)", "g": None}
