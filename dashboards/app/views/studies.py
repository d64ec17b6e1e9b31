"""The list of studies at the tracking URI."""

from dash import html

from dashboards.app.address import Address
from dashboards.app.parts import Parts, link, message
from dashboards.app.store import Store
from dashboards.formats import counts, without_password


def render(store: Store, tracking_uri: str) -> Parts:
    """All studies by name; where there is none, how to begin."""
    listing, known = store.listing(), store.known()
    shown = without_password(tracking_uri)
    parts: Parts = []
    if listing.error:
        again = f"Trying again every {store.refresh_s:g} seconds."
        parts.append(html.Div([html.Strong(listing.error), f" {again}"], className="trouble", role="status"))
    if not listing.known:
        return [html.P(f"Reading the studies at {shown} …", className="lead", role="status")]
    if not listing.names:
        return parts if listing.error else [_how_to_begin(shown)]
    rows = []
    for name in listing.names:
        study = known.get(name)
        words = "" if study is None else f"{study.record.trials.num_rows} trials: {counts(study.counts)}"
        rows.append(html.Li([link(name, Address(study=name)), html.Span(words, className="aside")]))
    return [*parts, html.Ul(rows, className="studies")]


def _how_to_begin(shown: str) -> html.Section:
    return message(
        "No study here yet",
        html.P(["The tracking store at ", html.Code(shown), " answers, and holds no study. To make one:"]),
        html.Pre(
            "stablesweep run                # the built-in study: about three minutes on two cores\n"
            "stablesweep run study.yaml     # a study of your own"
        ),
        html.P(
            "This page shows it as soon as it has begun; there is no need to load it again. If there should be studies, "
            "they are recorded somewhere else: give --home or --tracking-uri, or set MLFLOW_TRACKING_URI."
        ),
    )
