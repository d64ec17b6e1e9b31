"""The web app, served for a test, and what is done on its pages."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from dashboards.app.application import create_app
from dashboards.app.server import make_server
from tests.browser import until

REFRESH_S = 0.4
LOST_AFTER_MS = 10_000.0
"""A click that leads nowhere for so long was lost."""


class Serving:
    """The app, served by a thread."""

    def __init__(self, tracking_uri: str, **options: Any) -> None:
        self.app = create_app(tracking_uri, refresh_s=REFRESH_S, **options)
        self.server = make_server(self.app, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.port}/"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self) -> None:
        self.app.server.extensions["stablesweep_store"].stop()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def wait_js(page: Page, expression: str) -> None:
    # Playwright's own wait evaluates strings in the page, which the page's policy forbids.
    until(page, lambda: page.evaluate(expression), expression)


def figure(page: Page, name: str, wanted: str) -> Any:
    """A value of a drawn figure: ``wanted`` is JavaScript of ``graph``."""
    wait_js(page, f"document.querySelector('#{name} .js-plotly-plot')?._fullLayout !== undefined")
    return page.evaluate(
        f"(() => {{ const graph = document.querySelector('#{name} .js-plotly-plot'); return {wanted}; }})()"
    )


def place_of(page: Page, panel: int, x: float, y: float) -> tuple[float, float]:
    """Where a value of the scatter is on the screen."""
    number = "" if panel == 0 else str(panel + 1)
    left, top = figure(
        page,
        "scatter",
        f"(([a, b, r]) => [r.left + a._offset + a.d2p({x!r}), r.top + b._offset + b.d2p({y!r})])"
        f"([graph._fullLayout.xaxis{number}, graph._fullLayout.yaxis{number}, graph.getBoundingClientRect()])",
    )
    return float(left), float(top)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=3)
    page.mouse.move(*end, steps=3)
    page.mouse.up()


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def box_of(page: Page, selector: str) -> Any:
    """Where the first such element lies, once it is there to stay: parts of the page are made anew after a brush."""
    for _ in range(50):
        found = page.locator(selector).first.bounding_box()
        page.wait_for_timeout(200)
        if found is not None and page.locator(selector).first.bounding_box() == found:
            return found
    raise AssertionError(f"{selector} does not come to rest")


def repeat_until_shown(page: Page, act: Callable[[], None], selector: str) -> None:
    """Act until it shows: the page is made anew when its numbers are ready, which ends a drag and loses a click."""
    for _ in range(10):
        act()
        page.wait_for_timeout(2000)
        if page.locator(selector).count():
            return
    page.wait_for_selector(selector)


def draw_box(page: Page, corners: Callable[[], tuple[tuple[float, float], tuple[float, float]]]) -> None:
    """Brush until something is marked."""
    repeat_until_shown(page, lambda: drag(page, *corners()), "#brushed")


def click_dot(page: Page, place: Callable[[], tuple[float, float]]) -> None:
    """Click until the trial opens."""

    def click() -> None:
        page.mouse.move(*place())
        page.wait_for_timeout(150)
        page.mouse.click(*place())

    repeat_until_shown(page, click, "#outcome")


def follow(page: Page, link: Locator, shown: Locator) -> None:
    """Click a link until what it leads to shows: a page that is made anew just then loses the click."""

    def arrived() -> bool:
        with suppress(PlaywrightTimeout):
            link.click(timeout=LOST_AFTER_MS)
            shown.wait_for(timeout=LOST_AFTER_MS)
        return shown.count() > 0

    until(page, arrived, f"{shown} after a click on {link}")


def open_view(page: Page, name: str) -> None:
    """Click a view's tab until it is the open one."""
    tab = page.locator(".tabs a", has_text=name)
    follow(page, tab, tab.and_(page.locator("[aria-current]")))
