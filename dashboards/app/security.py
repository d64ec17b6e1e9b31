"""What keeps other web pages out of the app: which names it answers to, and what a browser may do with its pages."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

import flask
from dash import Dash

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_allowed_host(header: str, names: Iterable[str]) -> bool:
    """Whether a request with this ``Host`` header may be answered.

    Against DNS rebinding: a page of somebody else's site can make its own name point here, but its requests then carry
    that name. An address made of numbers cannot be taken over in this way, so any is fine.
    """
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in LOOPBACK_NAMES or name in {one.lower() for one in names}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def protect(app: Dash, names: Iterable[str]) -> None:
    """Checks the ``Host`` of every request and adds the headers; call it when all callbacks are registered."""
    allowed = tuple(names)
    # Plotly and Dash set styles on elements; scripts come from here alone, the few inline ones by their hash.
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' {' '.join(app.csp_hashes())}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )

    def check_host() -> flask.Response | None:
        if is_allowed_host(flask.request.host, allowed):
            return None
        return flask.Response("This server does not answer to that name.\n", 403, mimetype="text/plain")

    def add_headers(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    app.server.before_request(check_host)
    app.server.after_request(add_headers)
