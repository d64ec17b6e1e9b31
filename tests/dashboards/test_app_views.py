"""What the pages say about two arms, about one trial, and why an address is refused."""

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from dashboards import options
from dashboards.app.address import Address
from dashboards.app.plots import brush_figure
from dashboards.app.server import ServerNotStarted, make_server
from dashboards.app.store import _same
from dashboards.app.study import StudyData
from dashboards.app.views import comparison, trial
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]


def words(part: Any) -> str:
    """The text of a page's part."""
    if part is None or isinstance(part, str | int | float):
        return str(part or "")
    if isinstance(part, list | tuple):
        return " ".join(" ".join(map(words, part)).split())
    return words(getattr(part, "children", None))


def by_id(part: Any, name: str) -> str | None:
    """The text of the part with this id."""
    if getattr(part, "id", None) == name:
        return words(part)
    children = part if isinstance(part, list | tuple) else getattr(part, "children", None)
    children = children if isinstance(children, list | tuple) else [children] if hasattr(children, "children") else []
    return next((found for child in children if (found := by_id(child, name)) is not None), None)


def compared(study: StudyData, first: str, second: str) -> Any:
    study.summary("stability")
    return comparison.render(study, Address(study="s", view="comparison", first=first, second=second), narrow=False)


@pytest.fixture
def family(make_rows: Any, make_phases: MakeRecord) -> StudyData:
    """Three models whose 8 draws tell two of them apart alone (p = 2/256), but not among 15 comparisons."""
    steps = np.arange(8.0)
    models = {"a": steps + 10, "b": steps + 10.5, "c": steps + 10, "d": steps + 10, "e": steps + 10, "f": steps + 10}
    groups = [make_rows("stability", f"{name}/sgd", list(errors), sampler="random") for name, errors in models.items()]
    return StudyData(make_phases(*groups, make_rows("stability", "g/adamw", list(steps + 30), sampler="random")))


@pytest.mark.parametrize(("first", "second"), [("a/sgd", "b/sgd"), ("b/sgd", "a/sgd")])
def test_the_verdict_above_is_that_of_the_list_below(family: StudyData, first: str, second: str) -> None:
    page = compared(family, first, second)
    (listed,) = [one for one in family.summary("stability").model_verdicts if {one.arm_a, one.arm_b} == {first, second}]
    assert by_id(page, "verdict") == f"{listed.sentence}."
    assert "are not told apart" in listed.sentence
    assert by_id(page, "uncorrected") is None
    # 5 of the 15 pairs differ, each with p = 2/256.
    assert listed.holm_p == pytest.approx(15 * 2 / 256)
    assert "after Holm's correction 0.12" in words(page)


def test_a_pair_outside_the_family_says_that_it_is_not_corrected(family: StudyData) -> None:
    page = compared(family, "a/sgd", "g/adamw")
    assert str(by_id(page, "verdict")).startswith("a/sgd beats g/adamw on 8 of 8 common draws")
    assert "not corrected for several comparisons" in str(by_id(page, "uncorrected"))


def test_a_pair_without_common_draws_has_the_unpaired_sentence_everywhere(make_drawn: MakeRecord) -> None:
    errors = [1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0]
    study = StudyData(make_drawn(errors, {"lr": [0.1] * 8}, arms=["a/sgd"] * 4 + ["b/sgd"] * 4))
    page = compared(study, "b/sgd", "a/sgd")
    assert "unrelated draws" in str(by_id(page, "verdict"))
    assert words(page).count(study.summary("stability").model_verdicts[0].sentence) == 2


def page_of(record: StudyRecord) -> str:
    return words(trial.render(StudyData(record), Address(study="s", trial=record.trials["key"][0].as_py()), False))


def test_a_trial_says_only_what_is_known(make_rows: Any, make_phases: MakeRecord) -> None:
    record = make_phases(make_rows("stability", "m/sgd", [50.0], sampler="random"))
    assert "error of 50.0 % after 10 epochs." in page_of(record)
    assert "Seed 1000" in page_of(record)
    trials = record.trials
    for name in ("epochs", "epochs_done", "seed", "best_error"):
        place = trials.column_names.index(name)
        trials = trials.set_column(place, trials.field(name), pa.nulls(1, trials.field(name).type))
    text = page_of(replace(record, trials=trials, source="results.csv, 1 row"))
    assert "Completed with an error of 50.0 %." in text
    assert "Imported from results.csv, 1 row" in text
    for absent in ("None", "Seed", "Epochs done", "Lowest error", "MLflow"):
        assert absent not in text


def test_an_import_with_curves_of_unknown_length(make_record: MakeRecord) -> None:
    record = make_record(["m/sgd"], 1)
    place = record.trials.column_names.index("epochs")
    trials = record.trials.set_column(place, record.trials.field("epochs"), pa.nulls(1, pa.int64()))
    shown = page_of(replace(record, trials=trials))
    assert "None" not in shown
    assert f"{record.curves.num_rows} epochs." in shown


@pytest.mark.parametrize("change", [{"source": "other.csv"}, {"conditions": ("lr<0.01",)}, {"hardware": "1 x GPU"}])
def test_records_that_say_different_things_differ(make_record: MakeRecord, change: dict[str, Any]) -> None:
    record = make_record(draws=2)
    assert _same(record, replace(record))
    assert not _same(record, replace(record, **change))


class NoApp:
    """A server that does not get as far as to answer."""

    server = None


@pytest.mark.parametrize("host", ["256.1.1.1", "192.0.2.1"])
def test_an_address_of_another_machine_is_told_from_a_taken_port(host: str) -> None:
    with pytest.raises(ServerNotStarted, match=r"not an address of this machine\); give another --host"):
        make_server(NoApp(), host, 0)  # type: ignore[arg-type]


def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ServerNotStarted, match=r"something listens there already\); give another --port"):
            make_server(NoApp(), "127.0.0.1", other.getsockname()[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(("port", "is_accepted"), [("0", True), ("65535", True), ("65536", False), ("-1", False)])
def test_ports_have_their_range(port: str, is_accepted: bool) -> None:
    @click.command()
    @options.port_option
    def command(port: int) -> None:
        click.echo(port)

    result = CliRunner().invoke(command, ["--port", port])
    assert (result.exit_code == 0) == is_accepted
    assert ("--port" in result.output) != is_accepted


@pytest.mark.parametrize(("name", "typed"), [("columns", "--column:"), ("statuses", "--status:")])
def test_a_pair_without_its_sign_is_named_as_it_was_typed(name: str, typed: str) -> None:
    with pytest.raises(ValueError, match=f"^{typed} got 'error'"):
        options.pairs_of(name, ["arm=config", "error"])
    assert options.pairs_of(name, ["a=b=c"]) == {"a": "b=c"}


def test_extreme_values_can_be_brushed(make_drawn: MakeRecord) -> None:
    study = StudyData(make_drawn([10.0, 20.0], {"scale": [1e-300, 1e300]}))
    figure = brush_figure(study.sample("stability"), ("m/sgd",), study.styles, stacked=False, revision="1")
    room = [trace for trace in figure.data if trace.mode == "none"][-1]
    assert np.isfinite(room.x).all()
    assert room.x[0] < 1e-300
    assert room.x[1] > 1e300
