"""Figures as files: of the size that was promised, drawn by a real browser that asks nobody for anything."""

import asyncio
import os
import re
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest
from choreographer.channels.pipe import Pipe
from plotly.graph_objects import Figure

from dashboards.figures import edf_figure
from dashboards.figures.export import (
    CHANNEL_LEVELS,
    CannotDraw,
    NoBrowser,
    find_browser,
    publication,
    write_figures,
    write_pictures,
)
from dashboards.log_levels import log_levels
from dashboards.report.page import report_figures
from dashboards.statistics.edf import empirical_distribution
from dashboards.summary import summarize
from dashboards.tracking.study import StudyRecord
from tests.waiting import wait_until

MakeRecord = Callable[..., StudyRecord]


def png_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    return int(width), int(height)


def test_every_figure_in_every_format_at_seven_inches(chromium: str, make_record: MakeRecord, tmp_path: Path) -> None:
    record = make_record(["vit_c/sgd", "vit_p/sgd"], 12)
    names = list(report_figures(record, summarize(record)))
    files = write_figures(record, tmp_path / "figures", ("png", "svg", "pdf"))
    assert [file.name for file in files] == [f"{name}.{kind}" for name in names for kind in ("png", "svg", "pdf")]
    assert "stability" in names
    for name in names:
        png, svg, pdf = (tmp_path / "figures" / f"{name}.{kind}" for kind in ("png", "svg", "pdf"))
        width, height = png_size(png)
        assert width == 7 * 300
        root = ElementTree.parse(svg).getroot()
        assert root.get("width") == str(7 * 96)
        assert height / width == pytest.approx(float(root.get("height") or 0) / (7 * 96), rel=0.01)
        box = re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf.read_bytes())
        assert box is not None
        assert float(box.group(1)) == pytest.approx(7 * 72, abs=1)
        # One page: a figure that is a little too high would spill over to a second one.
        assert len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) == 1
    assert sorted(tmp_path.joinpath("figures").iterdir()) == sorted(files)


def test_text_is_nine_points_and_black_on_white(chromium: str, tmp_path: Path) -> None:
    figure = edf_figure([empirical_distribution([1.0, 2.0, 4.0], arm="vit & co/sgd")])
    (file,) = write_pictures({"edf": figure}, tmp_path, ("svg",))
    svg = file.read_text(encoding="utf-8")
    assert "font-size: 12px" in svg
    assert set(re.findall(r"font-size: ([\d.]+)px", svg)) == {"12"}
    assert "vit &amp; co/sgd (n 3, 0 % diverged)" in svg
    assert "fill: rgb(255, 255, 255)" in svg


def test_no_request_leaves_the_machine(chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The browser writes down all its attempts; Debian's has a home page and updates that it asks for by itself.
    log, wrapper = tmp_path / "net.json", tmp_path / "browser"
    wrapper.write_text(f'#!/bin/sh\nexec "{chromium}" --log-net-log="{log}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(wrapper))
    write_pictures({"edf": edf_figure([empirical_distribution([1.0], arm="a/sgd")])}, tmp_path, ("png",))
    text = log.read_text(encoding="utf-8")
    assert '"constants"' in text
    assert set(re.findall(r'"address_list":\[([^]]*)\]', text)) <= {'"127.0.0.1:9"'}
    # No name server was asked, and the page wanted nothing from elsewhere.
    assert not re.findall(r'"address":"[^"]*:53"', text)
    for wanted in ("mathjax", "plot.ly", "cdnjs"):
        assert wanted not in text.lower()


def test_the_browser_waits_for_figures_that_another_thread_makes(
    chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, wrapper = tmp_path / "started", tmp_path / "browser"
    wrapper.write_text(f'#!/bin/sh\ntouch "{started}"\nexec "{chromium}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(wrapper))
    later: Future[Mapping[str, Figure]] = Future()
    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(write_pictures, later, tmp_path, ("svg",))
        wait_until(started.exists)
        later.set_result({"edf": edf_figure([empirical_distribution([1.0, 2.0], arm="a/sgd")])})
        assert drawn.result() == [tmp_path / "edf.svg"]
    assert "a/sgd (n 2" in (tmp_path / "edf.svg").read_text(encoding="utf-8")


def test_where_there_will_be_no_figures_the_browser_ends(chromium: str, tmp_path: Path) -> None:
    later: Future[Mapping[str, Figure]] = Future()
    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(write_pictures, later, tmp_path)
        later.set_result({})
        assert drawn.result() == []


def test_pictures_are_drawn_in_a_notebook_that_has_an_event_loop(chromium: str, tmp_path: Path) -> None:
    figure = edf_figure([empirical_distribution([1.0, 2.0], arm="a/sgd")])

    async def cell() -> list[Path]:
        return write_pictures({"edf": figure}, tmp_path, ("svg",))

    assert asyncio.run(cell()) == [tmp_path / "edf.svg"]


def test_nothing_to_show_writes_nothing(chromium: str, make_record: MakeRecord, tmp_path: Path) -> None:
    assert write_figures(make_record(sampler="tpe"), tmp_path / "figures") == []


def test_a_screens_figure_stays_as_it_was() -> None:
    figure = edf_figure([empirical_distribution([1.0, 2.0], arm="a/sgd")])
    before = figure.to_json()
    assert publication(figure).layout.width == 672
    assert figure.to_json() == before


def test_without_a_browser_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    with pytest.raises(NoBrowser, match="no Chromium or Chrome is on PATH; install it"):
        find_browser()
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))
    with pytest.raises(NoBrowser, match="which is no program"):
        write_pictures({}, tmp_path)


def test_a_browser_that_does_not_start_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    figure = edf_figure([empirical_distribution([1.0], arm="a/sgd")])
    with pytest.raises(CannotDraw, match=f"^{broken}: the figures could not be drawn .*BROWSER_PATH.$"):
        write_pictures({"edf": figure}, tmp_path)


def test_formats_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="formats: got 'gif', expected some of png, svg, pdf"):
        write_pictures({}, tmp_path, ("gif",))


def test_the_goodbye_of_the_browser_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    def read_goodbye() -> list[object]:
        channel = Pipe()
        channel.open()
        # As it comes where the last answer was not yet read when the channel was closed.
        os.write(channel.from_external_to_choreo, b'{"id": 1}\0{bye}\n\0')
        messages, _ = channel.read_jsons()
        channel.close()
        return list(messages)

    with log_levels(CHANNEL_LEVELS):
        assert read_goodbye() == [{"id": 1}]
    assert caplog.messages == []
    # Without, the channel says something: else this test would show nothing.
    assert read_goodbye() == [{"id": 1}]
    assert caplog.messages != []
