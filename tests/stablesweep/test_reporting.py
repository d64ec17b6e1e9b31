"""Making the report: the page and the pictures come from the same values, side by side, and both get to MLflow."""

import threading
import warnings
from pathlib import Path

import pytest
from mlflow import MlflowClient

from dashboards import tags
from dashboards.report.page import render_report, report_figures
from dashboards.summary import summarize
from dashboards.tracking.study import StudyRecord
from stablesweep.errors import StablesweepError
from stablesweep.home import Home
from stablesweep.reporting import make_report
from tests.browser import chromium_program


def read(home: Home) -> StudyRecord:
    return home.studies().read(["done"])


def artifacts(home: Home) -> set[str]:
    """Paths of the study's artifacts, those of its figures as well."""
    client, run = MlflowClient(home.tracking_uri), read(home).study_run_id
    folders = ("", tags.FIGURES_FOLDER)
    return {item.path for folder in folders for item in client.list_artifacts(run, folder) if not item.is_dir}


def note(home: Home) -> str:
    text: str = MlflowClient(home.tracking_uri).get_run(read(home).study_run_id).data.tags[tags.NOTE]
    return text


def broken_browser(folder: Path) -> str:
    browser = folder / "broken"
    browser.write_text("#!/bin/sh\nexit 1\n")
    browser.chmod(0o755)
    return str(browser)


def test_a_browser_that_does_not_draw_takes_nothing_but_the_pictures(
    finished: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    browser, before = broken_browser(tmp_path), artifacts(finished)
    monkeypatch.setenv("BROWSER_PATH", browser)
    make_report(finished, "done")
    (message,) = [one.message for one in caplog.records if one.name == "stablesweep.reporting"]
    assert message.startswith(f"no figures in MLflow: {browser}: the figures could not be drawn")
    assert artifacts(finished) == before | {tags.REPORT_ARTIFACT}
    assert "figures/ needs a Chrome or Chromium" in note(finished)


def test_a_page_that_cannot_be_written_leaves_mlflow_as_it_was(
    finished: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "none")
    before, threads = artifacts(finished), threading.active_count()
    (tmp_path / "file").write_text("")
    with pytest.raises(StablesweepError, match="cannot be written"):
        make_report(finished, "done", tmp_path / "file" / "report.html")
    assert artifacts(finished) == before
    assert threading.active_count() == threads


def test_an_error_while_the_browser_starts_ends_it_and_is_raised(
    finished: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", chromium_program())
    filters, threads = list(warnings.filters), threading.active_count()

    def summarize(_: object) -> None:
        raise ZeroDivisionError("no summary")

    monkeypatch.setattr("stablesweep.reporting.summarize", summarize)
    with pytest.raises(ZeroDivisionError, match="no summary"):
        make_report(finished, "done")
    assert threading.active_count() == threads
    assert list(warnings.filters) == filters


def test_the_page_is_that_of_the_study_and_every_picture_is_there(
    finished: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", chromium_program())
    record = read(finished)
    page, names = render_report(record), list(report_figures(record, summarize(record)))
    # Both are made of values that are computed once.
    for module in ("dashboards.report.page", "dashboards.figures.export"):
        monkeypatch.setattr(f"{module}.summarize", lambda *_: pytest.fail("summarized again"))
    report = make_report(finished, "done")
    assert report.path.read_text(encoding="utf-8") == page
    figures = {f"{tags.FIGURES_FOLDER}/{name}.png" for name in names}
    assert artifacts(finished) >= {tags.REPORT_ARTIFACT, *figures}
    assert "figures/ needs a Chrome or Chromium" not in note(finished)
