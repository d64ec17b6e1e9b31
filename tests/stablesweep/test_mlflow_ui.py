"""MLflow's own pages, of a real server in a real browser: what somebody sees who has nothing but them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from playwright.sync_api import Browser, Dialog, Page, expect

from dashboards import tags
from stablesweep.home import Home
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from stablesweep.recorder import publish_all
from stablesweep.reporting import make_report
from tests.browser import patient_page, running_chromium, until
from tests.mlflow_server import Server, story
from tests.support import small_study

NAME = "<img src=x onerror=alert(1)>**vit**_c_`x`"
ARM, OTHER = f"{NAME}/sgd", "vit_c_micro/sgd"
QUERY = "?workflowType=machine_learning"
DESCRIPTION = "Is the *stem* worth it?"


class Published:
    """A finished study on the server: six draws of two arms, one of them of a name with markup."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.study = small_study(
            name="pages",
            description=DESCRIPTION,
            arms=[ARM, OTHER],
            space={"weight_decay": {"around": 1e-4}, "lr": {"around": 0.1}},
            phases={"stability": {"draws": 6, "epochs": 2}},
        )
        self.home = Home.at(folder)
        files = self.home.study("pages")
        files.path.mkdir(parents=True)
        trials = to_trials(write_ledger(files.ledger, self.study))
        files.study_file.write_text(yaml.safe_dump(self.study.to_config()))
        record = Record(files.record)
        publisher = Publisher(server.uri, None, self.study, trials)
        publisher.connect(record)
        publisher.begin([files.ledger, files.study_file], training=True)
        for trial in trials:
            worse = 40.0 if trial.arm == ARM else 0.0
            status = "diverged" if trial.arm == ARM and trial.draw % 4 == 0 else "completed"
            record.apply(story(trial, 2, status, 5.0 + trial.draw + worse))
        assert publish_all(publisher, record) is None
        publisher.end(finished=True, timing={"total": 1.0})
        record.close()
        self.report = make_report(self.home, "pages")
        self.experiment, self.run = publisher.experiment_id, publisher.study_run
        self.client = MlflowClient(server.uri)

    def url(self, place: str) -> str:
        return f"{self.server.uri}/#/experiments/{self.experiment}{place}{QUERY}"

    def arm_run(self, arm: str) -> Any:
        runs = self.client.search_runs([self.experiment], f"tags.`{tags.ROLE}` = 'arm'")
        return next(run for run in runs if run.data.tags[tags.ARM] == arm)


@pytest.fixture(scope="module")
def published(mlflow_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
        # Registering refuses such a name; one that came another way must do no harm either.
        patch.setattr("trainables.registry._user_models", {NAME: lambda **_: None})
        yield Published(mlflow_server, tmp_path_factory.mktemp("pages"))


@pytest.fixture(autouse=True)
def _on_the_server(mlflow_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1600, "height": 1100})
    page = patient_page(context)
    dialogs: list[str] = []

    def note(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    yield page
    context.close()
    # A name that runs as a script would have said so.
    assert dialogs == []


def saw(page: Page, name: str) -> None:
    """Keeps a picture where somebody asks for it: ``PICTURES=folder``."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_the_experiment_says_the_verdict_and_shows_the_runs_nested(published: Published, page: Page) -> None:
    page.goto(published.url("/runs"))
    verdict = page.locator("li", has_text="on 6 of 6 common draws").first
    verdict.wait_for()
    # The name is there letter by letter, and no element was made of it.
    assert verdict.inner_text().startswith(f"{OTHER} beats {ARM} on 6 of 6 common draws")
    assert page.locator("img[src='x']").count() == 0
    rows = page.locator(".ag-center-cols-container .ag-row, .ag-pinned-left-cols-container .ag-row")
    page.get_by_role("link", name="pages", exact=True).last.wait_for()
    for name in ("pages", f"{OTHER} · stability"):
        row = page.locator(".ag-row", has=page.get_by_text(name, exact=True)).first
        row.locator("button").first.click()
    page.get_by_text(f"draw 005 · {OTHER}").first.wait_for()
    page.get_by_text(f"{ARM} · stability").first.wait_for()
    saw(page, "experiment")
    until(page, lambda: rows.count() > 10, "more than ten rows")


def test_the_description_unfolds_to_the_table_and_the_way_on(published: Published, page: Page) -> None:
    page.goto(published.url(f"/runs/{published.run}"))
    table = page.locator("table", has_text="median").last
    table.wait_for()
    cells = [ARM, "6", "2", "0", "46.0", "48.0", OTHER, "6", "0", "0", "5.0", "7.0"]
    expect(table.locator("td")).to_have_text(cells)
    page.get_by_text("stablesweep run study.yaml").wait_for()
    expect(page.get_by_text("stablesweep dashboard")).to_have_count(1)
    expect(page.locator("em", has_text="stem")).to_have_count(1)
    saw(page, "study")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="report.html").click()
    opened.value.frame_locator("iframe").get_by_role("heading", name="pages").wait_for()
    opened.value.get_by_text(tags.FIGURES_FOLDER, exact=True).first.wait_for()
    saw(opened.value, "report")


def test_an_arm_says_what_it_is(published: Published, page: Page) -> None:
    page.goto(published.url(f"/runs/{published.arm_run(ARM).info.run_id}"))
    page.get_by_text("random draws of hyperparameters").wait_for()
    shown = page.locator("body")
    expect(shown).to_contain_text(f"Model {NAME} with optimizer sgd", use_inner_text=True)
    expect(shown).to_contain_text("6 trials: 4 completed, 2 diverged.", use_inner_text=True)
    until(page, lambda: re.search(r"median_final_error\s+48\b", shown.inner_text()), "the median of the arm")
    assert page.locator("img[src='x']").count() == 0
    saw(page, "arm")


def test_a_second_report_writes_only_itself(published: Published) -> None:
    client = published.client
    before = {run.info.run_id: run.to_dictionary() for run in client.search_runs([published.experiment])}
    note = client.get_experiment(published.experiment).tags[tags.NOTE]
    client.set_experiment_tag(published.experiment, tags.NOTE, f"{note}\n\nSeen by me.")
    make_report(published.home, "pages")
    assert {run.info.run_id: run.to_dictionary() for run in client.search_runs([published.experiment])} == before
    arm = published.arm_run(OTHER)
    assert len(client.get_metric_history(arm.info.run_id, "median_final_error")) == 1
    # What people wrote themselves is kept.
    kept = client.get_experiment(published.experiment).tags[tags.NOTE]
    assert kept == f"{note}\n\nSeen by me."
    assert kept.count(DESCRIPTION) == 1


def test_the_report_and_the_figures_are_artifacts(published: Published) -> None:
    files = {item.path for item in published.client.list_artifacts(published.run)}
    assert {tags.REPORT_ARTIFACT, tags.LEDGER_ARTIFACT, tags.STUDY_ARTIFACT, tags.TIMING_ARTIFACT} <= files
    figures = published.client.list_artifacts(published.run, tags.FIGURES_FOLDER)
    assert {Path(item.path).suffix for item in figures} == {".png"}
    assert all((item.file_size or 0) > 5_000 for item in figures)


def test_without_a_browser_the_description_says_what_is_missing(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "none")
    make_report(published.home, "pages")
    note = published.client.get_run(published.run).data.tags[tags.NOTE]
    assert "figures/ needs a Chrome or Chromium on the machine that makes the report." in note
