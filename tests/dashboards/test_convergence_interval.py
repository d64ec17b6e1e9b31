"""Quantiles by epoch against numpy, and the interval of the median against its definition."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom

from dashboards.statistics.convergence import CONVERGENCE_SCHEMA, convergence
from dashboards.tables import CURVES_SCHEMA

MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]
MakeRecord = Callable[..., Any]


def curves_of(errors: dict[str, list[float]]) -> pa.Table:
    rows = [
        {"key": key, "epoch": epoch, "train_loss": 1.0, "error": error}
        for key, values in errors.items()
        for epoch, error in enumerate(values, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=CURVES_SCHEMA)


def test_quantiles_are_numpys(make_record: MakeRecord) -> None:
    record = make_record()
    arms = dict(zip(record.trials["key"].to_pylist(), record.trials["arm"].to_pylist(), strict=True))
    errors: dict[tuple[str, int], list[float]] = {}
    for row in record.curves.to_pylist():
        errors.setdefault((arms[row["key"]], row["epoch"]), []).append(row["error"])
    table = convergence(record.trials, record.curves)
    assert table.schema == CONVERGENCE_SCHEMA
    assert [(row["arm"], row["epoch"]) for row in table.to_pylist()] == sorted(errors)
    for row in table.to_pylist():
        values = errors[row["arm"], row["epoch"]]
        assert row["n"] == len(values)
        expected = np.quantile(values, [0.1, 0.5, 0.9])
        assert [row["error_p10"], row["error_median"], row["error_p90"]] == pytest.approx(list(expected))


def test_the_order_and_the_chunks_of_the_curves_change_nothing(make_record: MakeRecord) -> None:
    record = make_record()
    order = np.random.default_rng(0).permutation(record.curves.num_rows)
    mixed = record.curves.take(pa.array(order))
    parts = pa.concat_tables([mixed.slice(0, 7), mixed.slice(7)])
    assert parts["key"].num_chunks == 2
    assert convergence(record.trials, parts).equals(convergence(record.trials, record.curves))


def test_epochs_that_are_steps_of_training(make_record: MakeRecord) -> None:
    """The numbers of epochs are names alone, however large and far apart."""
    record = make_record()
    epochs = record.curves["epoch"].to_numpy()
    steps = record.curves.set_column(1, CURVES_SCHEMA.field("epoch"), [pa.array((epochs - 3) * 10**15)])
    expected = convergence(record.trials, record.curves, confidence=0.95)
    renamed = [(epoch - 3) * 10**15 for epoch in expected["epoch"].to_pylist()]
    place = expected.column_names.index("epoch")
    expected = expected.set_column(place, expected.schema.field("epoch"), [pa.array(renamed)])
    assert convergence(record.trials, steps, confidence=0.95).equals(expected)


@pytest.mark.parametrize("n", [1, 5, 6, 20, 101])
def test_interval_of_the_median(n: int, make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("stability", "a/sgd", [float(place) for place in range(n)], sampler="random"))
    curves = curves_of({key: [float(place)] for place, key in enumerate(sorted(trials["key"].to_pylist()), start=1)})
    (row,) = convergence(trials, curves, confidence=0.95).to_pylist()
    # From the k-th to the (n + 1 - k)-th of 1..n; P(k <= below < n + 1 - k) is what it covers.
    covers = {k: binom.cdf(n - k, n, 0.5) - binom.cdf(k - 1, n, 0.5) for k in range(1, n // 2 + 1)}
    best = max((k for k, chance in covers.items() if chance >= 0.95), default=None)
    expected = (None, None) if best is None else (float(best), float(n + 1 - best))
    assert (row["median_low"], row["median_high"]) == expected
    assert (best is None) == (n <= 5)


def test_no_curves_and_no_trials(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("stability", "a/sgd", [1.0], sampler="random"))
    strangers = curves_of({"other/x/000000/0": [1.0], trials["key"][0].as_py(): [math.nan, math.inf]})
    for rows, curves in ((trials, strangers), (trials, strangers.slice(0, 0)), (trials.slice(0, 0), strangers)):
        assert convergence(rows, curves).equals(CONVERGENCE_SCHEMA.empty_table())
        assert convergence(rows, curves, confidence=0.9).num_rows == 0


def test_a_confidence_beyond_one(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("stability", "a/sgd", [1.0], sampler="random"))
    with pytest.raises(ValueError, match="confidence: got 95"):
        convergence(trials, CURVES_SCHEMA.empty_table(), confidence=95)
