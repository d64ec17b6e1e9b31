"""Which files of the working directory go to the cluster, said before they go."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stablesweep.errors import StablesweepError
from stablesweep.plan_text import in_bytes
from stablesweep.submission import rules
from stablesweep.submission.rules import Ignored

LARGEST_UPLOAD = 100 * 1024**2
"""Bytes. Every node unpacks the working directory, for every job anew."""
_SHOWN = 3


class UploadError(StablesweepError):
    """A working directory that cannot be sent."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of the working directory."""

    path: Path
    """Relative to the working directory."""
    size: int
    """Bytes."""
    left_out: str | None = None
    """Why it is not sent; None if it is."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A working directory and what of it is sent."""

    root: Path
    pieces: tuple[Piece, ...]

    @property
    def sent(self) -> list[Piece]:
        """The files that go to the cluster."""
        return [piece for piece in self.pieces if piece.left_out is None]

    @property
    def size(self) -> int:
        """Bytes that go to the cluster."""
        return sum(piece.size for piece in self.sent)


def choose_files(
    root: Path, *, always: Path | None = None, include: Sequence[str] = (), dataset: Path | None = None
) -> Upload:
    """Decide for each file in a folder whether it is sent.

    Args:
        root: The working directory.
        always: A file in it that is sent whatever the rules say: the study.
        include: Patterns, as in a ``.gitignore``, of what is sent although a rule leaves it out.
        dataset: The study's data, which may lie in the working directory.

    Raises:
        UploadError: If a folder or an ignore file cannot be read.
    """
    root = root.resolve()
    try:
        ignored = [one for parent in _repository(root) for one in rules.ignored_in(parent)]
        found = list(_walk(root, root, None, ignored, dataset.resolve() if dataset else None))
    except (OSError, UnicodeDecodeError) as error:
        raise UploadError(f"{root}: cannot be read ({error}); give another --working-dir.") from error
    kept = {always.resolve().relative_to(root)} if always else set()
    chosen = [
        Piece(piece.path, piece.size) if piece.path in kept or _included(piece, include) else piece for piece in found
    ]
    return Upload(root, tuple(chosen))


def _repository(root: Path) -> list[Path]:
    """The folders above ``root`` whose ignore files hold for it: those of the Git repository that it lies in."""
    if (root / ".git").exists():
        return []
    for depth, parent in enumerate(root.parents, start=1):
        if (parent / ".git").exists():
            return list(root.parents[:depth])
    return []


def _included(piece: Piece, include: Sequence[str]) -> bool:
    # Ray would read an ignore file once more, and leave out what is said to be sent.
    readable = piece.left_out != rules.SPECIAL and piece.path.name not in rules.IGNORE_FILES
    return bool(include) and piece.left_out is not None and readable and rules.matches(include, piece.path)


def _walk(
    root: Path, folder: Path, reason: str | None, ignored: Sequence[Ignored], dataset: Path | None
) -> Iterator[Piece]:
    """All files in a folder; ``reason`` is why the folder itself is left out."""
    # In a folder that is left out nothing is decided any more, only counted.
    here = [*ignored, *rules.ignored_in(folder)] if reason is None else []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                why = reason or rules.reason_for_folder(path, here, dataset)
                yield from _walk(root, path, why, here, dataset)
            elif entry.is_file():
                why = reason or rules.reason_for_file(entry, root, here)
                yield Piece(path.relative_to(root), entry.stat().st_size, why)
            else:
                why = rules.OUTSIDE if entry.is_symlink() else rules.SPECIAL
                yield Piece(path.relative_to(root), 0, why)


def check_size(upload: Upload) -> None:
    """Raises UploadError if more would be sent than :data:`LARGEST_UPLOAD`."""
    if upload.size > LARGEST_UPLOAD:
        raise UploadError(
            f"{upload.root}: {in_bytes(upload.size)} would be sent, more than {in_bytes(LARGEST_UPLOAD)} (largest: "
            f"{_largest(upload.sent)}); name them in {upload.root / '.rayignore'}, or give another --working-dir."
        )


def stage(upload: Upload, folder: Path) -> None:
    """Copy what is sent into a folder. Raises UploadError."""
    try:
        for piece in upload.sent:
            target = folder / piece.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(upload.root / piece.path, target)
            target.chmod((upload.root / piece.path).stat().st_mode & 0o755 | 0o600)
    except OSError as error:
        raise UploadError(f"{error.filename}: cannot be copied to be sent ({error.strerror}).") from error


def describe(upload: Upload) -> list[str]:
    """What is sent and what is not, one line each."""
    largest = f" (largest: {_largest(upload.sent)})" if upload.sent else ""
    lines = [f"Sending {_amount(upload.sent)} of {upload.root}{largest}."]
    groups: dict[str, list[Piece]] = defaultdict(list)
    for piece in upload.pieces:
        if piece.left_out is not None:
            groups[piece.left_out].append(piece)
    lines += [f"Left out, {reason}: {_amount(group)} ({_tops(group)})" for reason, group in groups.items()]
    if groups:
        lines.append("--include PATTERN sends what is left out.")
    return lines


def _amount(pieces: Sequence[Piece]) -> str:
    return f"{len(pieces)} file{'' if len(pieces) == 1 else 's'}, {in_bytes(sum(piece.size for piece in pieces))}"


def _largest(pieces: Sequence[Piece]) -> str:
    first = sorted(pieces, key=lambda piece: -piece.size)[:_SHOWN]
    return ", ".join(f"{piece.path} {in_bytes(piece.size)}" for piece in first)


def _tops(pieces: Sequence[Piece]) -> str:
    """The names at the top of the working directory that hold the pieces."""
    names = list(dict.fromkeys(piece.path.parts[0] for piece in pieces))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
