"""Where a run is found in MLflow's own pages."""

from urllib.parse import quote, urlsplit, urlunsplit


def run_page(tracking_uri: str, experiment_id: str, run_id: str) -> str | None:
    """The address of a run in MLflow's pages, without user and password; ``None`` where no server shows any."""
    try:
        parts = urlsplit(tracking_uri)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    host = parts.netloc.rpartition("@")[2]
    place = f"/experiments/{quote(experiment_id, safe='')}/runs/{quote(run_id, safe='')}"
    return urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/", "", place))
