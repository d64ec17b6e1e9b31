"""The app, put together."""

import logging
import threading
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from dash import Dash

from dashboards.app.callbacks import add_callbacks
from dashboards.app.layout import shell
from dashboards.app.security import protect
from dashboards.app.store import Source, Store

TITLE = "stablesweep"


def create_app(
    tracking_uri: str,
    *,
    snapshots: Path | None = None,
    imports: Path | None = None,
    refresh_s: float = 10.0,
    names: Iterable[str] = (),
    source: Source | None = None,
) -> Dash:
    """The web app as a Dash app; ``create_app(...).server`` is its WSGI application.

    Args:
        tracking_uri: As MLflow takes it. Nothing is read before the first page is asked for.
        snapshots: The folder of local copies of what MLflow holds; None: the user's cache folder.
        imports: The folder of imported studies.
        refresh_s: Seconds between two looks for something new.
        names: Host names that it answers to, beside ``localhost`` and addresses made of numbers.
        source: Where studies come from, instead of ``tracking_uri`` and the two folders.
    """
    app = Dash(
        "dashboards.app",
        title=TITLE,
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=True,
        add_log_handler=False,
        assets_folder=str(Path(__file__).parent / "assets"),
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "color-scheme", "content": "light dark"},
        ],
        # Named here, so that no environment variable can turn it on.
        enable_mcp=False,
        websocket_callbacks=False,
    )
    app.enable_dev_tools(debug=False)
    store = Store(source or _studies(tracking_uri, snapshots, imports), refresh_s)
    app.layout = shell(refresh_s)
    add_callbacks(app, store, tracking_uri)
    protect(app, names)
    app.server.extensions["stablesweep_store"] = store
    logging.getLogger("dash").setLevel(logging.WARNING)
    # Plotly takes a second to import: better now, beside the start of the server, than in the first page's figures.
    threading.Thread(target=_warm_up, daemon=True).start()
    return app


def _studies(tracking_uri: str, snapshots: Path | None, imports: Path | None) -> Source:
    from dashboards.studies import Studies

    return Studies(tracking_uri=tracking_uri, imports=imports, snapshots=snapshots)


def _warm_up() -> None:
    for name in ("plotly.graph_objects", "plotly.subplots", "scipy.stats"):
        import_module(name)
