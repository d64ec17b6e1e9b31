"""A study's parts on this machine's disk: Parquet files and, replaced last, one JSON file that names them."""

import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from dashboards.files import whole_file
from dashboards.tables import CURVES_SCHEMA
from dashboards.tracking.arm_runs import ArmRun
from dashboards.tracking.curves import HISTORY_SCHEMA, PackFile
from dashboards.tracking.parts import Parts
from dashboards.tracking.runs import RUNS_SCHEMA
from dashboards.tracking.study_files import StudyFiles

FORMAT = 2
"""Of the files; a reader throws away what another version wrote."""
STATE = "state.json"
LOCK = ".lock"


class SnapshotDamaged(ValueError):
    """The files are not what :func:`save` writes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What :func:`save` left on the disk, so that the next one writes only what changed."""

    parts: Parts
    names: Mapping[str, str]
    """File name by part."""


def folder_of(folder: Path, study: str) -> Path:
    """The study's own folder in ``folder``: readable, and different for every name."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", study)[:40].strip("-")
    return folder / f"{readable}-{hashlib.sha256(study.encode()).hexdigest()[:12]}"


def save(folder: Path, parts: Parts, tracking: str, generation: str, before: Saved | None) -> Saved:
    """Writes the parts that ``before`` does not have, then the state, and removes files that it does not name.

    Args:
        folder: The study's own; made if needed.
        parts: To write.
        tracking: The tracking URI without its password.
        generation: Of the data.
        before: What this process saved or loaded last.

    Raises:
        OSError: If the disk is full, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, exclusive=True):
        names = {}
        for part, (value, table) in _tables(parts).items():
            name = None if before is None or _tables(before.parts)[part][0] is not value else before.names[part]
            if name is None or not (folder / name).is_file():
                name = f"{part}-{uuid.uuid4().hex[:12]}.parquet"
                _write(table(), folder / name)
            names[part] = name
        with whole_file(folder / STATE) as path:
            path.write_text(_sealed(_state(parts, tracking, generation, names)), encoding="utf-8")
        for path in folder.iterdir():
            if path.name not in (STATE, LOCK, *names.values()):
                path.unlink(missing_ok=True)
    return Saved(parts=parts, names=names)


def load(folder: Path, study: str, tracking: str) -> tuple[Saved, str] | None:
    """What was saved, and its generation; ``None`` if nothing was.

    Raises:
        SnapshotDamaged: If it cannot be read, or is of another version, server or study; the message says which.
    """
    if not (folder / STATE).is_file():
        return None
    try:
        with _locked(folder, exclusive=False):
            state = _unsealed((folder / STATE).read_text(encoding="utf-8"))
            expected = {"format": FORMAT, "tracking": tracking, "study": study}
            for name, value in expected.items():
                if state.get(name) != value:
                    raise SnapshotDamaged(f"its {name} is {state.get(name)!r}, not {value!r}")
            tables = {part: _read(folder / name) for part, name in state["files"].items()}
        return Saved(parts=_parts(state, tables), names=state["files"]), str(state["generation"])
    except SnapshotDamaged:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotDamaged(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}") from error


def _tables(parts: Parts) -> dict[str, tuple[object, Callable[[], pa.Table]]]:
    """By part: the object that tells whether it changed, and its table."""
    return {
        "runs": (parts.runs, lambda: parts.runs),
        "ledger": (parts.files, lambda: parts.files.ledger),
        "packs": (
            parts.packs,
            lambda: pa.concat_tables([CURVES_SCHEMA.empty_table(), *(pack.rows for pack in parts.packs.values())]),
        ),
        "histories": (
            parts.histories,
            lambda: pa.concat_tables([HISTORY_SCHEMA.empty_table(), *parts.histories.values()]),
        ),
        "trials": (parts.trials, lambda: parts.trials),
        "curves": (parts.curves, lambda: parts.curves),
    }


def _state(parts: Parts, tracking: str, generation: str, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "tracking": tracking,
        "study": parts.study,
        "experiment_id": parts.experiment_id,
        "study_run_id": parts.study_run_id,
        "watermark": parts.watermark,
        "generation": generation,
        "study_tags": dict(parts.study_tags),
        "study_yaml": parts.files.study_yaml,
        "timing": parts.files.timing,
        "arm_runs": [asdict(run) for run in parts.arm_runs],
        "deleted_arm_runs": sorted(parts.deleted_arm_runs),
        "packs": [[name, pack.size, pack.rows.num_rows, pack.problem] for name, pack in parts.packs.items()],
        "histories": [[run_id, table.num_rows] for run_id, table in parts.histories.items()],
        "cautions": list(parts.cautions),
        "files": dict(names),
    }


def _parts(state: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> Parts:
    _check_schema(tables, "runs", RUNS_SCHEMA)
    _check_schema(tables, "packs", CURVES_SCHEMA)
    _check_schema(tables, "histories", HISTORY_SCHEMA)
    packs = _cut(tables["packs"], [rows for _, _, rows, _ in state["packs"]])
    histories = _cut(tables["histories"], [rows for _, rows in state["histories"]])
    return Parts(
        study=state["study"],
        experiment_id=state["experiment_id"],
        study_run_id=state["study_run_id"],
        watermark=state["watermark"],
        study_tags=state["study_tags"],
        runs=tables["runs"],
        files=StudyFiles(ledger=tables["ledger"], study_yaml=state["study_yaml"], timing=state["timing"]),
        arm_runs=tuple(ArmRun(**run) for run in state["arm_runs"]),
        deleted_arm_runs=frozenset(state["deleted_arm_runs"]),
        packs={
            name: PackFile(size=size, rows=rows, problem=problem)
            for (name, size, _, problem), rows in zip(state["packs"], packs, strict=True)
        },
        histories={run_id: rows for (run_id, _), rows in zip(state["histories"], histories, strict=True)},
        trials=tables["trials"],
        curves=tables["curves"],
        cautions=tuple(state["cautions"]),
    )


def _check_schema(tables: Mapping[str, pa.Table], part: str, schema: pa.Schema) -> None:
    if not tables[part].schema.equals(schema):
        raise SnapshotDamaged(f"its {part} have other columns")


def _cut(table: pa.Table, counts: list[int]) -> list[pa.Table]:
    if sum(counts) != table.num_rows:
        raise SnapshotDamaged("its curves have another number of rows")
    pieces, start = [], 0
    for count in counts:
        pieces.append(table.slice(start, count))
        start += count
    return pieces


def _write(table: pa.Table, path: Path) -> None:
    with whole_file(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _read(path: Path) -> pa.Table:
    table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
    return table.combine_chunks()


def _sealed(state: Mapping[str, Any]) -> str:
    body = json.dumps(state)
    return json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "state": body})


def _unsealed(text: str) -> dict[str, Any]:
    sealed = json.loads(text)
    body = sealed["state"]
    if hashlib.sha256(body.encode()).hexdigest() != sealed["sha256"]:
        raise SnapshotDamaged(f"{STATE} was changed")
    state: dict[str, Any] = json.loads(body)
    return state


@contextmanager
def _locked(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Waits for other processes; where the system or the file system has no such locks, does not."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / LOCK).open("a") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        # Closing the file gives the lock back.
        yield
