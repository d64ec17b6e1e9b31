"""Writing files so that a reader never sees half of one."""

import os
from collections.abc import Callable
from pathlib import Path

from dashboards.files import whole_file
from stablesweep.errors import StablesweepError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a neighbouring file, flush it to disk, then give it the name ``path``.

    Raises:
        StablesweepError: If the folder cannot be written or the disk is full; ``path`` is as it was before.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or str(error)
        raise StablesweepError(f"{path}: cannot be written ({reason}); free some space or change --home.") from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8; see :func:`write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
