"""Studies that nobody trained, for benchmarks of what reads results."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dashboards.tables import CURVES_SCHEMA, HYPERPARAMETERS_METADATA, join_records
from dashboards.tracking.study import StudyRecord

STUDY = "made up"


def made_up(trials: int, arms: Sequence[str], epochs: int) -> StudyRecord:
    """A finished study, as a tracking server would give it.

    Errors grow with the distance from a good learning rate, the more the later the arm stands in the list; the last arm
    diverges at high ones.

    Args:
        trials: How many in all; rounded down to as many for each arm. The n-th draw of each arm is the same point.
        arms: ``MODEL/OPTIMIZER`` each.
        epochs: Of each trial, with a row of the curves each.
    """
    generator = np.random.default_rng(0)
    units = generator.random((trials // len(arms), 2))
    ledger = pa.concat_tables([_ledger(arm, units, epochs) for arm in arms])
    ledger = ledger.replace_schema_metadata({HYPERPARAMETERS_METADATA: json.dumps(["lr", "weight_decay"])})
    slopes = np.repeat(np.linspace(40.0, 80.0, len(arms)), len(units))
    first, second = np.tile(units, (len(arms), 1)).T
    errors = 8.0 + slopes * np.abs(first - 0.6) + 5.0 * second + np.abs(generator.normal(0.0, 2.0, len(slopes)))
    diverged = np.zeros(len(errors), dtype=np.bool_)
    diverged[-len(units) :] = units[:, 0] > 0.8
    return StudyRecord(
        study=STUDY,
        trials=join_records(ledger, _records(ledger["key"], errors, diverged, epochs)),
        curves=_curves(ledger["key"].combine_chunks(), errors, diverged, epochs),
        timing={},
        units=ledger.select(["key", "unit_lr", "unit_weight_decay"]).rename_columns(["key", "lr", "weight_decay"]),
        study_yaml="",
        experiment_id="1",
        study_run_id="run",
        tracking_uri="sqlite:///mlflow.db",
    )


def _ledger(arm: str, units: np.ndarray, epochs: int) -> pa.Table:
    n = len(units)
    model, _, optimizer = arm.partition("/")
    texts = {"study": STUDY, "phase": "stability", "arm": arm, "model": model, "optimizer": optimizer}
    columns = {name: pa.repeat(text, n) for name, text in {**texts, "sampler": "random"}.items()}
    columns["key"] = pa.array([f"stability/{arm}/{draw:06d}/0" for draw in range(n)])
    columns |= {"draw": pa.array(range(n)), "seed": pa.array(range(n)), "epochs": pa.repeat(epochs, n)}
    columns |= {"lr": pa.array(1e-4 * 32 ** units[:, 0]), "weight_decay": pa.array(1e-2 * 32 ** units[:, 1])}
    columns |= {"unit_lr": pa.array(units[:, 0]), "unit_weight_decay": pa.array(units[:, 1])}
    return pa.table(columns)


def _records(keys: pa.ChunkedArray, errors: np.ndarray, diverged: np.ndarray, epochs: int) -> pa.Table:
    n = len(errors)
    final = pa.array(errors, mask=diverged)
    nothing = pa.nulls(n)
    return pa.table(
        {
            "key": keys,
            "status": pa.array(np.where(diverged, "diverged", "completed").tolist()),
            "error": final,
            "best_error": final,
            "epochs_done": pa.array(np.where(diverged, 0, epochs)),
            "run_id": nothing,
            "pack": nothing,
            "started": nothing,
            "seconds": pa.repeat(60.0, n),
            "reason": pa.array(np.where(diverged, "loss is not finite", "").tolist()),
        }
    )


def _curves(keys: pa.Array, errors: np.ndarray, diverged: np.ndarray, epochs: int) -> pa.Table:
    """Errors that fall from 90 % to the final one; none of diverged trials."""
    completed = np.flatnonzero(~diverged)
    completed = completed[np.argsort(keys.take(pa.array(completed)).to_numpy(zero_copy_only=False), kind="stable")]
    numbers = np.arange(1, epochs + 1)
    final = errors[completed, None]
    falling = (final + (90.0 - final) * np.exp(-numbers / 10)).ravel()
    columns = {
        "key": keys.take(pa.array(np.repeat(completed, epochs))),
        "epoch": np.tile(numbers, len(completed)),
        "train_loss": falling / 40,
        "error": falling,
    }
    return pa.table(columns, schema=CURVES_SCHEMA)
