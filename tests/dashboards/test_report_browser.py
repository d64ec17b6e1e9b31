"""The report in a real browser: it draws, complains of nothing, and shows names as text."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboards.report.page import write_report
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]
NAME = "<b>vit</b><script>document.title = 'owned'</script>"


@pytest.fixture
def browser(chromium: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs headless Chromium: ``browser(page, *options)``."""
    options = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    # A name that cannot be resolved turns every request over the network into a console error.
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]

    def run(page: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = [*options, *more, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    return run


def console(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if "CONSOLE" in line]


def test_console_messages_would_be_seen(
    browser: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('one')</script><script src='https://example.com/two.js'></script>")
    messages = console(browser(page, "--dump-dom").stderr)
    assert any("one" in message for message in messages)


def test_the_report_draws_without_a_complaint(
    browser: Callable[..., subprocess.CompletedProcess[str]], make_record: MakeRecord, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    write_report(make_record([f"{NAME}/adamw", f"{NAME}/sgd", "vit_c/adamw", "vit_c/sgd"], 12, study=NAME), page)
    done = browser(page, "--dump-dom", "--window-size=1200,2000")
    assert console(done.stderr) == []
    dom = done.stdout
    for name in ("edf", "stability-adamw", "best-of-n", "map", "importance", "convergence"):
        start = dom.index(f'id="{name}"')
        assert "main-svg" in dom[start : dom.index("<script", start)]
    shown = "&lt;b&gt;vit&lt;/b&gt;&lt;script&gt;document.title = 'owned'&lt;/script&gt;"
    assert f"<h1>{shown}</h1>" in dom
    legends = re.findall(r'class="legendtext"[^>]*>([^<]*)<', dom)
    # Long names lose their middle in legends: four arms in four figures, and two in each of two.
    assert len(legends) == 20
    assert sum(legend.startswith("&lt;b&gt;vit&lt;/b&gt;&lt;script&gt;") for legend in legends) == 10
    title = re.search(r"<title>([^<]*)</title>", dom)
    assert title is not None
    assert title.group(1) == f"{shown} · hyperparameter stability"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 500)])
def test_pictures_can_be_taken(
    browser: Callable[..., subprocess.CompletedProcess[str]],
    make_record: MakeRecord,
    tmp_path: Path,
    scheme: str,
    width: int,
) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    write_report(make_record(), page)
    preference = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    done = browser(page, f"--screenshot={picture}", f"--window-size={width},1600", preference)
    assert console(done.stderr) == []
    content = picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20], "big") == width
    # A blank picture of this size compresses to a few thousand bytes.
    assert len(content) > 60_000


def test_it_prints_with_all_that_is_folded(
    browser: Callable[..., subprocess.CompletedProcess[str]], make_record: MakeRecord, tmp_path: Path
) -> None:
    page, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    write_report(make_record([f"m{number:02d}/sgd" for number in range(13)], 6), page)
    done = browser(page, f"--print-to-pdf={paper}", "--no-pdf-header-footer", "--window-size=1200,900")
    assert console(done.stderr) == []
    content = paper.read_bytes()
    assert content[:5] == b"%PDF-"
    assert len(re.findall(rb"/Type\s*/Page\b", content)) > 3
