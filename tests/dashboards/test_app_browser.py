"""The web app in a real browser, over a real SQLite MLflow store or studies in memory."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from playwright.sync_api import Browser, Page, expect

from dashboards import quiet_mlflow, tags
from dashboards.app.application import create_app
from dashboards.app.server import ServerNotStarted, make_server
from dashboards.tables import TrialRecord
from dashboards.tracking.study import StudyRecord
from tests.browser import patient_page, running_chromium, until

MakeRecord = Callable[..., StudyRecord]
NAME = "<b>vit</b><script>document.title = 'owned'</script>"
ARMS = ("vit_c_micro/adamw", "vit_c_micro/sgd", "vit_p_micro/adamw", "vit_p_micro/sgd")
REFRESH_S = 0.4
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own; at the end it must have complained of nothing and asked nobody but this machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened = patient_page(context)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url) if not is_local(request.url) else None)
    yield opened
    context.close()
    assert complaints == []


def is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:"))


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def begin(tracking_uri: str, **options: Any) -> Serving:
        started.append(Serving(tracking_uri, **options))
        return started[-1]

    yield begin
    for one in started:
        one.stop()


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


def brushed_rows(record: StudyRecord, x: tuple[float, float], y: tuple[float, float]) -> list[dict[str, Any]]:
    """The trials in a box over lr, by numpy on the columns; with the diverged where they are drawn."""
    errors = record.trials["error"].to_numpy()
    known = errors[np.isfinite(errors)]
    diverged = np.array(record.trials["status"].to_pylist()) == "diverged"
    drawn = np.where(diverged, known.max() + 0.08 * (known.max() - known.min()), errors)
    lr = record.trials["lr"].to_numpy()
    mask = (lr >= x[0]) & (lr <= x[1]) & (drawn >= y[0]) & (drawn <= y[1])
    return list(record.trials.filter(pa.array(mask)).to_pylist())


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
        page.locator(f".tabs a[href*='view={view}'], .tabs a", has_text=view.capitalize()).first.click()
        page.locator("h2", has_text=heading).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is wider than the screen"
    expect(page).to_have_title("quickstart · Leaderboard · stablesweep")


def test_names_with_markup_are_text(shelf: Serving, page: Page) -> None:
    page.goto(shelf.url)
    page.get_by_text(NAME).click()
    page.locator("h2", has_text="Errors of each arm").wait_for()
    expect(page.locator("h1")).to_have_text(NAME)
    expect(page.locator(".controls .switch", has_text=f"{NAME}/sgd")).to_have_count(1)
    for view in ("comparison", "optimizers", "leaderboard"):
        page.locator(".tabs a", has_text=view.capitalize()).click()
        page.locator("h2", has_text=HEADINGS[view]).wait_for()
        expect(page.locator("main")).to_contain_text(NAME)
        assert page.locator("main b, main script, header b").count() == 0
    page.locator(".tabs a", has_text="Trials").click()
    page.locator("#trials a", has_text=NAME).first.click()
    page.wait_for_selector("#outcome")
    until(page, lambda: NAME in page.title(), "the name is in the title")
    assert page.locator("main b, main script, header b").count() == 0


def test_studies_without_a_distribution_say_so(shelf: Serving, page: Page) -> None:
    page.goto(f"{shelf.url}?study=failed")
    page.get_by_text("n = 3 draws per arm, 12 in all: 0 diverged (0.0 %), 12 missing").first.wait_for()
    for view in ("comparison", "optimizers", "length", "leaderboard", "progress"):
        page.locator(".tabs a", has_text=view.capitalize()).click()
        wait_js(page, f"location.search.includes('{view}')")
        page.wait_for_selector("main section")
        expect(page.locator("main h2").first).not_to_contain_text("failed")
    # One row for all twelve trials that failed for this reason.
    row = page.locator("tr", has_text="no GPU")
    expect(row).to_have_count(1)
    expect(row.locator("td").last).to_have_text("12")
    page.goto(f"{shelf.url}?study=search")
    page.get_by_text("No distribution to show").wait_for()
    page.get_by_text("the leaderboard").click()
    page.get_by_text("12.5").wait_for()
    page.goto(f"{shelf.url}?study=nothing")
    page.get_by_text("No study 'nothing' here.").wait_for()


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


class Recorder:
    """Writes a study to a real MLflow store, as far as these tests need."""

    def __init__(self, tracking_uri: str, folder: Path, record: StudyRecord) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=tracking_uri)
        self.record = record
        root = (folder / "artifacts").as_uri()
        self.experiment = self.client.create_experiment(record.study, artifact_location=root)
        study_run = self._run({tags.ROLE: "study", tags.REVISION: f"{1:010d}"})
        path = folder / tags.LEDGER_ARTIFACT
        names = ["key", "study", "phase", "arm", "model", "optimizer", "draw", "seed", "sampler", "epochs"]
        pyarrow.parquet.write_table(record.trials.select([*names, "lr", "weight_decay"]), path)
        self.client.log_artifact(study_run, str(path))
        self.study_run, self.revision = study_run, 1

    def _run(self, run_tags: dict[str, str], started: int | None = None) -> str:
        return str(self.client.create_run(self.experiment, start_time=started, tags=run_tags).info.run_id)

    def trial(self, row: Mapping[str, Any]) -> None:
        """One trial run, completed, and then the study run's revision."""
        from mlflow.entities import Metric

        self.revision += 1
        revision = {tags.REVISION: f"{self.revision:010d}"}
        started = round(row["started"].timestamp() * 1000)
        run_tags = {tags.ROLE: "trial", tags.KEY: row["key"], tags.STATUS: row["status"], **revision}
        run_id = self._run(run_tags, started)
        finals = {tags.FINAL_ERROR: row["error"], tags.EPOCHS_DONE: row["epochs_done"], tags.SECONDS: row["seconds"]}
        metrics = [Metric(name, value, 1, 0) for name, value in finals.items() if value is not None]
        curve = self.record.curves.filter(pc.equal(self.record.curves["key"], row["key"])).to_pylist()
        metrics += [Metric(name, point[name], 1, point["epoch"]) for point in curve for name in tags.EPOCH_METRICS]
        self.client.log_batch(run_id, metrics=metrics)
        self.client.set_terminated(run_id)
        self.client.set_tag(self.study_run, tags.REVISION, revision[tags.REVISION])


def test_a_running_study_refreshes_by_itself(
    tracking_uri: str, tmp_path: Path, page: Page, start: Callable[..., Serving], make_record: MakeRecord
) -> None:
    record = make_record(["vit_c_micro/adamw", "vit_p_micro/adamw"], 5, study="live study")
    rows = [row for row in record.trials.to_pylist() if row["status"] == "completed"]
    with quiet_mlflow():
        recorder = Recorder(tracking_uri, tmp_path, record)
        for row in rows[:-2]:
            recorder.trial(row)
    serving = start(tracking_uri, snapshots=tmp_path / "snapshots")
    page.goto(serving.url)
    page.get_by_text("live study").click()
    page.get_by_text(f"{len(rows) - 2} completed").first.wait_for()
    page.locator("h2", has_text="Errors of each arm").wait_for()
    place_of(page, 0, 1.0, 1.0)
    area = box_of(page, "#scatter .nsewdrag")
    right, bottom = area["x"] + area["width"], area["y"] + area["height"]
    corners = (area["x"] + 1, area["y"] + 1), (right - 1, bottom - 1)
    draw_box(page, lambda: corners)
    page.get_by_text(f"{len(rows) - 2} of {len(rows) - 2} trials marked").wait_for()
    # Zoom the EDF, and scroll down to it.
    page.evaluate("document.querySelector('#edf .js-plotly-plot').scrollIntoView()")
    box = box_of(page, "#edf .nsewdrag")
    drag(page, (box["x"] + 60, box["y"] + 40), (box["x"] + 400, box["y"] + 200))
    ranges = "[...graph._fullLayout.xaxis.range, ...graph._fullLayout.yaxis.range]"
    until(page, lambda: figure(page, "edf", ranges)[2] > 0.05, "the EDF is zoomed")
    zoomed, scrolled, address = figure(page, "edf", ranges), page.evaluate("scrollY"), page.url
    with quiet_mlflow():
        recorder.trial(rows[-2])
    page.get_by_text(f"{len(rows) - 1} completed").first.wait_for()
    page.get_by_text(f"of {len(rows) - 1} trials marked").wait_for()
    until(page, lambda: np.allclose(figure(page, "edf", ranges), zoomed), "the EDF is as zoomed as before")
    until(page, lambda: abs(page.evaluate("scrollY") - scrolled) < 60, "the page is where it was")
    assert page.url == address
    until(page, lambda: figure(page, "scatter", "graph._fullLayout.selections.length") == 1, "the box is there")
    page.locator(".tabs a", has_text="Progress").click()
    page.get_by_text(f"{len(rows) - 1} of 10 trials have ended").wait_for()
    with quiet_mlflow():
        recorder.trial(rows[-1])
    page.get_by_text(f"{len(rows)} of 10 trials have ended").wait_for()


def test_it_is_closed_to_other_sites(shelf: Serving) -> None:
    with urlopen(shelf.url) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert scripts is not None
    assert "unsafe" not in scripts.group(1)
    with pytest.raises(Exception, match="403"):
        urlopen(Request(shelf.url, headers={"Host": "evil.example"}))
    with pytest.raises(Exception, match=r"404|405"):
        urlopen(Request(f"{shelf.url}_reload-hash", data=b"{}"))


def test_the_server_as_a_process_ends_cleanly(tracking_uri: str, tmp_path: Path) -> None:
    code = (
        "import sys; from dashboards.app import serve; from pathlib import Path\n"
        f"serve({tracking_uri!r}, port=0, snapshots=Path({str(tmp_path / 'snapshots')!r}))\n"
        "assert not {'torch', 'ray'} & set(sys.modules)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert found is not None
    with urlopen(f"{found.group()}_dash-layout") as answer:
        assert json.loads(answer.read())["type"] == "Div"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (0, "", "")


def test_a_port_that_is_taken_is_named(shelf: Serving, tracking_uri: str) -> None:
    with pytest.raises(
        ServerNotStarted, match=rf"cannot listen on 127\.0\.0\.1:{shelf.server.port} .*give another --port"
    ):
        make_server(create_app(tracking_uri), "127.0.0.1", shelf.server.port)
