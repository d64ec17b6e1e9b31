"""The local record: what the workers reported, durable before anything is sent to the tracking server."""

import contextlib
import hashlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboards.files import whole_file
from stablesweep.errors import RecordUnavailable, StablesweepError
from stablesweep.messages import FINAL, EpochDone, Message, SampleSkipped, TrialEnded, TrialStarted
from trainables.text import printable

BUSY_S = 60.0
"""So long a write waits for another process that holds the file."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    key TEXT PRIMARY KEY, pack TEXT NOT NULL, started REAL NOT NULL, status TEXT NOT NULL,
    error REAL, best_error REAL, epochs_done INTEGER NOT NULL DEFAULT 0, seconds REAL, reason TEXT,
    run_id TEXT, published TEXT NOT NULL DEFAULT '', published_epoch INTEGER NOT NULL DEFAULT 0,
    seal TEXT, trained_in TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epochs (
    key TEXT NOT NULL, epoch INTEGER NOT NULL, train_loss REAL, error REAL, lr REAL, seconds REAL, more TEXT, seal TEXT,
    PRIMARY KEY (key, epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS curves (pack TEXT PRIMARY KEY, trials INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS skipped_samples (problem TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pack_sizes (arm TEXT PRIMARY KEY, asked TEXT NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target (study_run TEXT NOT NULL);
"""
SEALED = "key, status, error, best_error, epochs_done, seconds, reason"
"""What the seal of a finished trial covers: SQLite itself does not notice a bit that flips inside a value. Not ``trained_in``, which
records of earlier versions do not have."""
SEALED_EPOCH = "key, epoch, train_loss, error, lr, seconds, more"
FOUND_EPOCHS = """
SELECT (SELECT count(*) FROM epochs),
       (SELECT coalesce(sum(found), 0) FROM
           (SELECT (SELECT count(*) FROM epochs WHERE epochs.key = trials.key) AS found FROM trials))
"""
"""How many epochs there are, and how many of them are found by their trials: a row whose key has changed is not."""
ENDED_PACKS = f"""
SELECT pack, key FROM trials WHERE pack IN
    (SELECT pack FROM trials GROUP BY pack
     HAVING min(status IN {tuple(sorted(FINAL))})
        AND count(*) != coalesce((SELECT curves.trials FROM curves WHERE curves.pack = trials.pack), 0))
ORDER BY key
"""
MOVE_AWAY = "move it away to train its trials again"
MAKE_USABLE = "make room on its disk, or make it and its folder readable and writable"
OUTER_FAULTS = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
}
"""Codes of SQLite that say nothing against the file's content."""
KNOWN = FINAL | {"pending", "running"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialState:
    """What is known of one trial that has started."""

    key: str
    pack: str
    started: float
    status: str
    error: float | None
    best_error: float | None
    epochs_done: int
    seconds: float | None
    reason: str | None
    trained_in: str | None
    """``loop`` or ``fused``, once it has ended."""
    run_id: str | None
    """Its MLflow run, once there is one."""
    published: str
    """The status that MLflow has; empty before the first."""
    published_epoch: int
    """The last epoch that MLflow has."""
    last_epoch: int
    """The last epoch that was reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What MLflow has of one trial."""

    key: str
    run_id: str
    """Its run."""
    status: str
    epoch: int
    """The last epoch that is there."""


@contextlib.contextmanager
def record_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises in the block into a :class:`StablesweepError` that names the record."""
    try:
        yield
    except sqlite3.Error as error:
        raise StablesweepError(
            f"{path}: cannot be read or written ({error}); make room or release the file, then run again to continue."
        ) from error


class Record:
    """An SQLite file with one row a trial and one row an epoch; every write is one transaction.

    A trial's result is written once: what arrives later for a finished trial (from a pack that was taken up again,
    say) changes nothing. An object belongs to the thread that made it; several may share the file.

    Raises:
        RecordUnavailable: If the file cannot be opened, or another process holds it.
        StablesweepError: If it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _make(path)
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            self._connection.create_function("seal", -1, _seal, deterministic=True)
            # SQLite takes an emptied file for a new one, and its trials would be taken for some that never ran.
            self._connection.execute("SELECT key FROM trials LIMIT 1")
            self._connection.executescript(SCHEMA)
            self._add_new_columns()
            self._check()
        # ValueError: a text that is none any more.
        except (sqlite3.Error, OSError, ValueError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> StablesweepError:
        kind, way_out = StablesweepError, MOVE_AWAY
        if _is_outer(error):
            kind, way_out = RecordUnavailable, MAKE_USABLE
        if "locked" in str(error):
            kind, way_out = RecordUnavailable, "end the process that holds it"
        return kind(f"{self.path}: the record cannot be read ({error}); {way_out}.")

    def _add_new_columns(self) -> None:
        """A record of an earlier version lacks them."""
        for table, column in (("epochs", "more"), ("epochs", "seal"), ("trials", "seal"), ("trials", "trained_in")):
            if column not in {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}:
                self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")

    def _check(self) -> None:
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        for trial in self.trials():
            if trial.status not in KNOWN:
                raise sqlite3.DatabaseError(f"the status of {trial.key} is {trial.status!r}")
        changed = f"SELECT key FROM trials WHERE status IN {tuple(sorted(FINAL))} AND seal != seal({SEALED})"
        for (key,) in self._connection.execute(changed):
            raise sqlite3.DatabaseError(f"the result of {key} is damaged")
        there, found = self._connection.execute(FOUND_EPOCHS).fetchone()
        if there != found:
            raise sqlite3.DatabaseError(f"{there} epochs are there, and its trials have {found}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def apply(self, messages: Iterable[Message]) -> None:
        """Write messages in order, all or none."""
        with self._connection as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            for message in messages:
                self._apply_one(message)

    def _apply_one(self, message: Message) -> None:
        match message:
            case TrialStarted():
                self._connection.execute(
                    "INSERT INTO trials (key, pack, started, status) VALUES (?, ?, ?, 'running') "
                    "ON CONFLICT (key) DO UPDATE SET pack = excluded.pack, status = 'running' "
                    "WHERE status IN ('pending', 'running')",
                    (message.key, message.pack, message.started),
                )
            case EpochDone():
                self._connection.execute(
                    f"INSERT INTO epochs ({SEALED_EPOCH}, seal) "
                    "SELECT key, ?1, ?2, ?3, ?4, ?5, ?6, seal(key, ?1, ?2, ?3, ?4, ?5, ?6) "
                    "FROM trials WHERE key = ?7 AND status = 'running' ON CONFLICT (key, epoch) DO NOTHING",
                    (
                        message.epoch,
                        # SQLite takes NaN for NULL, and so do we.
                        message.train_loss,
                        message.error,
                        message.lr,
                        message.seconds,
                        json.dumps(dict(message.more)) if message.more else None,
                        message.key,
                    ),
                )
            case TrialEnded():
                self._connection.execute(
                    "UPDATE trials SET status = ?1, error = ?2, best_error = ?3, epochs_done = ?4, seconds = ?5, reason = ?6, "
                    "seal = seal(key, ?1, ?2, ?3, ?4, ?5, ?6), trained_in = ?7 WHERE key = ?8 AND status = 'running'",
                    (*self._result(message), message.trained_in, message.key),
                )
            case SampleSkipped():
                self._connection.execute(
                    "INSERT OR IGNORE INTO skipped_samples VALUES (?)", (printable(message.problem),)
                )

    @staticmethod
    def _result(message: TrialEnded) -> tuple[object, ...]:
        return (
            message.status,
            message.error,
            message.best_error,
            message.epochs_done,
            message.seconds,
            None if message.reason is None else printable(message.reason),
        )

    def trials(self) -> list[TrialState]:
        """Every trial that has started, sorted by key."""
        return self._states("")

    def unpublished(self) -> list[TrialState]:
        """The trials of which MLflow lacks the status or, while they run, epochs; sorted by key."""
        return self._states("WHERE status != published OR (status = 'running' AND last_epoch > published_epoch)")

    def _states(self, condition: str) -> list[TrialState]:
        names = tuple(TrialState.__dataclass_fields__)
        columns = ", ".join(name for name in names if name != "last_epoch")
        # One look at the end of each trial's epochs: a join would read them all.
        last = "(SELECT coalesce(max(epoch), 0) FROM epochs WHERE epochs.key = trials.key) AS last_epoch"
        query = f"SELECT {columns}, {last} FROM trials {condition} ORDER BY key"
        return [TrialState(**dict(zip(names, row, strict=True))) for row in self._connection.execute(query)]

    def epochs(self, keys: Sequence[str]) -> list[EpochDone]:
        """The epochs of some trials, sorted by key and epoch. Raises as the record itself does when it is opened."""
        rows: list[EpochDone] = []
        query = (
            "SELECT epoch, train_loss, error, lr, seconds, more, seal IS NULL OR seal = seal(" + SEALED_EPOCH + ") "
            "FROM epochs WHERE key = ? ORDER BY epoch"
        )
        try:
            for key in sorted(keys):
                for *row, whole in self._connection.execute(query, (key,)):
                    if not whole:
                        raise sqlite3.DatabaseError(f"an epoch of {key} is damaged")
                    rows.append(_epoch(key, row))
        # ValueError: a text that is none any more.
        except (sqlite3.Error, ValueError) as error:
            raise self._refused(error) from error
        return rows

    def skipped_samples(self) -> list[str]:
        """What was wrong with each sample of the dataset that was left out, a sentence each, sorted."""
        query = "SELECT problem FROM skipped_samples ORDER BY problem"
        return [problem for (problem,) in self._connection.execute(query)]

    def pack_sizes(self, asked: str) -> dict[str, int]:
        """By arm, how many trials of it fitted into memory together.

        Args:
            asked: What the study asks for its packs; what was found out for another request says nothing about this one.
        """
        return dict(self._connection.execute("SELECT arm, size FROM pack_sizes WHERE asked = ?", (asked,)))

    def set_pack_size(self, arm: str, asked: str, size: int) -> None:
        """Note how many trials of an arm fit into memory together; see :meth:`pack_sizes`."""
        self._connection.execute(
            "INSERT OR REPLACE INTO pack_sizes (arm, asked, size) VALUES (?, ?, ?)", (arm, asked, size)
        )

    def note_published(self, published: Iterable[Published]) -> None:
        """Note what MLflow has of some trials."""
        with self._connection as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            transaction.executemany(
                "UPDATE trials SET run_id = ?, published = ?, published_epoch = ? WHERE key = ?",
                [(one.run_id, one.status, one.epoch, one.key) for one in published],
            )

    def pause(self) -> None:
        """Make ``running`` trials ``pending``: nothing trains them now, the next run takes them up."""
        self._connection.execute("UPDATE trials SET status = 'pending' WHERE status = 'running'")

    def reopen_lost(self) -> int:
        """Make ``lost`` trials ``pending``, so that they are trained again; returns how many."""
        self._connection.execute("DELETE FROM curves WHERE pack IN (SELECT pack FROM trials WHERE status = 'lost')")
        cursor = self._connection.execute("UPDATE trials SET status = 'pending', reason = NULL WHERE status = 'lost'")
        return cursor.rowcount

    def is_published_to(self, study_run: str) -> bool:
        """Whether this is the run of the study in MLflow that the record was compared with last."""
        return [(study_run,)] == self._connection.execute("SELECT study_run FROM target").fetchall()

    def packs_without_curves(self) -> dict[str, list[str]]:
        """The packs all of whose trials have ended and whose curves MLflow has not, or not of all: their trials' keys, sorted."""
        packs: dict[str, list[str]] = {}
        for pack, key in self._connection.execute(ENDED_PACKS):
            packs.setdefault(pack, []).append(key)
        return packs

    def set_curves_published(self, pack: str, trials: int) -> None:
        """Note that MLflow has the curves of so many trials of a pack."""
        self._connection.execute("INSERT OR REPLACE INTO curves (pack, trials) VALUES (?, ?)", (pack, trials))

    def publish_to(self, study_run: str, runs: Mapping[str, str]) -> None:
        """Compare with what MLflow has, and forget the publication of what it has not.

        Args:
            study_run: The study's run in MLflow.
            runs: The trial runs that are there, by key.
        """
        with self._connection as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            if transaction.execute("SELECT study_run FROM target").fetchall() != [(study_run,)]:
                transaction.execute("DELETE FROM curves")
                transaction.execute("DELETE FROM target")
                transaction.execute("INSERT INTO target VALUES (?)", (study_run,))
            for key, run_id in transaction.execute("SELECT key, run_id FROM trials").fetchall():
                if run_id != runs.get(key):
                    transaction.execute(
                        "UPDATE trials SET run_id = ?, published = '', published_epoch = 0 WHERE key = ?",
                        (runs.get(key), key),
                    )


def _make(path: Path) -> None:
    """Make the file with its tables, whole or not at all: an empty one was emptied."""
    with whole_file(path) as temporary, contextlib.closing(sqlite3.connect(temporary)) as connection:
        connection.executescript(SCHEMA)


def _is_outer(error: Exception) -> bool:
    """Whether the disk or a permission is to blame, and the file may be whole."""
    # The lower byte is the kind of error, the rest its variant.
    return isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in OUTER_FAULTS


def _seal(*values: object) -> str:
    # SQLite gives a number back as its column has it: 5 as 5.0, and -0.0 as 0.0.
    plain = [float(value) + 0.0 if isinstance(value, int | float) else value for value in values]
    return hashlib.blake2b(repr(plain).encode(), digest_size=8).hexdigest()


def _epoch(key: str, row: Sequence[Any]) -> EpochDone:
    epoch, train_loss, error, lr, seconds, more = row
    return EpochDone(
        key=key,
        epoch=epoch,
        train_loss=math.nan if train_loss is None else train_loss,
        error=error,
        lr=math.nan if lr is None else lr,
        seconds=seconds,
        more=json.loads(more) if more else {},
    )
