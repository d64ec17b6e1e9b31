"""Whether a place can be written, and seen from elsewhere."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from pyarrow import fs

from stablesweep.checkpoints import in_storage, open_storage, shown
from stablesweep.errors import StablesweepError, short

CONTENT = b"stablesweep looks whether this file can be seen; it may be deleted\n"


@contextlib.contextmanager
def probe_file(storage: str) -> Iterator[str]:
    """A small file in a folder while the block lasts; the folder is made if need be and then removed again.

    Args:
        storage: The folder: a path or a URI that ``pyarrow.fs`` knows.

    Yields:
        The file's own path or URI.

    Raises:
        StablesweepError: If the storage cannot be reached or written.
    """
    system, folder = open_storage(storage)
    name = f".probe-{secrets.token_hex(4)}"
    made: list[Path] = []
    try:
        try:
            made = _made_folders(Path(folder)) if isinstance(system, fs.LocalFileSystem) else []
            with system.open_output_stream(f"{folder}/{name}") as file:
                file.write(CONTENT)
        except OSError as error:
            raise StablesweepError(
                f"storage {shown(storage)}: cannot be written ({short(error)}); make it writable, or choose another --storage."
            ) from error
        yield in_storage(storage, name)
    finally:
        with contextlib.suppress(OSError):
            system.delete_file(f"{folder}/{name}")
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


def unseen(place: str) -> str:
    """Why nothing is seen at a path or a URI; empty if a file or a folder is."""
    try:
        system, path = fs.FileSystem.from_uri(place)
        found = system.get_file_info(path)
    except (ValueError, TypeError, OSError) as error:
        return short(error)
    return "it is not there" if found.type == fs.FileType.NotFound else ""


def _made_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; those that were not there before, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing
