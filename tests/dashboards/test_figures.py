"""Figures draw exactly the numbers they are given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dashboards.figures import convergence_figure, edf_figure, scatter_figure
from dashboards.figures.colours import arm_styles
from dashboards.figures.layout import logarithmic
from dashboards.figures.points import scatter_points
from dashboards.selection import arms_of
from dashboards.statistics.convergence import convergence
from dashboards.statistics.delta import delta_edf
from dashboards.statistics.edf import arm_edf, empirical_distribution
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]


def named(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name and trace.name.startswith(name)]


def test_edf_curves_are_the_exact_steps_with_their_bands() -> None:
    edf = empirical_distribution([10.0, 20.0, 20.0, 40.0], diverged=2, missing=2, arm="vit/sgd")
    figure = edf_figure([edf])
    low, high, best_case, curve = figure.data
    left, right = figure.layout.xaxis.range
    outline = edf.outline(left, right)
    assert (left, right) == pytest.approx((9.1, 40.9))
    assert curve.x.tolist() == [left, 10.0, 20.0, 40.0, right]
    assert curve.y.tolist() == [0.0, 1 / 8, 3 / 8, 4 / 8, 4 / 8]
    assert {trace.line.shape for trace in figure.data} == {"hv"}
    assert curve.name == "vit/sgd (n 8, 25 % diverged, 2 missing)"
    np.testing.assert_array_equal(best_case.y, outline.upper)
    np.testing.assert_array_equal(low.y, outline.band_lower)
    np.testing.assert_array_equal(high.y, outline.band_upper)
    assert high.fill == "tonexty"
    assert [trace.showlegend for trace in figure.data] == [False, False, False, True]


def test_edf_figure_of_arms_without_results() -> None:
    figure = edf_figure([empirical_distribution([], missing=3, arm="a/sgd")])
    assert figure.layout.xaxis.range == (0.0, 103.0)


def test_delta_edfs_stand_beside_the_edfs_with_the_same_look_and_one_legend(
    make_rows: Callable[..., list[dict[str, Any]]], make_trials: Callable[..., pa.Table]
) -> None:
    arms = ("a/adamw", "b/sgd")
    errors = [10.0, 14.0, "diverged", 30.0]
    drawn = [row for arm in arms for row in make_rows("stability", arm, errors, sampler="random")]
    trials = make_trials(drawn, make_rows("reference", "a/adamw", [12.0]))
    deltas = [delta_edf(trials, arm) for arm in arms]
    figure = edf_figure([arm_edf(trials, arm) for arm in arms], deltas=deltas)
    assert figure.layout.xaxis.range == pytest.approx((9.4, 30.6))
    # a/adamw: -2, 2 and 18 points from 12 %; b/sgd: 0, 4 and 20 points from its own best.
    # Four of the six end within 10 points, so the panel opens there, and the curves go on to the last.
    assert figure.layout.xaxis2.range == pytest.approx((-2.36, 10.0))
    for delta, steps in zip(deltas, ([-2.0, 2.0, 18.0], [0.0, 4.0, 20.0]), strict=True):
        absolute, relative = named(figure, str(delta.arm))
        assert (absolute.xaxis, relative.xaxis) == ("x", "x2")
        assert relative.x.tolist()[1:-1] == steps
        assert relative.y.tolist()[1:-1] == [0.25, 0.5, 0.75]
        assert (absolute.showlegend, relative.showlegend) == (True, False)
        assert relative.x[-1] == pytest.approx(20.66)
        assert absolute.line.color == relative.line.color
        assert absolute.legendgroup == relative.legendgroup == delta.arm
    (zero,) = figure.layout.shapes
    assert (zero.x0, zero.x1, zero.xref) == (0.0, 0.0, "x2")


def test_an_arm_looks_the_same_everywhere(make_record: MakeRecord) -> None:
    record = make_record()
    arms = arms_of(record.trials)
    styles = arm_styles(arms)
    # Figures of some arms keep the colours of the whole study.
    some = [arm_edf(record.trials, arm.arm) for arm in arms[2:]]
    curves = convergence(record.trials, record.curves)
    figures = (edf_figure(some, styles), scatter_figure(record.trials, styles), convergence_figure(curves, styles))
    for arm in arms[2:]:
        edf, scatter, lines = (named(figure, arm.arm) for figure in figures)
        assert {trace.line.color for trace in edf + lines} == {styles[arm.arm].colour}
        assert {trace.marker.color or trace.line.color for trace in scatter} == {styles[arm.arm].colour}
        assert {trace.line.dash for trace in edf + lines} == {styles[arm.arm].dash}
    assert len({style.colour for style in styles.values()}) == 4


def test_scatter_shows_every_result_once_per_panel(make_record: MakeRecord) -> None:
    record = make_record()
    figure = scatter_figure(record.trials)
    results = [row for row in record.trials.to_pylist() if row["status"] in ("completed", "diverged")]
    for axis, column in (("x", "lr"), ("x2", "weight_decay"), ("x3", None)):
        drawn = sorted(
            (float(x), int(draw))
            for trace in figure.data
            if trace.xaxis == axis and trace.customdata is not None
            for x, draw in zip(trace.x, trace.customdata, strict=True)
        )
        expected = [(row[column] if column else row["lr"] * row["weight_decay"], row["draw"]) for row in results]
        assert drawn == sorted(expected)
    assert [figure.layout[axis].type for axis in ("xaxis", "xaxis2", "xaxis3")] == ["log"] * 3


def test_diverged_trials_are_crosses_above_all_others(make_record: MakeRecord) -> None:
    record = make_record()
    points = scatter_points(record.trials)
    crosses = [trace for trace in scatter_figure(record.trials).data if trace.marker.symbol == "x" and len(trace.x)]
    heights = {float(height) for trace in crosses for height in trace.y}
    assert heights == {points.ceiling}
    assert points.ceiling > points.errors[np.isfinite(points.errors)].max()
    assert sum(len(trace.x) for trace in crosses) == 3 * int(np.isinf(points.errors).sum())


def test_panels_of_other_search_spaces(make_record: MakeRecord) -> None:
    trials = make_record(["a/sgd"], 4).trials
    only_lr = trials.replace_schema_metadata({"stablesweep.hyperparameters": '["lr", "status"]'})
    assert [panel.title for panel in scatter_points(only_lr).panels] == ["lr"]
    place = trials.column_names.index("lr")
    negative = trials.set_column(place, "lr", [[-1.0, 0.5, 1.0, 2.0]])
    panels = scatter_points(negative).panels
    assert [panel.logarithmic for panel in panels] == [False, True, False]
    nothing = trials.replace_schema_metadata({"stablesweep.hyperparameters": "[]"})
    assert len(scatter_figure(nothing).data) == 0


def test_convergence_lines_are_the_medians(make_record: MakeRecord) -> None:
    record = make_record()
    table = convergence(record.trials, record.curves)
    figure = convergence_figure(table)
    for arm in {row["arm"] for row in table.to_pylist()}:
        rows = [row for row in table.to_pylist() if row["arm"] == arm]
        (line,) = named(figure, arm)
        assert line.x.tolist() == [row["epoch"] for row in rows]
        assert line.y.tolist() == [row["error_median"] for row in rows]
        assert line.customdata.tolist() == [row["n"] for row in rows]


def test_markup_in_names_is_escaped_everywhere(make_record: MakeRecord) -> None:
    record = make_record(["<b>vit</b>&/sgd", "a/sgd"], 5)
    figures = [
        edf_figure([arm_edf(record.trials, "<b>vit</b>&/sgd")]),
        scatter_figure(record.trials),
        convergence_figure(convergence(record.trials, record.curves)),
    ]
    for figure in figures:
        assert named(figure, "&lt;b&gt;vit&lt;/b&gt;&amp;/sgd")
        assert "<b>vit" not in str(figure.to_plotly_json())


@pytest.mark.parametrize(("power", "step"), [(200, 100), (300, 150)])
def test_a_log_axis_over_extreme_values_has_few_labels(power: int, step: int) -> None:
    assert logarithmic([10.0**-power, 10.0**power])["dtick"] == step


@pytest.mark.parametrize("value", [1e-300, 1e300, 5e-324, 1.2e308])
def test_a_log_axis_over_one_extreme_value_has_finite_ticks(value: float) -> None:
    ticks = logarithmic([value])["tickvals"]
    assert ticks
    assert all(0 < tick < np.inf for tick in ticks)
