"""Whether anything was written to an SQLite tracking store."""

import os
import sqlite3
import weakref
from pathlib import Path

Stamp = tuple[int, int, int]
"""Which connection of its watch looked, SQLite's number of the data that this one sees, the file's time of change in ns."""

_DRIVERS = ("sqlite", "sqlite+pysqlite")
"""SQLAlchemy's names for Python's own sqlite3."""


class Watch:
    """Sees whether anything was written to a tracking store that is an SQLite file. One thread at a time may use it.

    It keeps a connection to the file: whoever opens and closes it otherwise takes away all locks that this process has on
    it (https://www.sqlite.org/howtocorrupt.html, section 2.2). Of the connections of one library SQLite knows itself, and
    MLflow's are of the same one, Python's sqlite3.

    Args:
        tracking_uri: As MLflow takes it.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._path = _sqlite_file(tracking_uri)
        self._file: tuple[int, int] | None = None
        """Device and inode of what the connection has open."""
        self._connection: sqlite3.Connection | None = None
        self._opened = 0

    def stamp(self) -> Stamp | None:
        """The store's stamp: as long as it stays the same, no process has written anything. It takes some 15 µs.

        Returns:
            ``None`` where there is none now: the URI names a server, another database or no file, or somebody writes at
            this moment.

        Source: https://www.sqlite.org/pragma.html#pragma_data_version.
        """
        if self._path is None:
            return None
        try:
            status = os.stat(self._path)
            connection = self._connected((status.st_dev, status.st_ino))
            ((version,),) = connection.execute("PRAGMA data_version").fetchall()
        except (OSError, sqlite3.Error):
            return None
        # The time, in case another file was copied over it: SQLite looks at 16 bytes alone.
        return self._opened, version, status.st_mtime_ns

    def _connected(self, file: tuple[int, int]) -> sqlite3.Connection:
        if self._connection is None or file != self._file:
            assert self._path is not None
            # Not to wait for who writes: whoever asks reads the store itself then.
            connection = sqlite3.connect(
                f"{self._path.as_uri()}?mode=ro", uri=True, timeout=0, check_same_thread=False, isolation_level=None
            )
            weakref.finalize(self, connection.close)
            if self._connection is not None:
                self._connection.close()
            self._connection, self._file, self._opened = connection, file, self._opened + 1
        return self._connection


def _sqlite_file(tracking_uri: str) -> Path | None:
    scheme, _, rest = tracking_uri.partition(":///")
    path = rest.partition("?")[0]
    return Path(path).absolute() if scheme in _DRIVERS and path else None
