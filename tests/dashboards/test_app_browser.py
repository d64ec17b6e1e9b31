"""The web app in a real browser, over studies in memory."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect

from dashboards.tables import TrialRecord
from dashboards.tracking.study import StudyRecord
from tests.browser import until
from tests.dashboards.app_in_browser import (
    Serving,
    click_dot,
    draw_box,
    figure,
    follow,
    open_view,
    place_of,
    query,
    wait_js,
)

MakeRecord = Callable[..., StudyRecord]
NAME = "<b>vit</b><script>document.title = 'owned'</script>"
ARMS = ("vit_c_micro/adamw", "vit_c_micro/sgd", "vit_p_micro/adamw", "vit_p_micro/sgd")
HEADINGS = {
    "progress": "Trials by status",
    "stability": "Errors of each arm",
    "comparison": "Draw by draw",
    "optimizers": "Optimizer gap of each model",
    "length": "How fast the errors fall",
    "leaderboard": "Best of n random draws",
}


class Shelf:
    """Studies in memory."""

    def __init__(self, studies: Mapping[str, StudyRecord]) -> None:
        self.studies = dict(studies)

    def names(self) -> list[str]:
        return sorted(self.studies)

    def read(self, names: Sequence[str]) -> StudyRecord:
        if names[0] not in self.studies:
            raise ValueError(f"No study {names[0]!r} here.")
        return self.studies[names[0]]


_SHELVES: dict[str, Serving] = {}


@pytest.fixture
def shelf(make_record: MakeRecord, make_rows: Any, make_phases: MakeRecord, start: Callable[..., Serving]) -> Serving:
    """An app with studies of all kinds, the same one for all tests."""
    if not _SHELVES:
        failed = {
            key: TrialRecord(status="failed", reason="no GPU") for key in make_record(draws=3).trials["key"].to_pylist()
        }
        search = make_rows("search", "m/sgd", [30.0, "pruned", 12.5], sampler="tpe")
        on_server = replace(make_record(study="quickstart"), tracking_uri="http://me:secret@127.0.0.1:5000/mlflow")
        studies = {
            "quickstart": on_server,
            "failed": make_record(draws=3, study="failed", records=failed),
            "search": make_phases(search, study="search"),
            NAME: make_record([f"{NAME}/adamw", f"{NAME}/sgd", "vit_c/adamw"], 8, study=NAME),
        }
        _SHELVES["all"] = start("sqlite:///mlflow.db", source=Shelf(studies))
    return _SHELVES["all"]


def brushed_rows(record: StudyRecord, x: tuple[float, float], y: tuple[float, float]) -> list[dict[str, Any]]:
    """The trials in a box over lr, by numpy on the columns; with the diverged where they are drawn."""
    errors = record.trials["error"].to_numpy()
    known = errors[np.isfinite(errors)]
    diverged = np.array(record.trials["status"].to_pylist()) == "diverged"
    drawn = np.where(diverged, known.max() + 0.08 * (known.max() - known.min()), errors)
    lr = record.trials["lr"].to_numpy()
    mask = (lr >= x[0]) & (lr <= x[1]) & (drawn >= y[0]) & (drawn <= y[1])
    return list(record.trials.filter(pa.array(mask)).to_pylist())


def test_a_box_marks_its_trials_and_the_url_brings_them_back(
    shelf: Serving, page: Page, make_record: MakeRecord
) -> None:
    record = make_record(study="quickstart")
    page.goto(f"{shelf.url}?study=quickstart")
    # Until everything is computed the page is made anew, which would end a drag.
    page.locator("h2", has_text="Errors of each arm").wait_for()
    draw_box(page, lambda: (place_of(page, 0, 0.08, 64.0), place_of(page, 0, 2.5, 12.0)))
    until(page, lambda: query(page).get("brush") == ["lr"], "the box is in the URL")
    address = query(page)
    x, y = (tuple(float(end) for end in address[name][0].split("~")) for name in ("x", "y"))
    assert abs(np.log(x[0] / 0.08)) < 0.1
    assert abs(y[1] - 64.0) < 1.0
    rows = brushed_rows(record, (x[0], x[1]), (y[0], y[1]))
    completed = [row for row in rows if row["status"] == "completed"]
    assert 5 < len(completed) < len(rows) < 60

    def check(opened: Page) -> None:
        expect(opened.locator("#brushed")).to_have_text(re.compile(f"^{len(rows)} of 93 trials marked"))
        expect(opened.locator("#brushed")).to_contain_text(f"{len(rows) - len(completed)} of them diverged")
        expect(opened.locator("#listed")).to_have_text(f"The marked trials: {len(rows)}.")
        drawn = "graph._fullData.filter(t => t.meta?.marks).length"
        until(opened, lambda: figure(opened, "edf", drawn) > 0, "marks in the figure")
        marks = figure(
            opened, "edf", "graph._fullData.filter(t => t.meta?.marks).map(t => [t.meta.marks, [...t.x], [...t.y]])"
        )
        for arm, errors, heights in marks:
            expected = [row["error"] for row in completed if row["arm"] == arm]
            assert np.allclose(sorted(errors), sorted(expected))
            # Out of 24 draws each: the marks lie on the curve.
            everything = [
                row["error"] for row in record.trials.to_pylist() if row["arm"] == arm and row["error"] is not None
            ]
            assert np.allclose(heights, [sum(one <= error for one in everything) / 24 for error in errors])
        assert {arm for arm, _, _ in marks} == {row["arm"] for row in completed}
        first = [row["key"] for row in sorted(completed, key=lambda row: row["error"])][:15]
        keys = opened.locator("#trials tbody tr td:first-child")
        until(opened, lambda: keys.all_inner_texts()[: len(first)] == first, "the marked trials are listed")
        boxes = "graph._fullLayout.selections.map(s => s.xref)"
        until(opened, lambda: figure(opened, "scatter", boxes) == ["x"], "one box, in the first panel")

    check(page)
    again = page.context.new_page()
    again.goto(page.url)
    again.wait_for_selector("#brushed")
    check(again)
    again.get_by_text("Clear the box").click()
    again.get_by_text("Nothing is marked.").wait_for()
    assert "brush" not in query(again)
    marks = "graph._fullData.filter(t => t.meta?.marks).length"
    until(again, lambda: figure(again, "edf", marks) == 0, "no marks in the figure")
    again.go_back()
    again.wait_for_selector("#brushed")
    again.close()


def test_a_page_made_anew_under_a_pressed_pointer_ends_the_box_without_a_complaint(shelf: Serving, page: Page) -> None:
    page.goto(f"{shelf.url}?study=quickstart")
    page.locator("h2", has_text="Errors of each arm").wait_for()
    page.mouse.move(*place_of(page, 0, 0.08, 64.0))
    pressed = page.locator("#scatter .js-plotly-plot").element_handle()
    page.mouse.down()
    page.evaluate(
        "history.pushState({}, '', '?study=quickstart&view=trials');"
        "dispatchEvent(new CustomEvent('_dashprivate_pushstate'))"
    )
    until(page, lambda: pressed.evaluate("graph => graph._fullLayout === undefined"), "the graph is gone")
    page.mouse.move(600, 400, steps=3)
    page.mouse.up()
    open_view(page, "Stability")
    page.locator("h2", has_text=HEADINGS["stability"]).wait_for()
    draw_box(page, lambda: (place_of(page, 0, 0.08, 64.0), place_of(page, 0, 2.5, 12.0)))
    assert query(page)["brush"] == ["lr"]


def test_a_click_on_a_dot_opens_the_trial_and_links_to_mlflow(
    shelf: Serving, page: Page, make_record: MakeRecord
) -> None:
    row = next(row for row in make_record().trials.to_pylist() if row["key"].endswith("vit_p_micro/sgd/000003/0"))
    page.goto(f"{shelf.url}?study=quickstart&arm={quote(row['arm'])}")
    page.wait_for_selector("#listed")
    click_dot(page, lambda: place_of(page, 2, row["lr"] * row["weight_decay"], row["error"]))
    until(page, lambda: query(page).get("trial") == [row["key"]], "the trial is in the URL")
    expect(page.locator("#outcome")).to_have_text(f"Completed with an error of {row['error']:.1f} % after 10 epochs.")
    link = f"http://127.0.0.1:5000/mlflow/#/experiments/1/runs/{row['run_id']}"
    expect(page.locator("#mlflow")).to_have_attribute("href", link)
    assert "secret" not in page.content()
    assert len(figure(page, "curve-error", "[...graph._fullData[0].x]")) == 10
    page.get_by_text("← back").click()
    page.wait_for_selector("#scatter")
    until(page, lambda: query(page).get("arm") == [row["arm"]], "the arm is in the URL")


def test_arms_axis_order_and_page_are_in_the_url(shelf: Serving, page: Page, make_record: MakeRecord) -> None:
    page.goto(f"{shelf.url}?study=quickstart")
    page.locator(".controls .switch", has_text="vit_p_micro/sgd").click()
    until(page, lambda: query(page).get("arm") == list(ARMS[:3]), "three arms are in the URL")
    page.get_by_text("error minus reference", exact=True).click()
    page.locator("#edf").get_by_text("error minus the arm's reference, points").wait_for()
    page.locator("#trials th", has_text="lr").locator("a").click()
    page.locator("#trials th", has_text="lr ↑").wait_for()
    page.get_by_text("next →").click()
    page.get_by_text("page 2 of 5").wait_for()
    trials = make_record().trials.to_pylist()
    shown = [row for row in trials if row["arm"] in ARMS[:3] and row["status"] in ("completed", "diverged")]
    second = [row["key"] for row in sorted(shown, key=lambda row: row["lr"])][15:30]
    again = page.context.new_page()
    again.goto(page.url)
    again.get_by_text("page 2 of 5").wait_for()
    for opened in (page, again):
        expect(opened.locator("#trials tbody tr td:first-child")).to_have_text(second)
    again.locator("#edf").get_by_text("error minus the arm's reference, points").wait_for()
    again.close()


def test_the_list_of_trials_is_searched(shelf: Serving, page: Page) -> None:
    page.goto(f"{shelf.url}?study=quickstart&view=trials")
    page.locator("#find").fill("bad</B>")
    page.locator("#find").press("Enter")
    page.get_by_text("3 of 96 trials.").wait_for()
    page.locator(".switch", has_text="completed").click()
    page.get_by_text("No trial fits: 0 of 96 trials.").wait_for()
    until(page, lambda: query(page).get("status") == ["completed"], "the status is in the URL")
    assert query(page)["find"] == ["bad</B>"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 420)])
def test_every_view_opens_without_a_complaint(
    shelf: Serving, browser: Browser, page: Page, scheme: Any, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{shelf.url}?study=quickstart&view=trials")
    for view, heading in HEADINGS.items():
        open_view(page, view.capitalize())
        page.locator("h2", has_text=heading).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is wider than the screen"
    expect(page).to_have_title("quickstart · Leaderboard · stablesweep")


def test_names_with_markup_are_text(shelf: Serving, page: Page) -> None:
    page.goto(shelf.url)
    follow(page, page.get_by_text(NAME), page.locator("h2", has_text="Errors of each arm"))
    expect(page.locator("h1")).to_have_text(NAME)
    expect(page.locator(".controls .switch", has_text=f"{NAME}/sgd")).to_have_count(1)
    for view in ("comparison", "optimizers", "leaderboard"):
        open_view(page, view.capitalize())
        page.locator("h2", has_text=HEADINGS[view]).wait_for()
        expect(page.locator("main")).to_contain_text(NAME)
        assert page.locator("main b, main script, header b").count() == 0
    open_view(page, "Trials")
    page.locator("#trials a", has_text=NAME).first.click()
    page.wait_for_selector("#outcome")
    until(page, lambda: NAME in page.title(), "the name is in the title")
    assert page.locator("main b, main script, header b").count() == 0


def test_studies_without_a_distribution_say_so(shelf: Serving, page: Page) -> None:
    page.goto(f"{shelf.url}?study=failed")
    page.get_by_text("n = 3 draws per arm, 12 in all: 0 diverged (0.0 %), 12 missing").first.wait_for()
    for view in ("comparison", "optimizers", "length", "leaderboard", "progress"):
        open_view(page, view.capitalize())
        wait_js(page, f"location.search.includes('{view}')")
        page.wait_for_selector("main section")
        expect(page.locator("main h2").first).not_to_contain_text("failed")
    # One row for all twelve trials that failed for this reason.
    row = page.locator("tr", has_text="no GPU")
    expect(row).to_have_count(1)
    expect(row.locator("td").last).to_have_text("12")
    page.goto(f"{shelf.url}?study=search")
    page.get_by_text("No distribution to show").wait_for()
    follow(page, page.get_by_text("the leaderboard"), page.get_by_text("12.5"))
    page.goto(f"{shelf.url}?study=nothing")
    page.get_by_text("No study 'nothing' here.").wait_for()
