"""Where studies are found: on a tracking server, beside it those that were imported; read, merged and filtered."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dashboards.filters import filtered
from dashboards.imports import list_imports, load_import
from dashboards.merge import merge
from dashboards.recent import RecentSnapshots
from dashboards.tracking.snapshot import Snapshot, default_folder
from dashboards.tracking.study import StudyNotFound, StudyRecord, TrackingUnreachable, list_studies, read_study


@dataclass(frozen=True, kw_only=True, slots=True)
class Studies:
    """The studies that can be read from here."""

    tracking_uri: str
    """As MLflow takes it."""
    imports: Path | None = None
    """The folder of imported studies; need not exist. An imported study goes before one of the same name in MLflow."""
    snapshots: Path | None = None
    """The folder of local copies of what MLflow holds; made when it is needed. None: the user's cache folder."""
    _recent: RecentSnapshots = field(default_factory=RecentSnapshots, init=False, repr=False, compare=False)
    """The copies that were read last: one that has not changed is not read again."""

    def names(self) -> list[str]:
        """Names of all studies, sorted.

        Raises:
            TrackingUnreachable: If nothing answers at the tracking URI, and nothing was imported either.
        """
        imported = self._imported()
        try:
            return sorted({*imported, *list_studies(self.tracking_uri)})
        except TrackingUnreachable:
            if not imported:
                raise
            return imported

    def read(self, names: Sequence[str], where: Sequence[str] = ()) -> StudyRecord:
        """One study, or several merged into one record, of which the trials that fulfil all conditions.

        Args:
            names: At least one.
            where: Conditions, see :func:`dashboards.filters.filtered`.

        Raises:
            ValueError: If a study is not there or cannot be read, or a condition is wrong; one sentence that says which.
        """
        records = [self._read(name) for name in dict.fromkeys(names)]
        record = records[0] if len(records) == 1 else merge(records)
        return filtered(record, where) if where else record

    def _imported(self) -> list[str]:
        return [] if self.imports is None else list_imports(self.imports)

    def _read(self, name: str) -> StudyRecord:
        if self.imports is not None and name in self._imported():
            return load_import(self.imports / name)
        try:
            return self._snapshot(name)
        except (StudyNotFound, TrackingUnreachable) as error:
            imported = ", ".join(self._imported())
            raise type(error)(f"{error} Imported here: {imported}." if imported else str(error)) from error

    def _snapshot(self, name: str) -> StudyRecord:
        folder = self.snapshots or default_folder(self.tracking_uri)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            warnings.warn(f"{folder}: no local copy is kept ({error.strerror}); reading all from MLflow.", stacklevel=4)
            return read_study(self.tracking_uri, name)
        return self._recent.refresh(name, lambda: Snapshot(self.tracking_uri, name, folder))
