"""The report's text: complete, self-contained, safe whatever the names are."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dashboards.report.page import render_report, write_report
from dashboards.summary import summarize
from dashboards.tables import TrialRecord
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]
HOSTILE = "<script>alert('x')</script>&<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """The elements, attributes and visible text of a page; what is inside scripts and styles apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.styles, self.inside = "", "", ""
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.styles += data
        elif self.inside != "script":
            self.text += data


def test_everything_is_said(make_record: MakeRecord) -> None:
    record = make_record()
    html = render_report(record)
    page = Page(html)
    summary = summarize(record)
    for verdict in (*summary.model_verdicts, *summary.optimizer_verdicts):
        assert verdict.sentence in page.text
    assert "4 arms · 96 trials · 89 completed, 4 diverged, 3 without a result" in page.text
    assert "n = 24 random draws per arm; 4 % of all draws diverged" in page.text
    assert "3 without a result" in page.text
    assert "95 % simultaneous band (Dvoretzky–Kiefer–Wolfowitz), ± 28 percentage points" in page.text
    assert "best of n random draws, which is optimistic, not a seed-averaged peak" in page.text
    assert "training1 min 36 s" in page.text
    assert "after Holm's correction over all 4 pairs" in page.text
    for text in ("How to read it.", "seed: 0", "0.1.0", "2.13.0", "1000 to 1023", "ValueError: <b>bad</b> image"):
        assert text in page.text
    assert page.text.index("beats") < page.text.index("How the errors are distributed")
    assert [attrs["id"] for tag, attrs in page.tags if attrs.get("class") == "figure"] == [
        "edf",
        "stability-adamw",
        "stability-sgd",
        "best-of-n",
        "divergence",
        "map",
        "importance",
        "convergence",
    ]
    # Below the headline no caption goes without its counts.
    for caption in html.split("<figcaption>")[1:]:
        assert re.search(r"n = 24 random draws per arm; \d+ % of all draws diverged", caption)
        assert "without a result" in caption.split("</figcaption>")[0]
    assert len(html.encode()) < 8_000_000


def test_nothing_is_fetched(make_record: MakeRecord) -> None:
    page = Page(render_report(make_record()))
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not {"src", "href", "srcset", "data", "action"} & set(attrs)
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "'unsafe-eval'" not in policy
    assert "script-src 'sha256-" in policy


def test_names_are_text(make_record: MakeRecord) -> None:
    arms = [f"{HOSTILE}/sgd", "plain/sgd", "plain/</script><b>adamw"]
    record = make_record(arms, 6, study=HOSTILE, study_yaml=f"name: {HOSTILE}")
    html = render_report(record)
    page = Page(html)
    assert f"name: {HOSTILE}" in page.text
    (verdict,) = summarize(record).model_verdicts
    assert f"{HOSTILE}/sgd" in verdict.sentence
    assert verdict.sentence in page.text
    figures = sum(attrs.get("class") == "figure" for _, attrs in page.tags)
    assert sum(tag == "script" for tag, _ in page.tags) == figures + 2
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert "<script>alert" not in html


def test_passwords_stay_out(make_record: MakeRecord) -> None:
    record = make_record(["a/sgd"], 3)
    secret = StudyRecord(
        **{name: getattr(record, name) for name in StudyRecord.__dataclass_fields__}
        | {"tracking_uri": "postgresql://me:hunter2@db.example/mlflow"}
    )
    html = render_report(secret)
    assert "hunter2" not in html
    assert "postgresql://***@db.example/mlflow" in html


@pytest.mark.parametrize("status", ["pending", "failed", "lost", "diverged", "pruned", "running"])
def test_a_study_without_any_result(make_record: MakeRecord, status: str) -> None:
    keys = make_record().trials["key"].to_pylist()
    record = make_record(records={key: TrialRecord(status=status) for key in keys})
    text = Page(render_report(record)).text
    assert "4 arms · 96 trials · 0 completed" in text
    assert ("100 % of all draws diverged" in text) == (status == "diverged")


def test_one_arm_and_no_arm(make_record: MakeRecord) -> None:
    assert "only one arm, so there is nothing to compare" in Page(render_report(make_record(["a/sgd"], 1))).text
    text = Page(render_report(make_record(sampler="tpe"))).text
    assert "No trial of a non-adaptive sampler in phase stability" in text


def test_many_verdicts_fold(make_record: MakeRecord) -> None:
    arms = [f"m{number:02d}/sgd" for number in range(7)]
    page = Page(render_report(make_record(arms, 3)))
    # 21 pairs, and a sentence on each arm.
    assert sum(tag == "li" for tag, _ in page.tags) == 21 + 7
    assert "9 more" in page.text


def test_the_same_record_gives_the_same_file(make_record: MakeRecord, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(make_record(), path)
    assert path.read_text(encoding="utf-8") == render_report(make_record())
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(ValueError, match="does not exist"):
        write_report(make_record(), tmp_path / "nowhere" / "report.html")
