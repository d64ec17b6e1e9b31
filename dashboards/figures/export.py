"""Figures as files at the size of a printed page: PNG, SVG, PDF."""

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboards.figures.layout import legend_rows
from dashboards.log_levels import log_levels
from dashboards.report.page import report_figures
from dashboards.selection import STABILITY
from dashboards.summary import StudySummary, summarize
from dashboards.tracking.study import StudyRecord

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FORMATS = ("png", "svg", "pdf")
WIDTH_IN = 7.0
"""Width of every picture, inches: the text width of most papers."""
FONT_PT = 9.0
PNG_DPI = 300
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

_PX_PER_IN, _PT_PER_IN = 96, 72
_SHRINK = 0.78
"""Height of a printed plot over its height on a screen: as much as its width, nearly."""
_LEGEND_ROW = 18
"""Pixels."""
_NOWHERE = "127.0.0.1:9"
"""A proxy that does not exist. Chromium has requests of its own (updates, a home page); with it none leaves the machine."""
CHANNEL_LEVELS = {"choreographer": logging.CRITICAL}
"""Of Kaleido's channel to the browser, by logger. It ends with a goodbye that is no message: read in one piece with the message
before it, that is logged as a traceback, and nothing else comes of it. A picture that cannot be drawn is raised all the same."""


class NoBrowser(ValueError):
    """Pictures are made by Chromium, and there is none."""


class CannotDraw(ValueError):
    """There is a browser, and it does not draw."""


def write_figures(
    record: StudyRecord,
    folder: str | Path,
    formats: Sequence[str] = ("png",),
    phase: str = STABILITY,
    summary: StudySummary | None = None,
) -> list[Path]:
    """Writes every figure of the report to ``folder``, made if need be, as ``NAME.png``, ``NAME.svg`` or ``NAME.pdf``.

    Args:
        record: The study.
        folder: Where to; files of these names there are replaced.
        formats: Of :data:`FORMATS`.
        phase: The phase whose non-adaptive trials the figures are about.
        summary: The summary of ``record`` for ``phase``, where it is known already.

    Returns:
        The files, in the order of the report; none where the study has nothing to show.

    Raises:
        NoBrowser: If no Chromium or Chrome is found.
        CannotDraw: If it does not draw.
        ValueError: If a format is not known.
        OSError: If the files cannot be written.
    """
    figures = report_figures(record, summary or summarize(record, phase))
    return write_pictures(figures, folder, formats)


def write_pictures(
    figures: "Mapping[str, Figure] | Future[Mapping[str, Figure]]",
    folder: str | Path,
    formats: Sequence[str] = ("png",),
) -> list[Path]:
    """Writes figures by name, as :func:`write_figures` does. No request leaves the machine.

    Args:
        figures: Or what will be, for another thread: the browser, which takes seconds, starts meanwhile.
        folder: As there.
        formats: As there.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"formats: got {unknown[0]!r}, expected some of {', '.join(FORMATS)}.")
    browser = find_browser()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(figures, Future):
        known, figures = figures, Future()
        figures.set_result(known)
        if not known:
            return []
    return _draw(figures, folder, formats, browser)


def _jobs(figures: "Mapping[str, Figure]", folder: Path, formats: Sequence[str]) -> list[dict[str, Any]]:
    """What Kaleido is asked for."""
    jobs = []
    for name, figure in figures.items():
        printed = publication(figure).to_dict()
        width, height = printed["layout"]["width"], printed["layout"]["height"]
        for kind in formats:
            scale = PNG_DPI / _PX_PER_IN if kind == "png" else 1
            options = {"format": kind, "width": width, "height": height, "scale": scale}
            jobs.append({"fig": printed, "path": folder / f"{name}.{kind}", "opts": options})
    return jobs


def publication(figure: "Figure") -> "Figure":
    """A copy for paper: 7 inches wide, 9 pt text, black on white, lines and dots as thin as that needs."""
    from plotly.graph_objects import Figure

    printed = Figure(figure.to_dict())
    width, font = round(WIDTH_IN * _PX_PER_IN), FONT_PT * _PX_PER_IN / _PT_PER_IN
    entries = [trace for trace in figure.data if trace.name and trace.showlegend is not False]
    rows = legend_rows(len(entries), int(figure.layout.legend.entrywidth or 100), width - 60)
    rows *= bool(figure.layout.showlegend)
    height = (figure.layout.meta or {}).get("plot_height") or figure.layout.height or 450
    printed.update_layout(
        width=width,
        height=round(_SHRINK * height) + _LEGEND_ROW * rows,
        font={"size": font, "color": "#000000", "family": "Helvetica, Arial, 'Liberation Sans', sans-serif"},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        legend_itemwidth=34,
        margin={"l": 52, "r": figure.layout.margin.r or 8, "b": 44},
    )
    printed.update_xaxes(title_font_size=font)
    printed.update_yaxes(title_font_size=font)
    printed.for_each_xaxis(lambda axis: axis.update(tickfont_size=font / 1.25) if axis.tickfont.size else None)
    printed.for_each_yaxis(lambda axis: axis.update(tickfont_size=font / 1.25) if axis.tickfont.size else None)
    printed.update_annotations(font_size=font, font_color="#000000")
    for trace in printed.data:
        if trace.type == "scatter":
            trace.line.width = 0.75 * trace.line.width if trace.line.width is not None else None
            trace.marker.size = 0.75 * trace.marker.size if trace.marker.size is not None else None
    return printed


def find_browser() -> str:
    """The program that draws: ``BROWSER_PATH``, or the first of :data:`BROWSERS` on ``PATH``.

    Raises:
        NoBrowser: If there is none.
    """
    named = os.environ.get("BROWSER_PATH")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        said = f"BROWSER_PATH is {named!r}, which is no program" if named else "no Chromium or Chrome is on PATH"
        raise NoBrowser(f"Pictures are drawn by Chromium, and {said}; install it (Debian: apt-get install chromium).")
    return found


def _draw(figures: "Future[Mapping[str, Figure]]", folder: Path, formats: Sequence[str], browser: str) -> list[Path]:
    try:
        # In a thread, as there may be an event loop in this one: a notebook's.
        with log_levels(CHANNEL_LEVELS), ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(asyncio.run, _drawn(figures, folder, formats, browser)).result()
    # Its file, or its folder, cannot be written.
    except OSError:
        raise
    # Whatever Kaleido, its channel or asyncio raises means the same.
    except Exception as error:
        raise CannotDraw(
            f"{browser}: the figures could not be drawn ({type(error).__name__}); see that this browser starts, or name "
            "another in BROWSER_PATH."
        ) from error


async def _drawn(
    figures: "Future[Mapping[str, Figure]]", folder: Path, formats: Sequence[str], browser: str
) -> list[Path]:
    from kaleido import Kaleido

    # Without mathjax and plotlyjs Kaleido's page loads MathJax, and maybe plotly.js, from the network.
    async with Kaleido(path=browser, mathjax=False, plotlyjs=_plotly_js(), proxy_server=_NOWHERE) as kaleido:
        jobs = _jobs(await asyncio.wrap_future(figures), folder, formats)
        await kaleido.write_fig_from_object(jobs, cancel_on_error=True)
    return [job["path"] for job in jobs]


def _plotly_js() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
