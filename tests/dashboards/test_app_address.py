"""The state of a page and its URL are one and the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.app.address import AXES, STUDY_VIEWS, Address, Brush, parse_address
from dashboards.tags import STATUSES

NAMES = st.text(min_size=1, max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def ranges() -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(FINITE, FINITE).map(lambda ends: (min(ends), max(ends)))


BRUSHES = st.builds(Brush, panel=st.text(max_size=12), x=ranges(), y=ranges())
ADDRESSES = st.builds(
    Address,
    study=st.text(max_size=12),
    view=st.sampled_from(STUDY_VIEWS),
    phase=st.text(max_size=12),
    arms=st.lists(NAMES, max_size=3).map(tuple),
    axis=st.sampled_from(AXES),
    brush=st.none() | BRUSHES,
    first=st.text(max_size=12),
    second=st.text(max_size=12),
    trial=st.text(max_size=12),
    status=st.sampled_from(("", *STATUSES)),
    find=st.text(max_size=12),
    sort=st.text(max_size=12),
    page=st.integers(1, 10**8),
)


@given(ADDRESSES)
def test_a_url_holds_the_whole_state(address: Address) -> None:
    assert parse_address(address.query) == address
    assert address.query.isascii()


@given(st.text())
def test_any_query_is_a_state(search: str) -> None:
    address = parse_address(search)
    assert parse_address(address.query) == address


def test_what_a_browser_writes_is_read() -> None:
    # URLSearchParams writes a space as "+" and leaves "~" to be escaped.
    address = parse_address("?study=my+study&brush=lr+%C3%97+weight+decay&x=1e-7%7E0.001&y=-3%7E40")
    assert address.brush == Brush(panel="lr × weight decay", x=(1e-7, 0.001), y=(-3.0, 40.0))
    assert address.study == "my study"


@pytest.mark.parametrize(
    "search",
    [
        "",
        "?",
        None,
        "?view=nonsense&axis=&page=0&status=odd",
        "?page=-1",
        "?page=1e9",
        "?page=٣",
        "?brush=lr&x=1~2",
        "?brush=lr&x=2~1&y=0~1",
        "?brush=lr&x=nan~1&y=0~1",
        "?brush=lr&x=0~inf&y=0~1",
        "?brush=lr&x=1~2~3&y=0~1",
    ],
)
def test_what_is_wrong_counts_as_not_given(search: str | None) -> None:
    assert parse_address(search) == Address()


def test_defaults_are_left_out_and_the_frame_leaves_out_what_parts_of_a_page_follow() -> None:
    assert Address().query == "?"
    brush = Brush(panel="lr", x=(0.0, 1.0), y=(0.0, 1.0))
    address = Address(study="s", arms=("a", "b"), brush=brush, sort="-error", page=3, find="x", status="failed")
    assert address.frame == "?study=s&arm=a&arm=b"


def test_a_brush_without_an_order_is_refused() -> None:
    with pytest.raises(ValueError, match=r"brush: got x \(2, 1\)"):
        Brush(panel="lr", x=(2, 1), y=(0, 1))
