"""The studies that the app knows. A thread of its own reads them, so that no page waits for a tracking server."""

import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dashboards.app.study import StudyData
from dashboards.recent import KEPT
from dashboards.tracking.study import StudyRecord

WATCHED_S = 60.0
"""A study is read again as long as a page asked for it in the last so many seconds."""


class Source(Protocol):
    """Where studies come from; :class:`dashboards.studies.Studies` is one."""

    def names(self) -> list[str]:
        """Names of all studies, sorted; raises ``ValueError`` in one sentence."""
        ...

    def read(self, names: Sequence[str]) -> StudyRecord:
        """The study of this one name; raises ``ValueError`` in one sentence."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The names of all studies, as far as they are known."""

    names: tuple[str, ...] = ()
    error: str = ""
    """Why the latest look failed, one sentence; empty if it did not."""
    known: bool = False
    """Whether any look has ended, well or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One study, as far as it is known."""

    data: StudyData | None = None
    """The latest that could be read."""
    error: str = ""
    """Why the latest reading failed, one sentence; empty if it did not."""
    asked: float = 0.0
    """When a page last asked for it, seconds of the monotonic clock."""

    @property
    def generation(self) -> str:
        """Changes exactly when a page about the study would."""
        data = "" if self.data is None else f"{self.data.generation} {self.data.progress}"
        return f"{data} {self.error}"


class Store:
    """Studies by name. :meth:`start` begins to read, :meth:`stop` ends it; the other methods only look.

    Args:
        source: Where the studies are.
        refresh_s: Seconds between two looks.
    """

    def __init__(self, source: Source, refresh_s: float) -> None:
        self.refresh_s = refresh_s
        self._source = source
        self._changed = threading.Condition()
        self._listing = Listing()
        self._entries: dict[str, Entry] = {}
        self._generations = 0
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to read in a thread; does nothing where it has begun."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="studies", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ends reading; a reading that is under way is not waited for."""
        self._stopped.set()
        self._wake.set()

    def listing(self) -> Listing:
        """What studies there are."""
        self.start()
        with self._changed:
            return self._listing

    def known(self) -> dict[str, StudyData]:
        """The studies that were read."""
        with self._changed:
            return {name: entry.data for name, entry in self._entries.items() if entry.data is not None}

    def study(self, name: str, wait_s: float = 0.0) -> Entry:
        """The study of this name; asks for it to be read, and read again, if it is not yet.

        Args:
            name: The study.
            wait_s: How long to wait for a study that was never read, seconds: a small local one is there at once.
        """
        self.start()
        with self._changed:
            entry = replace(self._entries.get(name, Entry()), asked=time.monotonic())
            self._entries[name] = entry
            if entry.data is None and not entry.error:
                self._wake.set()
                self._changed.wait_for(lambda: self._is_known(name), wait_s)
            return self._entries.get(name, entry)

    def _is_known(self, name: str) -> bool:
        entry = self._entries.get(name, Entry())
        return entry.data is not None or bool(entry.error)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            self._read_listing()
            while (name := self._due()) is not None:
                self._read(name)
            for name in self._watched():
                self._read(name)
                # Somebody who opens another study is served before the rest of the round.
                while (newer := self._due()) is not None:
                    self._read(newer)
            self._forget()
            self._wake.wait(self.refresh_s)

    def _due(self) -> str | None:
        with self._changed:
            waiting = [name for name, entry in self._entries.items() if entry.data is None and not entry.error]
            return waiting[0] if waiting and not self._stopped.is_set() else None

    def _watched(self) -> list[str]:
        with self._changed:
            oldest = time.monotonic() - WATCHED_S
            return [name for name, entry in self._entries.items() if entry.asked >= oldest]

    def _forget(self) -> None:
        # Of the studies that no page looks at, the one asked for longest ago goes first.
        with self._changed:
            watched = set(self._watched())
            others = sorted((entry.asked, name) for name, entry in self._entries.items() if name not in watched)
            for _, name in others[: max(len(self._entries) - KEPT, 0)]:
                del self._entries[name]

    def _read_listing(self) -> None:
        try:
            listing = Listing(names=tuple(self._source.names()), known=True)
        # Whatever it is, it is shown: a thread that died would leave every page as it is without a word.
        except Exception as error:  # noqa: BLE001
            listing = Listing(names=self._listing.names, error=_sentence(error), known=True)
        with self._changed:
            self._listing = listing
            self._changed.notify_all()

    def _read(self, name: str) -> None:
        before = self._entries.get(name, Entry()).data
        data, error = before, ""
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                record = self._source.read([name])
            notes = tuple(dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)))
            if before is None or notes != before.notes or not _same(record, before.record):
                self._generations += 1
                data = StudyData(record, generation=self._generations, notes=notes, before=before)
        except Exception as failure:  # noqa: BLE001
            data, error = before, _sentence(failure)
        with self._changed:
            asked = self._entries.get(name, Entry()).asked
            self._entries[name] = Entry(data=data, error=error, asked=asked)
            self._changed.notify_all()


def _same(first: StudyRecord, second: StudyRecord) -> bool:
    """Whether two readings of a study say the same."""
    tables = all(
        getattr(first, name).equals(getattr(second, name), check_metadata=True)
        for name in ("trials", "curves", "units")
    )
    names = (
        "timing",
        "study_yaml",
        "experiment_id",
        "study_run_id",
        "versions",
        "skipped_samples",
        "costs",
        "hardware",
        "source",
        "conditions",
    )
    return tables and all(getattr(first, name) == getattr(second, name) for name in names)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:400]
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text or 'no details'}"
