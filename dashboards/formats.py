"""How numbers are written in tables, captions and sentences."""

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence


def percent(value: float | None) -> str:
    """An error or a gap: ``31.0``; ``∞`` where it is infinite, ``–`` where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.1f}".replace("-", "−")


def points(value: float) -> str:
    """A gap in a sentence: ``31.0 points``, or ``unbounded`` where it is infinite."""
    if math.isinf(value):
        return "unbounded" if value > 0 else "−unbounded"
    return f"{percent(value)} points"


def share(value: float) -> str:
    """A share of 1 as a percentage without decimals: ``8 %``; ``<1 %`` and ``>99 %`` where it is not quite 0 or 1."""
    text = f"{100 * value:.0f} %"
    if text == "0 %" and value > 0:
        return "<1 %"
    return ">99 %" if text == "100 %" and value < 1 else text


def bounded(low: float, high: float) -> str:
    """A quantile known between two bounds: one value, ``≤ 34.2``, ``≥ 12.0`` or ``unknown``."""
    if low == high:
        return percent(high)
    if math.isfinite(high):
        return f"≤ {percent(high)}"
    return f"≥ {percent(low)}" if math.isfinite(low) else "unknown"


def interval(low: float | None, high: float | None) -> str:
    """An interval in a table: ``[12.0, 34.2]``; ``–`` where an end is not known, ``…`` where it has no limit."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "–"
    ends = (percent(value) if math.isfinite(value) else "…" for value in (low, high))
    return f"[{', '.join(ends)}]"


def counts(numbers: Mapping[str, int]) -> str:
    """Counts by name in a sentence: ``5 length, 40 search``; those that are 0 are left out."""
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number)


def selection_in_words(conditions: Sequence[str], before: str = "") -> str:
    """``only trials with lr<0.01 and epochs=4``, after ``before``; empty where nothing was selected."""
    return f"{before}only trials with {' and '.join(conditions)}" if conditions else ""


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def setting(value: object) -> str:
    """A hyperparameter's value: three significant digits for a float."""
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def elided(name: str, length: int) -> str:
    """A name of at most ``length`` characters: of a longer one the middle is left out, as the ends tell names apart."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"


def elided_names(names: Iterable[str], length: int = 40) -> dict[str, str]:
    """Each name as :func:`elided`, cut as much as keeps them different from each other."""
    wanted = list(dict.fromkeys(names))
    for attempt in range(length, max(map(len, wanted), default=0) + 1, 8):
        short = [elided(name, attempt) for name in wanted]
        if len(set(short)) == len(wanted):
            return dict(zip(wanted, short, strict=True))
    return {name: name for name in wanted}


def plot_text(name: str) -> str:
    """A name for a Plotly title, legend or hover: Plotly renders some HTML tags, so they are escaped."""
    return html.escape(name, quote=False)


def without_password(uri: str) -> str:
    """A URI fit to be shown: ``user:password@`` becomes ``***@``, and a query is cut off.

    Not by a parser of URIs: a password that somebody forgot to escape may hold any character.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri.rpartition("@")[2]
    has_user = "@" in rest and scheme.partition("+")[0] not in ("sqlite", "file")
    place = rest.rpartition("@")[2] if has_user else rest
    return f"{scheme}://{'***@' if has_user else ''}{re.split('[?#]', place, maxsplit=1)[0]}"


def holds_password(uri: str) -> bool:
    """Whether a URI holds ``user:password@``. A user alone is none (Azure's container, say), nor is a port; a password may hold a slash."""
    return re.search(r"://[^/@?]*:(?!\d+/)[^@]+@", uri) is not None


def without_passwords(text: str) -> str:
    """A message fit to be shown: in every URI of it ``user:password@`` becomes ``***@``."""
    return re.sub(r"://\S*@", "://***@", text)


def without_controls(text: str) -> str:
    """A text that others wrote, without what a terminal obeys."""
    return "".join(letter for letter in text if letter.isprintable())
