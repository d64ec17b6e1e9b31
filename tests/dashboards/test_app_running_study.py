"""The web app in a real browser, over a real SQLite MLflow store that changes meanwhile."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect

from dashboards import quiet_mlflow
from tests.browser import until
from tests.dashboards.app_in_browser import Serving, box_of, drag, draw_box, figure, follow, open_view, place_of
from tests.dashboards.rounds import EPOCHS, Rounds


def test_an_empty_store_says_how_to_begin(
    tracking_uri: str, tmp_path: Path, page: Page, start: Callable[..., Serving]
) -> None:
    page.goto(start(tracking_uri, snapshots=tmp_path / "snapshots").url)
    page.get_by_text("No study here yet").wait_for()
    expect(page.locator("main pre")).to_contain_text("stablesweep run")


def test_an_unreachable_server_is_one_sentence_until_it_comes(
    tracking_uri: str, tmp_path: Path, page: Page, start: Callable[..., Serving]
) -> None:
    later = tmp_path / "later.db"
    page.goto(start(f"sqlite:///{later}", snapshots=tmp_path / "snapshots").url)
    page.get_by_text(f"there is no file {later}").wait_for()
    expect(page.get_by_text("Trying again every 0.4 seconds.")).to_have_count(1)
    shutil.copy(tracking_uri.removeprefix("sqlite:///"), later)
    page.get_by_text("No study here yet").wait_for()


def complete(rounds: Rounds, *keys: str) -> None:
    """These trials have ended, each in a round of its own."""
    with quiet_mlflow():
        for key in keys:
            rounds.touch(key, "completed", EPOCHS)
            rounds.announce()


def test_a_running_study_refreshes_by_itself(
    tracking_uri: str, tmp_path: Path, page: Page, start: Callable[..., Serving]
) -> None:
    with quiet_mlflow():
        rounds = Rounds(tracking_uri, tmp_path / "writer", "live study", draws=5)
    complete(rounds, *rounds.keys[:7])
    page.goto(start(tracking_uri, snapshots=tmp_path / "snapshots").url)
    follow(page, page.get_by_text("live study"), page.locator("h2", has_text="Errors of each arm"))
    page.get_by_text("7 completed").first.wait_for()
    place_of(page, 0, 1.0, 1.0)
    area = box_of(page, "#scatter .nsewdrag")
    right, bottom = area["x"] + area["width"], area["y"] + area["height"]
    corners = (area["x"] + 1, area["y"] + 1), (right - 1, bottom - 1)
    draw_box(page, lambda: corners)
    page.get_by_text("7 of 7 trials marked").wait_for()
    # Zoom the EDF, and scroll down to it.
    page.evaluate("document.querySelector('#edf .js-plotly-plot').scrollIntoView()")
    box = box_of(page, "#edf .nsewdrag")
    drag(page, (box["x"] + 60, box["y"] + 40), (box["x"] + 400, box["y"] + 200))
    ranges = "[...graph._fullLayout.xaxis.range, ...graph._fullLayout.yaxis.range]"
    until(page, lambda: figure(page, "edf", ranges)[2] > 0.05, "the EDF is zoomed")
    zoomed, scrolled, address = figure(page, "edf", ranges), page.evaluate("scrollY"), page.url
    complete(rounds, rounds.keys[7])
    page.get_by_text("8 completed").first.wait_for()
    page.get_by_text("of 8 trials marked").wait_for()
    until(page, lambda: np.allclose(figure(page, "edf", ranges), zoomed), "the EDF is as zoomed as before")
    until(page, lambda: abs(page.evaluate("scrollY") - scrolled) < 60, "the page is where it was")
    assert page.url == address
    until(page, lambda: figure(page, "scatter", "graph._fullLayout.selections.length") == 1, "the box is there")
    open_view(page, "Progress")
    page.get_by_text("8 of 10 trials have ended").wait_for()
    complete(rounds, rounds.keys[8])
    page.get_by_text("9 of 10 trials have ended").wait_for()
