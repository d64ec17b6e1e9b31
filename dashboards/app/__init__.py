"""The live web app: studies at a tracking server, in the browser."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.app.application import create_app
    from dashboards.app.server import serve

__all__ = ["create_app", "serve"]


def __getattr__(name: str) -> object:
    # Dash takes most of a second to import.
    if name == "create_app":
        from dashboards.app.application import create_app

        return create_app
    if name == "serve":
        from dashboards.app.server import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
