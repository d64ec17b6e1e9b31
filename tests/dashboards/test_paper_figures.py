"""The figures in the paper's arrangement, and those of the space: they draw the numbers that the statistics give."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dashboards.figures import (
    best_of_n_figure,
    divergence_figure,
    edf_figure,
    importance_figure,
    length_figure,
    map_figure,
    optimizer_figure,
    peak_figure,
    stability_figure,
)
from dashboards.figures.colours import arm_styles
from dashboards.figures.points import scatter_points
from dashboards.figures.windows import delta_window, error_window
from dashboards.selection import ArmName, arms_of
from dashboards.space.divergence import diverged_shares
from dashboards.space.maps import setting_map
from dashboards.space.positions import positions
from dashboards.statistics.best_of_n import best_of_n
from dashboards.statistics.costs import ArmCost
from dashboards.statistics.delta import delta_edf
from dashboards.statistics.edf import Edf, arm_edf, empirical_distribution
from dashboards.statistics.edfs import Edfs
from dashboards.statistics.lengths import lengths
from dashboards.statistics.optimizer_gap import optimizer_gap_by_length
from dashboards.statistics.peak import peak
from dashboards.statistics.published import published_peak
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]
MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]

ARMS = ("c/adamw", "c/sgd", "p/adamw", "p/sgd")


def drawn(figure: Any, arm: str, axis: str = "x") -> Any:
    """The one trace of an arm with something to hover over in a panel."""
    traces = [t for t in figure.data if t.legendgroup == arm and (t.xaxis or "x") == axis and t.hoverinfo != "skip"]
    (trace,) = [t for t in traces if t.hovertemplate]
    return trace


@pytest.fixture
def trained(make_rows: MakeRows, make_trials: MakeTrials) -> pa.Table:
    """Four arms trained for 5, 10 and 20 epochs with two seeds each; the last one diverges where it trains longest."""
    rows: list[dict[str, Any]] = []
    for place, arm in enumerate(ARMS):
        for epochs, error in ((5, 40.0), (10, 30.0), (20, 25.0)):
            ends: list[float | str] = [error + place, error + place + 1 + 200 / epochs**2]
            rows += make_rows(
                "length", arm, ["diverged"] * 2 if (arm, epochs) == ("p/sgd", 20) else ends, epochs=epochs
            )
        rows += make_rows("peak", arm, [20.0 + place, 21.0 + place], epochs=40)
    return make_trials(rows)


def test_length_gaps_are_drawn_with_their_intervals(trained: pa.Table) -> None:
    table = lengths(trained.filter(pc.equal(trained["phase"], "length")))
    figure = length_figure(table)
    line = drawn(figure, "c/adamw")
    assert line.x.tolist() == [5, 10, 20]
    # Of 40 and 49, 30 and 33, 25 and 26.5.
    assert line.y.tolist() == [18.75, 5.75, 0.0]
    rows = [row for row in table.to_pylist() if row["arm"] == "c/adamw"]
    np.testing.assert_allclose(line.y - line.error_y.arrayminus, [row["gap_low"] for row in rows])
    np.testing.assert_allclose(line.y + line.error_y.array, [row["gap_high"] for row in rows])
    assert np.isnan(drawn(figure, "p/sgd").y).all()
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.ticktext) == ["5", "10", "20"]


def test_optimizers_of_a_model_side_by_side(trained: pa.Table) -> None:
    table = optimizer_gap_by_length(trained.filter(pc.equal(trained["phase"], "length")))
    figure = optimizer_figure(table, arms=arms_of(trained))
    assert list(drawn(figure, "c/sgd").y) == [45.5, 32.5, 26.75]
    gaps = drawn(figure, "c/adamw", "x2")
    assert gaps.y.tolist() == [1.0, 1.0, 1.0]
    assert figure.layout.yaxis2.title.text == "sgd minus adamw, points"
    # All seeds of p/sgd diverged at 20 epochs: its best shorter training stands in, hollow.
    hollow = drawn(figure, "p/sgd")
    assert list(hollow.y) == [47.5, 34.5, 34.5]
    assert [symbol.endswith("-open") for symbol in hollow.marker.symbol] == [False, False, True]


def test_peak_over_costs_beside_published_results(trained: pa.Table) -> None:
    costs = {arm: ArmCost(parameters=1_000_000 * (place + 1), flops=10**9) for place, arm in enumerate(ARMS)}
    table = peak(trained, costs)
    published = published_peak()
    figure = peak_figure(table, published)
    for place, arm in enumerate(ARMS):
        point = drawn(figure, arm)
        assert (point.x.tolist(), point.y.tolist()) == ([1_000_000 * (place + 1)], [20.5 + place])
        (row,) = [row for row in table.to_pylist() if row["arm"] == arm]
        assert point.y[0] + point.error_y.array[0] == pytest.approx(row["ci_high"])
    hollow = next(trace for trace in figure.data if trace.marker.symbol == "circle-open")
    assert sorted(hollow.y) == sorted(published["error"].to_pylist())
    assert sorted(hollow.x) == sorted(published["parameters"].to_pylist())
    titles = [figure.layout[name].title.text for name in ("xaxis", "xaxis2")]
    assert titles == ["parameters", "multiply-adds of one image"]


def test_peak_without_costs_has_a_row_per_arm(trained: pa.Table) -> None:
    figure = peak_figure(peak(trained))
    assert [(trace.y[0], trace.x[0]) for trace in figure.data] == [(arm, 20.5 + i) for i, arm in enumerate(ARMS)]


def test_stability_figure_has_the_papers_panels(make_record: MakeRecord) -> None:
    record = make_record()
    arms = [arm.arm for arm in arms_of(record.trials)]
    edfs, deltas = [arm_edf(record.trials, arm) for arm in arms], [delta_edf(record.trials, arm) for arm in arms]
    figure = stability_figure(scatter_points(record.trials), edfs, deltas)
    titles = [figure.layout[f"xaxis{number}"].title.text for number in ("", 2, 3, 4, 5)]
    assert titles[:3] == ["lr", "weight decay", "lr × weight decay"]
    assert titles[3:] == ["error minus the arm's reference, points", "final top-1 error, %"]
    for edf, delta in zip(edfs, deltas, strict=True):
        for axis, one in (("x4", delta), ("x5", edf)):
            curve = next(t for t in figure.data if t.legendgroup == edf.arm and t.xaxis == axis and t.hovertemplate)
            # Every step is drawn, not a thinned line.
            np.testing.assert_array_equal(curve.x[1:-1], one.x)
            np.testing.assert_array_equal(curve.y[1:-1], one.lower)
        best = next(t for t in figure.data if t.legendgroup == edf.arm and t.xaxis == "x" and t.line.dash == "dot")
        (row,) = [r for r in record.trials.to_pylist() if r["arm"] == edf.arm and r["error"] == edf.errors[0]]
        assert best.x[0] == row["lr"]


def test_points_of_some_arms_keep_their_panels(make_record: MakeRecord) -> None:
    points = scatter_points(make_record().trials)
    some = points.of(["vit_c_micro/sgd"])
    mask = np.array([arm == "vit_c_micro/sgd" for arm in points.arms])
    assert set(some.arms) == {"vit_c_micro/sgd"}
    for before, after in zip(points.panels, some.panels, strict=True):
        np.testing.assert_array_equal(after.values, before.values[mask])


def test_best_of_n_is_drawn_as_computed(make_record: MakeRecord) -> None:
    table = best_of_n(make_record().trials)
    figure = best_of_n_figure(table)
    for arm in set(table["arm"].to_pylist()):
        rows = [row for row in table.to_pylist() if row["arm"] == arm]
        assert drawn(figure, arm).y.tolist() == [row["median"] for row in rows]


def test_long_best_of_n_lines_are_thinned_and_keep_their_ends(make_record: MakeRecord) -> None:
    table = best_of_n(make_record(["a/sgd"], 2_000).trials)
    line = drawn(best_of_n_figure(table), "a/sgd")
    medians = dict(zip(table["n"].to_pylist(), table["median"].to_pylist(), strict=True))
    assert len(line.x) <= 160
    assert (line.x[0], line.x[-1]) == (1, table.num_rows)
    assert [medians[n] for n in line.x.tolist()] == line.y.tolist()


def test_diverged_shares_lie_within_their_bins(make_record: MakeRecord) -> None:
    table = diverged_shares(positions(make_record()), "lr")
    figure = divergence_figure(table)
    for arm in set(table["arm"].to_pylist()):
        rows = [row for row in table.to_pylist() if row["arm"] == arm]
        line = drawn(figure, arm)
        assert [None if np.isnan(share) else share for share in line.y] == [row["share"] for row in rows]
        assert all(row["low"] < x < row["high"] for row, x in zip(rows, line.x, strict=True))
        known = [(row["share_low"], row["share_high"]) for row in rows if row["n"]]
        ends = [(y - lo, y + hi) for y, lo, hi in zip(line.y, line.error_y.arrayminus, line.error_y.array, strict=True)]
        np.testing.assert_allclose([end for end in ends if not np.isnan(end[0])], known)


def test_maps_mark_diverged_and_leave_empty_cells_out(make_drawn: MakeRecord) -> None:
    units = {"lr": [0.1, 0.2, 0.9, 0.9], "weight_decay": [0.1, 0.1, 0.1, 0.9]}
    values = {name: [10.0 ** (2 * unit - 3) for unit in column] for name, column in units.items()}
    record = make_drawn([10.0, 20.0, np.inf, 40.0], values, units)
    where = positions(record)
    one = setting_map(where, "m/sgd", bins=2)
    cells, diverged = map_figure({"m/sgd": one}).data
    np.testing.assert_array_equal(cells.z, [[15.0, np.nan], [np.nan, 40.0]])
    np.testing.assert_array_equal(diverged.z, [[np.nan, 1.0], [np.nan, np.nan]])
    assert [list(row) for row in cells.text] == [["15.0", ""], ["", "40.0"]]
    np.testing.assert_array_equal(cells.x, one.x_edges)


def test_importance_bars_are_the_shares() -> None:
    importances: Mapping[str, Mapping[str, float]] = {"b/sgd": {"lr": 0.7, "wd": 0.3}, "a/sgd": {"lr": 1.0}}
    figure = importance_figure(importances)
    assert {bar.meta: dict(zip(bar.y, bar.x, strict=True)) for bar in figure.data} == dict(importances)


def test_windows() -> None:
    def delta(errors: list[float]) -> Any:
        return empirical_distribution(errors, arm="a/sgd")

    most_near = delta_window([delta([0.0, 1.0, 2.0, 50.0])])
    assert (most_near.shown_right, most_near.share_beyond) == (10.0, 0.25)
    assert most_near.left < 0
    assert most_near.right > 50
    # Where the paper's panel would show less than half, or everything is within, all is in view.
    for errors in ([0.0, 20.0, 30.0], [0.0, 1.0, 2.0]):
        window = delta_window([delta(errors)])
        assert (window.shown_right, window.share_beyond) == (window.right, 0.0)
        assert window.right > max(errors)
    assert (error_window([]).left, error_window([]).right) == (0.0, 103.0)
    assert error_window([delta([0.5, 90.0])]).left == 0.0


def test_many_arms_look_different() -> None:
    arms = [ArmName(arm=f"m{m}/{o}", model=f"m{m}", optimizer=o) for m in range(9) for o in ("adamw", "sgd")]
    styles = arm_styles(arms)
    assert len({(style.colour, style.dash) for style in styles.values()}) == 18
    assert len({(style.colour, style.symbol) for style in styles.values()}) == 18
    assert all(styles[f"m{m}/adamw"].colour == styles[f"m{m}/sgd"].colour for m in range(9))
    one_model = arm_styles([ArmName(arm=f"m/o{o}", model="m", optimizer=f"o{o}") for o in range(9)])
    assert len({(style.colour, style.dash) for style in one_model.values()}) == 9


def test_long_names_are_short_in_legends_and_whole_on_hover() -> None:
    arms = [f"{'model_' * 12}{stem}_and_{'more_' * 8}/sgd" for stem in ("conv", "patch")]
    edfs = [empirical_distribution([1.0, 2.0], arm=arm) for arm in arms]
    figure = edf_figure(edfs)
    entries = [trace for trace in figure.data if trace.showlegend]
    names = [trace.name for trace in entries]
    assert len(set(names)) == 2
    assert [trace.meta for trace in entries] == [f"{arm} (n 2, 0 % diverged)" for arm in arms]
    assert figure.layout.legend.entrywidth > 450


def test_edfs_by_arm(make_record: MakeRecord) -> None:
    trials = make_record().trials
    found: list[Edf] = [arm_edf(trials, arm.arm) for arm in arms_of(trials)]
    edfs = Edfs(found[::-1])
    assert list(edfs) == [edf.arm for edf in found]
    assert edfs["vit_c_micro/sgd"] is found[1]
    assert sum(trace.showlegend is True for trace in edfs.plot().data) == 4
    assert len(found[0].plot().data) == 3
    with pytest.raises(KeyError, match="No arm 'x'; arms: vit_c_micro/adamw"):
        edfs["x"]
    with pytest.raises(ValueError, match="same label"):
        Edfs([found[0], found[0]])
