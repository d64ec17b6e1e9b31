"""Files that appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary neighbour of ``path`` to write to; renames it to ``path`` if the block succeeds.

    The neighbour is in the same folder because a rename is atomic only within one file system. If the block raises,
    the neighbour is removed and whatever was at ``path`` before is still there.

    Raises:
        ValueError: If the folder of ``path`` does not exist, or ``path`` is a folder.
        OSError: Whatever the block raises of this kind, a full disk say; it names ``path``.
    """
    if not path.parent.is_dir():
        raise ValueError(f"{path}: the folder {path.parent} does not exist; create it or choose another path.")
    if path.is_dir():
        raise ValueError(f"{path}: this is a folder; give the path of a file.")
    neighbour = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield neighbour
        os.replace(neighbour, path)
    except OSError as error:
        # Arrow's names no file, Python's the neighbour, which nobody asked for.
        if error.filename not in (None, str(neighbour)):
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        neighbour.unlink(missing_ok=True)
