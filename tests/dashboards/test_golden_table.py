"""A trials table written by hand: ten trials of three arms, every number of every statistic worked out here.

draw   vit/adamw   vit/sgd    cnn/sgd
0      30          40         failed
1      20          diverged   25
2      24          22
3      50          pending
"""

import math
from collections.abc import Callable

import pyarrow as pa
import pytest

from dashboards.figures.colours import PALETTE, arm_styles
from dashboards.selection import arms_of
from dashboards.statistics.best_of_n import best_of_n
from dashboards.statistics.compare import Comparison, verdicts
from dashboards.statistics.convergence import convergence
from dashboards.statistics.edf import arm_edf
from dashboards.statistics.leaderboard import leaderboard
from dashboards.statistics.optimizer_gap import optimizer_gap
from dashboards.statistics.steepness import steepness_table
from dashboards.statistics.unpaired import UnpairedComparison
from dashboards.tables import CURVES_SCHEMA, TrialRecord, build_trials

Outcomes = dict[str, list[float | str]]
OUTCOMES: Outcomes = {
    "vit/adamw": [30.0, 20.0, 24.0, 50.0],
    "vit/sgd": [40.0, "diverged", 22.0, "pending"],
    "cnn/sgd": ["failed", 25.0],
}


def outcome_record(outcome: float | str) -> TrialRecord:
    if isinstance(outcome, str):
        return TrialRecord(status=outcome)
    return TrialRecord(status="completed", error=outcome, best_error=outcome - 1)


@pytest.fixture
def trials(make_ledger: Callable[..., pa.Table]) -> pa.Table:
    ledger = pa.concat_tables([make_ledger(["vit/adamw", "vit/sgd"], 4), make_ledger(["cnn/sgd"], 2)])
    records = {
        f"stability/{arm}/{draw:06d}/0": outcome_record(outcome)
        for arm, outcomes in OUTCOMES.items()
        for draw, outcome in enumerate(outcomes)
    }
    return build_trials(ledger, records)


def test_edf(trials: pa.Table) -> None:
    edf = arm_edf(trials, "vit/sgd")
    assert edf.errors.tolist() == [22.0, 40.0]
    assert edf.lower.tolist() == [0.25, 0.5]
    assert edf.upper.tolist() == [0.5, 0.75]
    assert [edf.share_within(error) for error in (21.9, 22.0, 39.9, 1e3)] == [0.0, 0.25, 0.25, 0.5]
    assert [edf.quantile(share) for share in (0.25, 0.5, 0.75)] == [22.0, 40.0, math.inf]
    assert edf.quantile_bounds(0.5) == (22.0, 40.0)
    assert edf.quantile_bounds(0.25) == (-math.inf, 22.0)


def test_leaderboard(trials: pa.Table) -> None:
    table = leaderboard(trials)
    assert table["arm"].to_pylist() == ["vit/adamw", "vit/sgd", "cnn/sgd"]
    assert table["rank"].to_pylist() == [1, 2, 3]
    assert table["best_error"].to_pylist() == [20.0, 22.0, 25.0]
    assert table["median_error"].to_pylist() == [24.0, 40.0, 25.0]
    assert table["best_draw"].to_pylist() == [1, 2, 1]
    counts = table.select(["draws", "completed", "diverged", "missing"]).to_pylist()
    assert [tuple(row.values()) for row in counts] == [(4, 4, 0, 0), (4, 2, 1, 1), (2, 1, 0, 1)]
    # vit/adamw: 20 and 24 are within 5 points of 20.
    assert table["share_within_1_of_best"].to_pylist() == [0.25, 0.25, 0.5]
    assert table["share_within_5_of_best"].to_pylist() == [0.5, 0.25, 0.5]
    best = {row["key"]: row for row in trials.to_pylist()}["stability/vit/sgd/000002/0"]
    assert table["lr"].to_pylist()[1] == best["lr"]
    assert table["weight_decay"].to_pylist()[1] == best["weight_decay"]


def test_leaderboard_of_arms_without_a_result(make_ledger: Callable[..., pa.Table]) -> None:
    ledger = make_ledger(["a/sgd", "b/sgd", "c/sgd"], 1)
    records = {f"stability/{arm}/000000/0": outcome_record(30.0) for arm in ("b/sgd", "c/sgd")}
    table = leaderboard(build_trials(ledger, records))
    assert table["arm"].to_pylist() == ["b/sgd", "c/sgd", "a/sgd"]
    assert table["rank"].to_pylist() == [1, 1, None]
    assert table.to_pylist()[2]["best_error"] is None
    assert table.to_pylist()[2]["median_error"] == math.inf


def test_optimizer_gap(trials: pa.Table) -> None:
    # Draws 0, 1, 2 have a result on both sides: adamw 30, 20, 24; sgd 40, inf, 22; gaps 10, inf, -2.
    assert optimizer_gap(trials).to_pylist() == [
        {
            "model": "vit",
            "optimizer_a": "adamw",
            "optimizer_b": "sgd",
            "best_a": 20.0,
            "best_b": 22.0,
            "best_gap": 2.0,
            "median_a": 24.0,
            "median_b": 40.0,
            "median_gap": 10.0,
            "n": 3,
        }
    ]


def test_optimizer_gap_without_results(make_ledger: Callable[..., pa.Table]) -> None:
    ledger = make_ledger(["a/adamw", "a/sgd", "b/lion"], 1)
    nothing = optimizer_gap(build_trials(ledger, {})).to_pylist()[0]
    assert nothing["n"] == 0
    assert {nothing[name] for name in ("best_a", "best_gap", "median_b", "median_gap")} == {None}
    records = {f"stability/a/{name}/000000/0": TrialRecord(status="diverged") for name in ("adamw", "sgd")}
    diverged = optimizer_gap(build_trials(ledger, records)).to_pylist()[0]
    assert (diverged["best_gap"], diverged["median_a"], diverged["median_gap"]) == (None, math.inf, 0.0)


def test_convergence(trials: pa.Table) -> None:
    errors = {"stability/vit/adamw/000000/0": [80.0, 60.0], "stability/vit/adamw/000001/0": [70.0, math.nan]}
    errors |= {"stability/vit/adamw/000002/0": [90.0], "stability/cnn/sgd/000001/0": [50.0], "other/x/000000/0": [1.0]}
    rows = [
        {"key": key, "epoch": epoch, "train_loss": 1.0, "error": error}
        for key, values in errors.items()
        for epoch, error in enumerate(values, start=1)
    ]
    table = convergence(trials, pa.Table.from_pylist(rows, schema=CURVES_SCHEMA))
    assert table.select(["arm", "epoch", "n", "error_median"]).to_pylist() == [
        {"arm": "cnn/sgd", "epoch": 1, "n": 1, "error_median": 50.0},
        {"arm": "vit/adamw", "epoch": 1, "n": 3, "error_median": 80.0},
        {"arm": "vit/adamw", "epoch": 2, "n": 1, "error_median": 60.0},
    ]
    # Type 7 of 70, 80, 90: a tenth of the way over two intervals is 70 + 0.2 * 10.
    assert table["error_p10"].to_pylist()[1] == pytest.approx(72.0)
    assert table["error_p90"].to_pylist()[1] == pytest.approx(88.0)
    assert convergence(trials, CURVES_SCHEMA.empty_table()).num_rows == 0


def test_styles_are_fixed_by_the_sorted_arms(trials: pa.Table) -> None:
    arms = arms_of(trials)
    assert [arm.arm for arm in arms] == ["cnn/sgd", "vit/adamw", "vit/sgd"]
    styles = arm_styles(reversed(arms))
    assert [styles[arm.arm].colour for arm in arms] == list(PALETTE[:3])
    assert [styles[arm.arm].dash for arm in arms] == ["dash", "solid", "dash"]
    assert styles["cnn/sgd"].shade(0.5) == "rgba(0, 114, 178, 0.5)"


def test_steepness(trials: pa.Table) -> None:
    # The lowest errors stand in for references: 25, 20 and 22.
    # Deltas of vit/adamw: 0, 4, 10, 30; of vit/sgd: 0, 18, +inf, unknown.
    table = steepness_table(trials)
    assert table["arm"].to_pylist() == ["cnn/sgd", "vit/adamw", "vit/sgd"]
    assert table["reference"].to_pylist() == [25.0, 20.0, 22.0]
    assert table["share_within_2"].to_pylist() == [0.5, 0.25, 0.25]
    assert table["share_within_4"].to_pylist() == [0.5, 0.5, 0.25]
    assert table["share_within_4_upper"].to_pylist() == [1.0, 0.5, 0.5]
    # Of ten points: vit/adamw 10 + 6 of 4 * 10, vit/sgd 10 of 40 and 10 more that are unknown.
    assert table["area_lower"].to_pylist() == pytest.approx([0.5, 0.4, 0.25])
    assert table["area_upper"].to_pylist() == pytest.approx([1.0, 0.4, 0.5])
    assert table["median_lower"].to_pylist() == [-math.inf, 4.0, 0.0]
    assert table["median_upper"].to_pylist() == [0.0, 4.0, 18.0]


def test_best_of_n(trials: pa.Table) -> None:
    rows = [row for row in best_of_n(trials).to_pylist() if row["arm"] == "vit/sgd"]
    # Of 22, 40 and +inf; two of them: 22, 22 or 40.
    assert [(row["n"], row["q25"], row["median"], row["q75"]) for row in rows] == [
        (1, 22.0, 40.0, None),
        (2, 22.0, 22.0, 40.0),
        (3, 22.0, 22.0, 22.0),
    ]
    assert [row["mean"] for row in rows] == [None, pytest.approx(28.0), pytest.approx(22.0)]
    assert {(row["known"], row["missing"]) for row in rows} == {(3, 1)}


def test_verdicts(trials: pa.Table) -> None:
    ((models,), (optimizers,)) = verdicts(trials)
    assert isinstance(optimizers, Comparison)
    assert (optimizers.n_pairs, optimizers.wins_a, optimizers.wins_b) == (3, 2, 1)
    assert optimizers.superiority == 2 / 3
    # cnn/sgd and vit/sgd have one draw with a result in common: 25 against 40, +inf and 22.
    assert isinstance(models, UnpairedComparison)
    assert (models.n_a, models.n_b, models.n_missing_a, models.n_missing_b) == (1, 3, 1, 1)
    assert models.cliffs_delta == pytest.approx(1 / 3)
    assert models.ks_statistic == pytest.approx(2 / 3)
    # Two tests: 2 to 1 has p = 1, one draw among three others cannot be told apart. Wilson of 2 / 3 with n = 1:
    # (2 / 3 + 1.92 +- 1.96 (2 / 9 + 0.96) ** 0.5) / 4.84 = 0.534 +- 0.440.
    assert [models.holm_p, optimizers.holm_p] == [1.0, 1.0]
    assert models.sentence == (
        "cnn/sgd and vit/sgd are not told apart by 1 and 3 unrelated draws (cnn/sgd is better in 67 % [9 %, 97 %] of "
        "pairings), medians 25.0 and 40.0 % (vit/sgd diverged on 1; 2 more without a result)"
    )
