"""Which way of training a step is the fastest one, found out on the first steps of a pack."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

UNTIMED = 1
"""Steps of each way that are not timed: the first ones prepare."""
TIMED = 3
"""Steps of each way that are timed."""


class Choice:
    """Takes the ways in turn, and then for good the one whose steps took least. No step is done twice for it.

    Args:
        ways: Names, in the order in which they are tried; of equally fast ones the first is chosen.
        synchronise: Waits until the device has done what it was asked for.
    """

    def __init__(self, ways: Sequence[str], synchronise: Callable[[], None]) -> None:
        self._synchronise = synchronise
        self.seconds: dict[str, list[float]] = {way: [] for way in ways}
        """By way, how long its steps took so far, those that were not timed included."""

    @property
    def decided(self) -> bool:
        """Whether every way was tried often enough."""
        return all(len(steps) >= UNTIMED + TIMED for steps in self.seconds.values()) or len(self.seconds) == 1

    @property
    def way(self) -> str:
        """The way to train the next step."""
        if not self.decided:
            return next(way for way, steps in self.seconds.items() if len(steps) < UNTIMED + TIMED)
        return min(self.seconds, key=self.step_seconds)

    def step_seconds(self, way: str) -> float:
        """Median of the timed steps; 0 if there is none."""
        timed = self.seconds[way][UNTIMED:]
        return median(timed) if timed else 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """A step in the way that :attr:`way` says; costs nothing once decided."""
        if self.decided:
            yield
            return
        way = self.way
        self._synchronise()
        began = time.perf_counter()
        yield
        self._synchronise()
        self.seconds[way].append(time.perf_counter() - began)
