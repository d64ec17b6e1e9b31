"""How long each interaction with the web app takes in a browser, 10,000 trials: ``python benchmarks/dashboard.py``.

Prints Markdown rows. Needs Chromium on PATH; run it on a machine that does nothing else.
"""

import argparse
import shutil
import threading
import time
from collections.abc import Callable, Sequence

from made_up import made_up
from playwright.sync_api import Page, sync_playwright

from dashboards.app.application import create_app
from dashboards.app.server import make_server
from dashboards.tracking.study import StudyRecord

ARMS = ("vit_c/adamw", "vit_c/sgd", "vit_p/adamw", "vit_p/sgd")
EPOCHS = 50
DEADLINE_S = 120.0
"""For one interaction, and for what it waits for to be on the page."""


class Study:
    """One made-up study."""

    def __init__(self, trials: int) -> None:
        self.record = made_up(trials, ARMS, EPOCHS)

    def names(self) -> list[str]:
        """Its name."""
        return [self.record.study]

    def read(self, names: Sequence[str]) -> StudyRecord:
        """The study."""
        return self.record


def without_one_arm(trials: int) -> str:
    """What the page says of so many made-up trials while one arm is hidden: each arm has as many, the rest is left out."""
    return f"{(len(ARMS) - 1) * (trials // len(ARMS))} in all"


def measure(page: Page, url: str, trials: int) -> dict[str, float]:
    """Seconds by interaction, each until the result is drawn.

    Raises:
        TimeoutError: If a result is not there within ``DEADLINE_S``, Playwright's own if what is clicked is not.
    """
    seconds: dict[str, float] = {}

    def timed(name: str, act: Callable[[], object], done: str) -> None:
        began = time.perf_counter()
        act()
        while not page.evaluate(done):
            if time.perf_counter() - began > DEADLINE_S:
                raise TimeoutError(f"{name}: after {DEADLINE_S:g} s the page does not fulfil {done}")
            page.wait_for_timeout(10)
        seconds[name] = time.perf_counter() - began

    def has(text: str) -> str:
        return f"document.querySelector('main')?.innerText.includes({text!r}) ?? false"

    drawn = "document.querySelector('#edf .js-plotly-plot')?._fullLayout !== undefined"
    timed("first page", lambda: page.goto(f"{url}?study=made+up"), drawn)
    timed("verdicts there (computed meanwhile)", lambda: None, has("Errors of each arm"))
    page.wait_for_timeout(3000)
    box = page.locator("#scatter .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 260, steps=5)
    timed("brush", page.mouse.up, has("trials marked"))
    timed("clear the brush", page.get_by_text("Clear the box").click, has("Nothing is marked."))
    timed("order the list", page.locator("#trials th a", has_text="lr").first.click, has("lr ↑"))
    timed("next page", page.get_by_text("next →").click, has("page 2 of"))
    timed("hide an arm", page.locator(".controls .switch", has_text="vit_p/sgd").click, has(without_one_arm(trials)))
    for tab, text in (
        ("Comparison", "Draw by draw"),
        ("Leaderboard", "Best of n"),
        ("Length", "How fast the errors fall"),
    ):
        timed(tab, page.locator(".tabs a", has_text=tab).click, has(text))
    timed("Trials", page.locator(".tabs a", has_text="Trials").click, has("trials of the arms"))
    timed("one trial", page.locator("#trials a", has_text="000003").first.click, has("Hyperparameters"))
    timed("Stability", page.locator(".tabs a", has_text="Stability").click, drawn)
    timed("Progress", page.locator(".tabs a", has_text="Progress").click, has("have ended"))
    return seconds


def main() -> None:
    """Serve the study, drive a browser, print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    server = make_server(create_app("sqlite:///mlflow.db", source=Study(trials)), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(1000 * DEADLINE_S)
        for name, seconds in measure(page, f"http://127.0.0.1:{server.port}/", trials).items():
            print(f"| {trials} trials | {name} | {seconds:.2f} s |")
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
