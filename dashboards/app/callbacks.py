"""What happens when the address changes, and when time passes. The address is the one truth about the page."""

from collections.abc import Callable
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, no_update

from dashboards.app.address import parse_address
from dashboards.app.layout import generation, page
from dashboards.app.store import Store
from dashboards.app.views import PIECES

QUICK_S = 0.5
"""Seconds between looks while a study is read for the first time."""


def add_callbacks(app: Dash, store: Store, tracking_uri: str) -> None:
    """Registers all callbacks of the app."""
    # A brush and a click on a dot reach the address in app.js, which also follows links: no callback can tell "nothing is
    # brushed any more" from "the scatter has just been put on the page".
    in_browser: Callable[..., None] = app.clientside_callback
    in_browser(ClientsideFunction("stablesweep", "narrow"), Output("narrow", "data"), Input("location", "pathname"))
    in_browser(ClientsideFunction("stablesweep", "entitle"), Output("view", "title"), Input("frame", "data"))
    _add_page(app, store, tracking_uri)
    _add_pieces(app, store)
    _add_clock(app, store)
    _add_search(app)


def _add_page(app: Dash, store: Store, tracking_uri: str) -> None:
    """Another page, or other data: the whole page is made anew."""

    @app.callback(
        Output("view", "children"),
        Output("frame", "data"),
        Output("interval", "interval"),
        Input("location", "search"),
        Input("tick", "data"),
        Input("narrow", "data"),
        State("frame", "data"),
    )
    def show(search: str | None, _tick: Any, narrow: bool | None, frame: dict[str, Any] | None) -> Any:
        address = parse_address(search)
        if narrow is None:
            return no_update, no_update, no_update
        if frame is not None and (frame["key"], frame["generation"]) == (address.frame, generation(store, address)):
            return no_update, no_update, no_update
        content, new = page(store, tracking_uri, address, narrow=narrow)
        return content, new, 1000 * (min(QUICK_S, store.refresh_s) if new["wait"] else store.refresh_s)


def _add_pieces(app: Dash, store: Store) -> None:
    """Another address of the same page: the parts that depend on it are made anew."""

    @app.callback(
        Output({"piece": ALL}, "children"),
        Input("location", "search"),
        State({"piece": ALL}, "id"),
        State("frame", "data"),
        State("narrow", "data"),
        prevent_initial_call=True,
    )
    def refine(search: str | None, pieces: list[dict[str, str]], frame: dict[str, Any] | None, narrow: bool) -> Any:
        address = parse_address(search)
        # Another page is on its way, whose pieces come with it.
        if frame is None or frame["key"] != address.frame or not pieces:
            return [no_update] * len(pieces)
        data = store.study(address.study).data
        if data is None:
            return [no_update] * len(pieces)
        return [PIECES[piece["piece"]](data, address, narrow) for piece in pieces]


def _add_clock(app: Dash, store: Store) -> None:
    """Time passes: the page is told if there are other data."""

    @app.callback(
        Output("tick", "data"),
        Input("interval", "n_intervals"),
        State("location", "search"),
        State("frame", "data"),
        prevent_initial_call=True,
    )
    def look(ticks: int, search: str | None, frame: dict[str, Any] | None) -> Any:
        if frame is not None and frame["generation"] == generation(store, parse_address(search)):
            return no_update
        return ticks


def _add_search(app: Dash) -> None:
    """A text is typed into the field above a list: it goes into the address."""

    @app.callback(
        Output("location", "search"),
        Input("find", "value"),
        State("location", "search"),
        prevent_initial_call=True,
    )
    def find(text: str | None, search: str | None) -> Any:
        address = parse_address(search)
        return no_update if (text or "") == address.find else address.but(find=text or "", page=1).query
