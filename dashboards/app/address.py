"""What a page shows, as the query string of its URL: a link that is shared opens the same view."""

import math
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from dashboards.selection import STABILITY
from dashboards.tags import STATUSES

STUDY_VIEWS = ("progress", "stability", "comparison", "optimizers", "length", "leaderboard", "trials", "trial")
AXES = ("error", "delta")
"""What the distributions are of: the final error, or the error minus the arm's reference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Brush:
    """A box drawn in one panel of the scatter."""

    panel: str
    """The panel's title."""
    x: tuple[float, float]
    """Lowest and highest value on the panel's axis."""
    y: tuple[float, float]
    """Lowest and highest error as drawn, percent."""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.x, *self.y))) or self.x[0] > self.x[1] or self.y[0] > self.y[1]:
            raise ValueError(f"brush: got x {self.x} and y {self.y}, expected finite ranges, the lower end first.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """The state of a page."""

    study: str = ""
    """Empty: the list of studies."""
    view: str = "stability"
    """One of :data:`STUDY_VIEWS`."""
    phase: str = STABILITY
    arms: tuple[str, ...] = ()
    """The arms that are shown; empty: all of them."""
    axis: str = "error"
    """One of :data:`AXES`."""
    brush: Brush | None = None
    first: str = ""
    second: str = ""
    """The two arms of the comparison; empty: the page picks."""
    trial: str = ""
    """The key of the trial that is shown."""
    status: str = ""
    """Only trials of this status are listed; empty: all."""
    find: str = ""
    """Only trials whose key or reason holds this text are listed."""
    sort: str = ""
    """The column that trials are listed by, with ``-`` before it for the highest first; empty: the view's own order."""
    page: int = 1
    """Of the listed trials, from 1."""
    base: str = field(default="", compare=False, repr=False)
    """The query string that this state was made from by :meth:`but`: with it a link knows what it changes."""

    @property
    def query(self) -> str:
        """The query string with its ``?``; values that are the default are left out, so equal states have one address."""
        values: dict[str, Any] = {
            name: getattr(self, name) for name in _TEXTS if getattr(self, name) != getattr(_DEFAULT, name)
        }
        if self.arms:
            values["arm"] = list(self.arms)
        if self.brush is not None:
            # The browser's own script writes these three as well.
            values |= {"brush": self.brush.panel, "x": _range_text(self.brush.x), "y": _range_text(self.brush.y)}
        if self.page != 1:
            values["page"] = self.page
        return f"?{urlencode(values, doseq=True)}"

    @property
    def frame(self) -> str:
        """What the page as a whole depends on. The rest changes parts of it alone: brush, order, filters, page."""
        return replace(self, brush=None, status="", find="", sort="", page=1).query

    def but(self, **changes: Any) -> "Address":
        """The same with other values."""
        return replace(self, **changes)


_TEXTS = ("study", "view", "phase", "axis", "first", "second", "trial", "status", "find", "sort")
_DEFAULT = Address()


def parse_address(search: str | None) -> Address:
    """The state that a query string asks for. What it has wrong counts as not given: people write URLs by hand."""
    values = parse_qs((search or "").removeprefix("?"), keep_blank_values=True)

    def text(name: str) -> str:
        return str(values.get(name, [getattr(_DEFAULT, name)])[-1])

    address = Address(
        **{name: text(name) for name in ("study", "phase", "first", "second", "trial", "find", "sort")},
        view=text("view") if text("view") in STUDY_VIEWS else _DEFAULT.view,
        axis=text("axis") if text("axis") in AXES else _DEFAULT.axis,
        status=text("status") if text("status") in STATUSES else "",
        arms=tuple(values.get("arm", [])),
        brush=_parse_brush(values),
        page=_parse_page(values.get("page", ["1"])[-1]),
    )
    return replace(address, base=address.query)


def _range_text(ends: tuple[float, float]) -> str:
    return f"{float(ends[0])!r}~{float(ends[1])!r}"


def _parse_brush(values: dict[str, list[str]]) -> Brush | None:
    try:
        (x0, x1), (y0, y1) = (map(float, values[name][-1].split("~")) for name in ("x", "y"))
        return Brush(panel=values["brush"][-1], x=(x0, x1), y=(y0, y1))
    except (KeyError, ValueError):
        return None


def _parse_page(text: str) -> int:
    return max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 10 else 1
