"""Where a study keeps what it writes, and who may write there."""

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stablesweep.errors import HomeBusy, StablesweepError, short
from stablesweep.owner import UNREADABLE, LockOwner, submission_id

if TYPE_CHECKING:
    from dashboards.studies import Studies

DEFAULT_HOME = "stablesweep-home"
HOME_VARIABLE = "STABLESWEEP_HOME"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
"""Of a study's name, which is the name of a folder."""
NAME_IN_WORDS = "that has up to 80 letters, digits and . _ -, a letter or digit first"
INSTANT_S = 0.5
"""So long a lock is tried: whoever asks with :func:`is_locked` holds it for an instant."""


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The files of one study in a home."""

    path: Path

    @property
    def study_file(self) -> Path:
        """The study as it was run, with settings applied."""
        return self.path / "study.yaml"

    @property
    def ledger(self) -> Path:
        """All trials, written before the first starts."""
        return self.path / "ledger.parquet"

    @property
    def record(self) -> Path:
        """What the workers reported (SQLite), kept until the tracking server has it and after."""
        return self.path / "record.db"

    @property
    def packs(self) -> Path:
        """Checkpoints of unfinished packs."""
        return self.path / "packs"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the study; a line in it says which, see :func:`lock_owner`."""
        return self.path / "run.lock"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything its studies write."""

    path: Path

    @classmethod
    def at(cls, folder: str | Path | None = None) -> "Home":
        """``folder``, else ``$STABLESWEEP_HOME``, else ``./stablesweep-home``; made absolute, not created.

        Ray deletes the working directory of a job some time after its end: there a relative folder is taken from the
        user's home directory, so that the last is ``~/stablesweep-home``.

        Raises:
            StablesweepError: If no folder can be meant: it is in the home directory of nobody, or links lead in a circle.
        """
        path = Path(folder or os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)
        relative = not path.is_absolute() and not str(path).startswith("~")
        return cls(whole_path("~" / path if in_ray_job() and relative else path))

    def study(self, name: str) -> StudyFolder:
        """The folder of the study ``name``.

        Raises:
            StablesweepError: If no study can have this name: it might lead out of the home.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise StablesweepError(
                f"{name!r} is no study file, and cannot be the name of a study: {NAME_IN_WORDS}; give one or the other."
            )
        return StudyFolder(self.path / "studies" / name)

    def study_names(self) -> list[str]:
        """The studies that have a ledger here, sorted."""
        names = sorted(ledger.parent.name for ledger in self.path.glob("studies/*/ledger.parquet"))
        return [name for name in names if re.fullmatch(NAME_PATTERN, name)]

    @property
    def tracking_uri(self) -> str:
        """``$MLFLOW_TRACKING_URI``, else an SQLite file in the home."""
        return os.environ.get(TRACKING_VARIABLE) or f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def snapshots(self) -> Path:
        """Local copies of what MLflow holds about studies, for reading; may be deleted at any time."""
        return self.path / "snapshots"

    @property
    def imports(self) -> Path:
        """Studies that were imported from other tools."""
        return self.path / "imports"

    def studies(self) -> "Studies":
        """The studies that can be read from this home."""
        from dashboards.studies import Studies

        return Studies(tracking_uri=self.tracking_uri, imports=self.imports, snapshots=self.snapshots)

    @property
    def artifact_root(self) -> Path | None:
        """Where artifacts go when the home's own SQLite file is the tracking store; None: the server decides."""
        return None if os.environ.get(TRACKING_VARIABLE) else self.path / "mlartifacts"


def in_ray_job() -> bool:
    """Whether this process is the entrypoint of a Ray job, or was started by one."""
    return submission_id() is not None


def whole_path(path: str | Path) -> Path:
    """A path made absolute, ``~`` and links followed; nothing need be there.

    Raises:
        StablesweepError: If there is no such user, or links lead in a circle.
    """
    try:
        return Path(path).expanduser().resolve()
    # Which of them it is for a circle of links depends on the version of Python.
    except (RuntimeError, OSError, ValueError) as error:
        raise StablesweepError(f"{path}: no folder can be meant ({short(error)}); give another path.") from error


def is_locked(folder: StudyFolder) -> bool:
    """Whether a process runs the study now: on this machine, or on another one that shares the folder and its locks."""
    try:
        descriptor = os.open(folder.lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # A file system without locks: no study can run on it, see `locked`.
        return False
    finally:
        os.close(descriptor)
    return False


def lock_owner(folder: StudyFolder) -> LockOwner | None:
    """The process that runs the study now; None if none does, or if the one that does has not said yet which it is."""
    if not is_locked(folder):
        return None
    try:
        return LockOwner.from_fields(json.loads(folder.lock.read_text(encoding="utf-8")))
    except (OSError, *UNREADABLE):
        return None


@contextlib.contextmanager
def locked(folder: StudyFolder) -> Iterator[None]:
    """Hold the study's folder for this process.

    Raises:
        HomeBusy: If another process holds it.
        StablesweepError: If the folder cannot be written or locked.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StablesweepError(
            f"{folder.path}: cannot be written ({error.strerror}); choose another --home."
        ) from error
    try:
        _take(descriptor, folder)
        yield
        # A process that is killed leaves its line behind; the lock itself is gone with it.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: StudyFolder) -> None:
    try:
        _flock(descriptor)
    except BlockingIOError as error:
        owner = lock_owner(folder)
        who, since = (owner.in_words(), f" since {owner.since}") if owner else ("another process", "")
        raise HomeBusy(
            f"{folder.path.name}: {who} is running this study in {folder.path}{since}; "
            "wait for it, stop it, or use another --home."
        ) from error
    except OSError as error:
        raise StablesweepError(
            f"{folder.lock}: cannot be locked ({error.strerror}); choose a --home on a file system that has locks."
        ) from error
    line = json.dumps(LockOwner.this_process().as_fields()) + "\n"
    # On a full disk the lock holds without the line, and the study says itself what it cannot write.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, line.encode(), 0)


def _flock(descriptor: int) -> None:
    give_up = time.monotonic() + INSTANT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise
            time.sleep(INSTANT_S / 10)
