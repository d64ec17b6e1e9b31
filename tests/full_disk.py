"""A small file system that a test may fill."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.missing import lacks


@contextmanager
def small_disk(folder: Path, megabytes: float, *options: str) -> Iterator[Path]:
    """A file system of so many megabytes at ``folder``, which is made; the test is skipped where nobody may mount one.

    Args:
        folder: Where; its parents are made as well.
        megabytes: Of 1024 KiB.
        options: More of those of ``mount -o``, e.g. ``ro``.
    """
    folder.mkdir(parents=True)
    chosen = ",".join([f"size={round(1024 * megabytes)}k", *options])
    command = ["mount", "-t", "tmpfs", "-o", chosen, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lacks(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: what a test has left open there goes with its process.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room on the disk of a folder; the file that holds it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            pass
    return filler


def files_in(folder: Path) -> set[str]:
    """The files below a folder, by their paths in it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
