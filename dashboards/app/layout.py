"""What surrounds every page: the state's carriers, the header, the tabs, the way a page of a study is put together."""

import logging

from dash import dcc, html

from dashboards.app.address import Address
from dashboards.app.parts import Attributes, Parts, link, message
from dashboards.app.store import Store
from dashboards.app.study import StudyData
from dashboards.app.views import TITLES, VIEWS, studies
from dashboards.formats import counts, without_password

FIRST_WAIT_S = 0.4
"""How long the first page of a study may wait for it before it says that it is being read, seconds."""


def shell(refresh_s: float) -> html.Div:
    """The page before anything is known; callbacks fill it."""
    return html.Div(
        [
            dcc.Location(id="location", refresh="callback-nav"),
            dcc.Store(id="narrow"),
            dcc.Store(id="frame"),
            dcc.Store(id="tick"),
            dcc.Interval(id="interval", interval=1000 * refresh_s),
            html.A("Skip to the content", href="#content", className="skip"),
            html.Div(id="view"),
        ]
    )


def page(store: Store, tracking_uri: str, address: Address, *, narrow: bool) -> tuple[Parts, dict[str, object]]:
    """The page of an address, and its frame: what must differ for it to be made anew."""
    if not address.study:
        # Before the content is made: what is found while it is made must make the page anew.
        front = {"key": address.frame, "generation": generation(store, address), "title": "Studies"}
        wait = not store.listing().known
        return _wrapped(_front_header(tracking_uri), studies.render(store, tracking_uri)), front | {"wait": wait}
    entry = store.study(address.study, FIRST_WAIT_S)
    frame = {
        "key": address.frame,
        "generation": f"{address.study} {entry.generation}",
        "title": f"{address.study} · {TITLES.get(address.view, address.trial)}",
        "wait": entry.data is None and not entry.error,
    }
    if entry.data is None:
        return _wrapped(_study_header(address, None), [_absent(store, address, tracking_uri, entry.error)]), frame
    body: Parts = []
    if entry.error:
        body.append(_trouble(f"{entry.error} What is shown was read before."))
    body += [_trouble(note) for note in entry.data.notes[:3]]
    try:
        body += VIEWS[address.view](entry.data, address, narrow)
    # One odd study must not leave a page that says nothing, whatever is wrong with it.
    except Exception as error:
        logging.getLogger("dashboards.app").exception("The page %s of %r failed.", address.view, address.study)
        body.append(message("This page failed", _trouble(" ".join(f"{type(error).__name__}: {error}".split())[:300])))
    return _wrapped(_study_header(address, entry.data), body), frame | {"wait": entry.data.is_computing}


def generation(store: Store, address: Address) -> str:
    """Changes exactly when the page of this address would change by itself."""
    if address.study:
        return f"{address.study} {store.study(address.study).generation}"
    listing = store.listing()
    known = {name: data.generation for name, data in store.known().items()}
    return f"{listing.names} {listing.error} {listing.known} {known}"


def _wrapped(header: Parts, content: Parts) -> Parts:
    return [html.Header(header), html.Main(content, id="content", tabIndex="-1")]


def _front_header(tracking_uri: str) -> Parts:
    return [
        html.P("stablesweep", className="kicker"),
        html.H1("Studies"),
        html.P(["at ", html.Code(without_password(tracking_uri))], className="lead"),
    ]


def _study_header(address: Address, study: StudyData | None) -> Parts:
    clean = Address(study=address.study, phase=address.phase, arms=address.arms)
    parts: Parts = [html.P(link("← all studies", Address()), className="kicker"), html.H1(address.study)]
    if study is None:
        return parts
    trials = study.record.trials.num_rows
    parts.append(
        html.P(f"{trials} trials: {counts(study.counts)}" if trials else "no trials", className="lead", id="headline")
    )
    tabs = [
        link(
            title,
            address if view == address.view else clean.but(view=view),
            stay=True,
            **Attributes({"aria-current": "page"} if view == address.view else {}),
        )
        for view, title in TITLES.items()
    ]
    return [*parts, html.Nav(tabs, className="tabs", **Attributes({"aria-label": "Views of the study"}))]


def _absent(store: Store, address: Address, tracking_uri: str, error: str) -> html.Section:
    if not error:
        return html.Section(
            html.P(f"Reading the study from {without_password(tracking_uri)} …", role="status"), className="message"
        )
    again = f"Trying again every {store.refresh_s:g} seconds."
    return message(
        "The study cannot be shown",
        html.P(error, className="trouble", role="status"),
        html.P([again, " ", link("All studies", Address())]),
    )


def _trouble(text: str) -> html.P:
    return html.P(text, className="trouble", role="status")
