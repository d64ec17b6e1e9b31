"""A tracking server that is away: how long to wait, and the sentence about it."""

import contextlib
import time
from collections.abc import Iterator

from dashboards.formats import without_password
from dashboards.tracking.connection import TrackingUnreachable, quiet_mlflow
from stablesweep.errors import StablesweepError, TrackingError, short


class Outage:
    """Waits between attempts while the tracking server is away: twice as long each time, at most a minute."""

    def __init__(self) -> None:
        self._wait_s, self._until = 0.0, 0.0

    def over(self) -> bool:
        """Whether it is time for an attempt."""
        return time.monotonic() >= self._until

    def failed(self) -> None:
        """Note a failed attempt."""
        self._wait_s = min(max(2 * self._wait_s, 1.0), 60.0)
        self._until = time.monotonic() + self._wait_s

    def succeeded(self) -> None:
        """Note a good attempt."""
        self._wait_s, self._until = 0.0, 0.0


@contextlib.contextmanager
def server_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow raises in the block into a :class:`TrackingError` that names the server."""
    from mlflow.exceptions import MlflowException

    try:
        with quiet_mlflow():
            yield
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"the tracking store {without_password(uri)} went away ({short(error)}); all results "
            "are in the home, run again when it is back to publish them."
        ) from error


@contextlib.contextmanager
def connection_errors(uri: str) -> Iterator[None]:
    """Turn whatever is raised while the store is used for the first time into a :class:`TrackingError` that names it."""
    try:
        yield
    except StablesweepError:
        raise
    except TrackingUnreachable as error:
        raise TrackingError(f"{error} It is set by MLFLOW_TRACKING_URI; unset it to record in the home.") from error
    # MLflow's, requests', SQLAlchemy's or a database driver's own error: all mean the same here.
    except Exception as error:
        raise TrackingError(
            f"the tracking store {without_password(uri)} cannot be used "
            f"({short(error)}); repair it, or set MLFLOW_TRACKING_URI to another one."
        ) from error
