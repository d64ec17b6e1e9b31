"""The libraries that a report needs and nothing before it, imported when there is nothing else to do: that takes seconds."""

import importlib
import logging

LIBRARIES = ("stablesweep.reporting", "scipy.stats", "sklearn.ensemble", "plotly.graph_objects", "kaleido")

logger = logging.getLogger(__name__)


def import_libraries() -> None:
    """Import what :func:`stablesweep.reporting.make_report` will; what cannot be imported is an error where it is used, not here."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except Exception:
            logger.debug("%s cannot be imported", name, exc_info=True)
