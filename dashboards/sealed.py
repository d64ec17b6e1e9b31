"""Parquet files that notice when a bit of them is no longer what was written."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from dashboards.tracking.generation import add_table

DIGEST = b"stablesweep.digest"
"""Schema metadata: a digest of the columns and of the other metadata."""


def write_sealed(table: pa.Table, path: Path) -> None:
    """Write a table with its digest. Parquet's own checksums cover its pages alone, not what says how to read them."""
    pyarrow.parquet.write_table(_with_metadata(table, {**_others(table), DIGEST: _digest(table).encode()}), path)


def read_sealed(path: Path) -> pa.Table:
    """The table that :func:`write_sealed` was given; one that an earlier version wrote without a digest is believed.

    Raises:
        FileNotFoundError: If there is no such file.
        pa.ArrowInvalid: If it is no Parquet file, or not what was written.
    """
    try:
        table = pyarrow.parquet.read_table(path)
        sealed = (table.schema.metadata or {}).get(DIGEST)
        if sealed is not None and sealed.decode() != _digest(table):
            raise pa.ArrowInvalid("its digest is another one than when it was written")
    except FileNotFoundError:
        raise
    # What a damaged file makes of pyarrow's reader, of a text in it, or of a count in it.
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        raise pa.ArrowInvalid(" ".join(str(error).split())[:200]) from error
    return _with_metadata(table, _others(table))


def _others(table: pa.Table) -> dict[bytes, bytes]:
    return {name: value for name, value in (table.schema.metadata or {}).items() if name != DIGEST}


def _with_metadata(table: pa.Table, metadata: dict[bytes, bytes]) -> pa.Table:
    return table.replace_schema_metadata(metadata or None)


def _digest(table: pa.Table) -> str:
    state = hashlib.blake2b(digest_size=16)
    add_table(state, table)
    texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in _others(table).items()}
    state.update(json.dumps(texts, sort_keys=True).encode())
    return state.hexdigest()
