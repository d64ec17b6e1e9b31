"""What every reader gives: the trials of a source as it names and scales them, columns beside each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.imports.options import UnusableResults
from dashboards.selection import Floats

CURVE_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("epoch", pa.int64()),
        pa.field("train_loss", pa.float64()),
        pa.field("value", pa.float64()),
    ]
)
"""One row a trial and epoch: ``row`` the trial's place, ``value`` its error or accuracy as the source scales it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RawColumn:
    """One column of the source, one entry a trial."""

    values: pa.Array
    label: str
    """What the source calls it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RawTrials:
    """Trials of a source; every column has one entry a trial, in the source's order."""

    source: str
    """Where they come from, without passwords."""
    n: int
    columns: Mapping[str, RawColumn]
    """By role; ``error`` or ``accuracy`` is one of them."""
    hyperparameters: Mapping[str, pa.Array]
    """Numbers or texts by name, null where the trial has none."""
    row_name: Callable[[int], str]
    """What a message calls the trial at a place."""
    units: Mapping[str, Floats] = field(default_factory=dict)
    """By hyperparameter the place within its interval, 0 to 1; ``nan`` where it is not known."""
    curves: pa.Table = field(default_factory=CURVE_SCHEMA.empty_table)
    notes: tuple[str, ...] = ()
    """Sentences that the user must see."""

    def refuse(self, role: str, place: int, text: str) -> NoReturn:
        """Raises an error about one value."""
        column = self.columns[role]
        raise UnusableResults(
            f"{self.source}: {column.label!r} of {self.row_name(place)} is {column.values[place].as_py()!r}, {text}."
        )

    def floats(self, role: str) -> Floats:
        """The numbers of a role, ``nan`` where there is none, shape ``(n,)``.

        Raises:
            UnusableResults: If a value is no number.
        """
        values = self.columns[role].values
        if pa.types.is_null(values.type):
            return np.full(self.n, np.nan)
        if _is_text(values.type):
            values = self._parsed(role, pc.utf8_trim_whitespace(values.cast(pa.string())))
        elif not _is_number(values.type):
            self._refuse_type(role, "numbers")
        return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)

    def integers(self, role: str) -> pa.Array:
        """The whole numbers of a role, null where there is none.

        Raises:
            UnusableResults: If a value is no whole number.
        """
        values = self.columns[role].values
        if pa.types.is_integer(values.type):
            return values.cast(pa.int64())
        numbers = self.floats(role)
        known = ~np.isnan(numbers)
        odd = known & ((numbers != np.round(numbers)) | (np.abs(numbers) > 2**53))
        if odd.any():
            self.refuse(role, int(np.argmax(odd)), "expected a whole number")
        return pa.array(np.where(known, numbers, 0).astype(np.int64), mask=~known)

    def texts(self, role: str) -> pa.Array:
        """The texts of a role without the blanks around them, null where there is none.

        Raises:
            UnusableResults: If a value is neither a text nor a number, or has control characters.
        """
        values = self.columns[role].values
        if not (_is_text(values.type) or _is_number(values.type) or pa.types.is_null(values.type)):
            self._refuse_type(role, "texts")
        if pa.types.is_boolean(values.type):
            return values.cast(pa.string())
        texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)

    def times(self, role: str) -> pa.Array:
        """The moments of a role, null where there is none: ISO 8601, or seconds since 1970; UTC where no zone is said.

        Raises:
            UnusableResults: If a value is no moment.
        """
        values = self.columns[role].values
        wanted = pa.timestamp("ms", tz="UTC")
        if pa.types.is_timestamp(values.type):
            aware = values if values.type.tz else pc.assume_timezone(values, "UTC")
            return pc.cast(aware, wanted, safe=False)
        if _is_number(values.type):
            seconds = self.floats(role)
            known = np.isfinite(seconds)
            return pa.array((np.where(known, seconds, 0) * 1_000).astype(np.int64), mask=~known).cast(wanted)
        moments: list[datetime | None] = []
        for place, text in enumerate(self.texts(role).to_pylist()):
            try:
                moment = None if text is None else datetime.fromisoformat(text)
            except ValueError:
                self.refuse(role, place, "expected a moment like 2026-11-20T09:30:00Z")
            moments.append(moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC))
        return pa.array(moments, wanted)

    def _parsed(self, role: str, texts: pa.Array) -> pa.Array:
        absent = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["", "nan", "na", "n/a", "none", "null", "-"]))
        texts = pc.if_else(absent, pa.scalar(None, pa.string()), texts)
        try:
            return texts.cast(pa.float64())
        except pa.ArrowInvalid:
            for place, text in enumerate(texts.to_pylist()):
                if text is not None and not _is_float(text):
                    self.refuse(role, place, "expected a number")
            return pa.array([None if text is None else float(text) for text in texts.to_pylist()], pa.float64())

    def _refuse_type(self, role: str, expected: str) -> NoReturn:
        column = self.columns[role]
        raise UnusableResults(
            f"{self.source}: {column.label!r} holds {column.values.type}, expected {expected} for {role!r}."
        )


def scalar_column(values: list[Any]) -> pa.Array:
    """Values of any kinds as one column: numbers if all are, else texts; ``None`` is null.

    Lists and mappings become JSON, for they cannot be told apart otherwise.
    """
    known = [value for value in values if value is not None]
    if all(isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 for value in known):
        return pa.array(values, pa.int64() if known else pa.string())
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else as_text(value) for value in values], pa.string())


def as_text(value: Any) -> str:
    """A value as text: JSON unless it is one already."""
    import json

    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def free_names(names: list[str], taken: frozenset[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Names for hyperparameters that are none of the trials table's columns, and a note for each that was changed."""
    free = {name: f"param_{name}" if name in taken else name for name in names}
    notes = tuple(
        f"Hyperparameter {name!r} has the name of a column of the trials table and is called {new!r}."
        for name, new in free.items()
        if name != new
    )
    return free, notes


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_scalar(kind: pa.DataType) -> bool:
    """Whether a column of this type can be a hyperparameter: numbers, booleans and texts."""
    return _is_number(kind) or _is_text(kind)


Integers = npt.NDArray[np.int64]
