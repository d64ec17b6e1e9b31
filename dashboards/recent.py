"""The studies that a process holds in memory: the last few that were asked for."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from dashboards.errors import StudyNotFound
from dashboards.tracking.snapshot import Snapshot
from dashboards.tracking.study import StudyRecord

KEPT = 8
"""Studies held in memory."""


class RecentSnapshots:
    """The copies of the :data:`KEPT` studies read last, oldest first. Threads may share it.

    A copy that falls out goes, and its connection with it, when the last thread that reads it has ended: nothing else
    holds it.
    """

    def __init__(self) -> None:
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()
        self._lock = threading.Lock()

    def refresh(self, name: str, make: Callable[[], Snapshot]) -> StudyRecord:
        """The study as it is now.

        Args:
            name: The study.
            make: Makes its copy, where none is kept.

        Raises:
            StudyNotFound: If there is no such study (any more); nothing of it is kept then.
            ValueError: As :meth:`dashboards.tracking.snapshot.Snapshot.refresh`; what is kept stays.
        """
        snapshot = self._used(name, make)
        try:
            return snapshot.refresh()
        except StudyNotFound:
            self._drop(name, snapshot)
            raise
        finally:
            # Only now: a name that is not found pushes out nothing.
            self._trim()

    def _used(self, name: str, make: Callable[[], Snapshot]) -> Snapshot:
        with self._lock:
            if name not in self._snapshots:
                self._snapshots[name] = make()
            self._snapshots.move_to_end(name)
            return self._snapshots[name]

    def _drop(self, name: str, snapshot: Snapshot) -> None:
        with self._lock:
            # Another thread may have begun a new one meanwhile.
            if self._snapshots.get(name) is snapshot:
                del self._snapshots[name]

    def _trim(self) -> None:
        with self._lock:
            while len(self._snapshots) > KEPT:
                self._snapshots.popitem(last=False)
