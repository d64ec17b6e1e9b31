"""Checkpoints of packs: whole or not at all, checked when they are read, on any file system that pyarrow knows."""

import contextlib
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import IO, Any, TypeVar

from pyarrow import fs

from dashboards.formats import without_password
from stablesweep.errors import StablesweepError, short
from stablesweep.home import StudyFolder, whole_path

KEEP = 2
"""The newest, and the one before in case the newest is damaged."""
CHUNK = 2**24
"""Bytes that are read at a time: an object store is asked once for each."""
DATA, SEAL = ".pt", ".json"
STORAGE_VARIABLE = "STABLESWEEP_STORAGE"

logger = logging.getLogger(__name__)

Value = TypeVar("Value")


class DamagedCheckpoint(ValueError):
    """A checkpoint that is not what was written; one sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal:
    """What is written after a checkpoint, so that it is complete, and its bytes can be checked."""

    sha256: str
    bytes: int
    epoch: int
    """Epochs done."""
    step: int
    """Steps done in the epoch that has begun."""
    keys: tuple[str, ...]
    """The trials in it."""

    def __post_init__(self) -> None:
        whole = all(type(count) is int for count in (self.bytes, self.epoch, self.step))
        if not whole or not all(isinstance(text, str) for text in (self.sha256, *self.keys)):
            raise TypeError("a seal's numbers are whole ones, and its keys are texts")


def open_storage(where: str) -> tuple[fs.FileSystem, str]:
    """The file system and the folder in it of a path or a URI (``s3://``, ``gs://``, ``file://``, ...).

    Raises:
        StablesweepError: If pyarrow knows no such file system, or the path is relative.
    """
    try:
        system, folder = fs.FileSystem.from_uri(where)
        if not folder.strip("/"):
            raise ValueError("it names no folder")
    except (ValueError, OSError, TypeError) as error:
        # It quotes the whole URI, whose options may hold a secret key.
        why = short(ValueError(str(error).replace(where, shown(where))))
        raise StablesweepError(
            f"storage {shown(where)}: no place for checkpoints ({why}); give an absolute path or a URI such as s3://bucket/folder."
        ) from error
    return system, folder


def shown(where: str) -> str:
    """A path as it is, a URI without its password and its options."""
    return without_password(where) if "://" in where else where


def study_storage(folder: StudyFolder, given: str | None) -> str:
    """Where the checkpoints of a study are: in the place that was given, else in ``$STABLESWEEP_STORAGE``, else in its home.

    Args:
        folder: The study's folder in its home.
        given: A path or a URI for the checkpoints of all studies.

    Raises:
        StablesweepError: If the path can be none.
    """
    where = given or os.environ.get(STORAGE_VARIABLE)
    if not where:
        return str(folder.packs)
    return in_storage(where if "://" in where else str(whole_path(where)), folder.path.name)


def in_storage(where: str, *parts: str) -> str:
    """The path or URI of something below a path or URI; what follows a ``?`` stays at the end."""
    base, mark, options = where.partition("?") if "://" in where else (where, "", "")
    return "/".join([base.rstrip("/"), *parts]) + mark + options


class CheckpointStore:
    """The checkpoints of one pack.

    A checkpoint is two files: the state, and after it the seal with its digest. Without a seal it does not exist, and where the
    digest does not fit it is damaged. So nothing has to be renamed, which object stores cannot do.

    Args:
        where: The pack's folder: a path or a URI. It need not exist.

    Raises:
        StablesweepError: If pyarrow knows no such file system.
    """

    def __init__(self, where: str) -> None:
        self.where = shown(where)
        """The folder, as messages name it."""
        self._system, self._folder = open_storage(where)

    def save(self, write: Callable[[IO[bytes]], object], *, epoch: int, step: int, keys: tuple[str, ...]) -> None:
        """Add a checkpoint and remove all but the newest.

        Args:
            write: Writes the state to the stream it is given.
            epoch: Epochs done.
            step: Steps done in the epoch that has begun.
            keys: The trials in it.

        Raises:
            OSError: If it cannot be written; those before are still there.
        """
        name = f"{epoch:06d}-{step:09d}-{uuid.uuid4().hex[:8]}"
        if isinstance(self._system, fs.LocalFileSystem):
            self._system.create_dir(self._folder, recursive=True)
        try:
            stream = self._write(name + DATA, write)
            seal = Seal(sha256=stream.digest.hexdigest(), bytes=stream.count, epoch=epoch, step=step, keys=keys)
            self._write(name + SEAL, lambda file: file.write(json.dumps(asdict(seal)).encode()))
        except Exception:
            self._delete([name + DATA, name + SEAL])
            raise
        self._keep_newest()

    def names(self) -> list[str]:
        """The checkpoints, the one that was written last first. Raises OSError if the storage cannot be read."""
        return _newest_first(self._files())

    def seal(self, name: str) -> Seal:
        """What was written down about a checkpoint.

        Raises:
            DamagedCheckpoint: If that cannot be understood.
            OSError: If the storage cannot be read.
        """
        path = self._path(name + SEAL)
        try:
            with self._system.open_input_file(path) as stream:
                values = json.loads(stream.read())
            if not isinstance(values["keys"], list):
                raise TypeError("a seal's keys are a list")
            return Seal(**{**values, "keys": tuple(values["keys"])})
        except FileNotFoundError as error:
            raise DamagedCheckpoint(f"{path}: the file is missing") from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DamagedCheckpoint(f"{path}: it is not what was written") from error

    def read(self, name: str, load: Callable[[IO[bytes]], Value]) -> Value:
        """What ``load`` makes of a checkpoint's bytes, which are checked first.

        Raises:
            DamagedCheckpoint: If they are not those that were written.
            OSError: If the storage cannot be read.
        """
        seal, path = self.seal(name), self._path(name + DATA)
        try:
            with self._system.open_input_file(path) as file:
                self._check(path, file, seal)
                file.seek(0)
                return load(file)
        except FileNotFoundError as error:
            raise DamagedCheckpoint(f"{path}: the file is missing") from error

    def delete(self) -> None:
        """Remove the pack's checkpoints; a storage that cannot be reached keeps them."""
        try:
            self._delete([info.base_name for info in self._files()])
            if isinstance(self._system, fs.LocalFileSystem):
                self._system.delete_dir(self._folder)
        except OSError as error:
            logger.info("%s: could not be removed (%s)", self.where, error)

    def _write(self, name: str, write: Callable[[IO[bytes]], object]) -> "_Digesting":
        """Fill a file; what went through is in the stream that it returns."""
        with self._system.open_output_stream(self._path(name)) as file:
            stream = _Digesting(file)
            try:
                write(stream)  # type: ignore[arg-type]
            except Exception as error:
                # Torch raises another error than the one that stopped it.
                raise stream.failure or error from error
        return stream

    @staticmethod
    def _check(path: str, file: Any, seal: Seal) -> None:
        digest, count = hashlib.sha256(), 0
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            count += len(chunk)
        if count != seal.bytes:
            raise DamagedCheckpoint(f"{path}: it has {count} bytes where {seal.bytes} were written")
        if digest.hexdigest() != seal.sha256:
            raise DamagedCheckpoint(f"{path}: its bytes are not those that were written")

    def _keep_newest(self) -> None:
        # By when they were written: one of no use, however far its training was, goes in its turn.
        files = self._files()
        kept = {name + end for name in _newest_first(files)[:KEEP] for end in (DATA, SEAL)}
        # The data first: a seal without data is damage that is seen, data without a seal is rubbish that stays.
        old = [info.base_name for info in files if info.base_name not in kept]
        self._delete(sorted(old, key=lambda file: file.endswith(SEAL)))

    def _files(self) -> list[fs.FileInfo]:
        found = self._system.get_file_info(fs.FileSelector(self._folder, allow_not_found=True))
        return [info for info in found if info.type == fs.FileType.File]

    def _delete(self, files: list[str]) -> None:
        for file in files:
            try:
                self._system.delete_file(self._path(file))
            except OSError as error:
                logger.info("%s: %s could not be removed (%s)", self.where, file, error)

    def _path(self, file: str) -> str:
        return str(PurePosixPath(self._folder) / file)


def progress(name: str) -> str:
    """The part of a checkpoint's name that says how far training was: of two, that of the later one is greater."""
    return name.rpartition("-")[0]


def _newest_first(files: list[fs.FileInfo]) -> list[str]:
    """The checkpoints among a pack's files: those that have a seal."""
    seals = [(info.mtime_ns, info.base_name) for info in files if info.base_name.endswith(SEAL)]
    return [file.removesuffix(SEAL) for _, file in sorted(seals, reverse=True)]


class _Digesting:
    """A stream that counts and digests what goes through it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest, self.count = hashlib.sha256(), 0
        self.failure: OSError | None = None
        """Why the last write failed."""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.digest.update(view)
        try:
            self._file.write(view)
        except OSError as error:
            self.failure = error
            raise
        self.count += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing: the file is flushed when it is closed."""


def packs_in(where: str) -> Iterator[tuple[str, Seal]]:
    """The packs that have checkpoints in a study's storage, each with the seal of its newest one.

    Args:
        where: The study's folder in the storage: a path or a URI.

    Raises:
        StablesweepError: If the storage cannot be read.
    """
    system, folder = open_storage(where)
    try:
        found = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        for info in found:
            if info.type == fs.FileType.Directory:
                store = CheckpointStore(in_storage(where, info.base_name))
                yield from ((info.base_name, seal) for seal in _readable(store))
    except OSError as error:
        raise StablesweepError(
            f"storage {shown(where)}: cannot be read ({short(error)}); make it reachable, or give another."
        ) from error


def _readable(store: CheckpointStore) -> list[Seal]:
    """The newest seal that can be understood; none if there is none."""
    for name in store.names():
        with contextlib.suppress(DamagedCheckpoint):
            return [store.seal(name)]
    return []
