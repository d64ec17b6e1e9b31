"""The levels of other libraries' loggers, changed for a while."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def log_levels(levels: Mapping[str, int]) -> Iterator[None]:
    """Inside the block the loggers of these names have these levels; afterwards those that they had."""
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
