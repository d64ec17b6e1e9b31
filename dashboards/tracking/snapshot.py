"""A local copy of a study that is brought up to date by what changed in MLflow."""

import hashlib
import os
import threading
from pathlib import Path

from dashboards.cautions import kept_cautions, warn_caller
from dashboards.formats import without_password
from dashboards.tracking.connection import connect, quiet_mlflow, reading
from dashboards.tracking.generation import digest
from dashboards.tracking.parts import Parts, read_parts
from dashboards.tracking.search import find_study
from dashboards.tracking.snapshot_files import Saved, SnapshotDamaged, folder_of, load, save
from dashboards.tracking.stamp import Stamp, Watch
from dashboards.tracking.study import StudyRecord, record_of


class Snapshot:
    """A study as it was at the last :meth:`refresh`. Threads may share one; processes may share its folder.

    Correct when trials are added, restarted, running, deleted, restored or purged, and when a publisher dies half way.
    What is not seen until the next round of publishing ends: a run that somebody edits by hand in MLflow, an artifact
    that was written in a round which was cut off before it touched a run, and some of the runs of several rounds in a row
    that were all cut off.

    Args:
        tracking_uri: As MLflow takes it.
        study: The study's name.
        folder: Where copies are kept, of any number of studies of this tracking server; made if needed.
    """

    def __init__(self, tracking_uri: str, study: str, folder: Path) -> None:
        self._uri, self._study = tracking_uri, study
        self._tracking = _identity(tracking_uri)
        self._folder = folder_of(Path(folder), study)
        self._lock = threading.Lock()
        self._loaded = False
        self._saved: Saved | None = None
        self._parts: Parts | None = None
        self._record: StudyRecord | None = None
        self._cautions: tuple[str, ...] = ()
        self._generation = ""
        self._watch = Watch(tracking_uri)
        self._stamp: Stamp | None = None

    @property
    def generation(self) -> str:
        """A digest of the data as of the last :meth:`refresh`; empty before. Equal data have equal ones everywhere."""
        return self._generation

    def refresh(self) -> StudyRecord:
        """The study as it is now, equal to :func:`dashboards.tracking.study.read_study`; the same object if nothing changed.

        Warns (``UserWarning``) as ``read_study`` does, every time, and about a copy that is damaged, foreign or cannot be
        written.

        Raises:
            TrackingUnreachable: If nothing answers at the tracking URI.
            StudyNotFound: If there is no such study there (any more); names those that are.
            StudyUnreadable: If its ledger is missing or damaged.
        """
        with self._lock:
            # Before anything is read: what is written meanwhile makes another stamp.
            stamp = self._watch.stamp()
            if self._record is None or stamp is None or stamp != self._stamp:
                self._stamp = None
                # As long as a round is not announced, or has no number, each look finds it new: a file that is written in
                # it leaves no trace in the store.
                if not self._look():
                    self._stamp = stamp
            assert self._record is not None
            record, cautions = self._record, self._cautions
        for caution in cautions:
            warn_caller(caution)
        return record

    def _look(self) -> bool:
        """Reads what may have changed; whether there was anything."""
        client = connect(self._uri)
        with quiet_mlflow(), reading(self._uri):
            experiment, study_run = find_study(client, self._uri, self._study)
            before = self._known(experiment, study_run.info.run_id)
            parts = read_parts(client, experiment, study_run, self._study, before)
        changed = parts is not before
        if changed or self._record is None:
            self._take(parts, changed)
        return changed

    def _known(self, experiment: str, study_run: str) -> Parts | None:
        if not self._loaded:
            self._loaded = True
            try:
                loaded = load(self._folder, self._study, self._tracking)
            except SnapshotDamaged as error:
                warn_caller(
                    f"{self._folder}: this copy of study {self._study!r} cannot be used ({error}); reading all again."
                )
                loaded = None
            if loaded is not None:
                self._saved, self._generation = loaded
                self._parts = self._saved.parts
        if self._parts is not None and (self._parts.experiment_id, self._parts.study_run_id) != (experiment, study_run):
            warn_caller(
                f"{self._folder}: this copy is of another study named {self._study!r} "
                f"(MLflow run {self._parts.study_run_id}, now {study_run}); reading all again."
            )
            self._parts = self._record = None
        return self._parts

    def _take(self, parts: Parts, changed: bool) -> None:
        with kept_cautions() as of_record:
            record = record_of(parts, self._uri)
        self._cautions = (*parts.cautions, *of_record)
        self._parts = parts
        if changed:
            generation = digest(record)
            # Equal data stay the same object: whoever drew it need not draw it again.
            if self._record is None or generation != self._generation:
                self._record, self._generation = record, generation
            self._save(parts)
        else:
            self._record = record

    def _save(self, parts: Parts) -> None:
        try:
            self._saved = save(self._folder, parts, self._tracking, self._generation, self._saved)
        except OSError as error:
            warn_caller(f"{self._folder}: the copy of study {self._study!r} cannot be written ({error}).")


def default_folder(tracking_uri: str) -> Path:
    """Where copies of the studies at ``tracking_uri`` are kept: in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or ""
    # The specification says to ignore a relative path.
    root = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return root / "stablesweep" / "snapshots" / hashlib.sha256(_identity(tracking_uri).encode()).hexdigest()[:16]


def _identity(tracking_uri: str) -> str:
    """The URI without its password, and with a whole path to a file: ``sqlite:///mlflow.db`` is one in every folder."""
    shown = without_password(tracking_uri)
    scheme, separator, path = shown.partition(":///")
    if scheme.startswith("sqlite") and separator:
        return f"{scheme}:///{Path(path).absolute()}"
    return shown
