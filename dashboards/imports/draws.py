"""Draws and keys of imported trials: which of them are the same point of the space, as far as the source says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.imports.raw import Integers
from dashboards.selection import Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Draws:
    """The draw and the key of each trial."""

    draws: Integers
    keys: pa.Array


def numbered_draws(name: str, phases: pa.Array, arms: pa.Array) -> Draws:
    """Draws where the source names none: numbered per arm, with keys that no two arms share, so that nothing is paired.

    The name of the import is in the key, so that two imports merged into one study share none either.
    """
    draws = occurrences(codes(phases, arms))
    own = pa.array(codes(arms)).cast(pa.string())
    return Draws(draws=draws, keys=_keys(phases, arms, draws, pc.binary_join_element_wise(name, own, ".")))


def said_draws(draws: Integers, phases: pa.Array, arms: pa.Array) -> Draws:
    """Draws as the source names them, equal ones of two arms one point; repeated ones are replicates, in row order."""
    replicates = occurrences(codes(phases, arms, pa.array(draws)))
    return Draws(draws=draws, keys=_keys(phases, arms, draws, pa.array(replicates).cast(pa.string())))


def keys_are_ours(keys: pa.Array, draws: Integers, phases: pa.Array, arms: pa.Array) -> bool:
    """Whether the source's keys are all there, different, and of the form ``phase/arm/draw/replicate``."""
    if keys.null_count or len(pc.unique(keys)) != len(keys):
        return False
    beginnings = _keys(phases, arms, draws, pa.array([""] * len(keys)))
    lengths = pc.utf8_length(beginnings).to_numpy(zero_copy_only=False)
    pairs = zip(keys.to_pylist(), beginnings.to_pylist(), lengths.tolist(), strict=True)
    return all(key[:length] == beginning and key[length:].isdigit() for key, beginning, length in pairs)


def occurrences(groups: Integers) -> Integers:
    """How many entries of the same group come before each entry, shape ``(n,)``."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(groups) else np.array([], int)
    places = np.arange(len(groups)) - np.repeat(starts, np.diff([*starts, len(groups)]))
    result = np.empty(len(groups), dtype=np.int64)
    result[order] = places
    return result


def codes(*columns: pa.Array) -> Integers:
    """A number for each different combination of values, in the order of the values, shape ``(n,)``."""
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values = np.asarray(column.to_numpy(zero_copy_only=False))
        own = np.unique(values, return_inverse=True)[1].reshape(-1)
        combined = np.unique(combined * (own.max(initial=0) + 1) + own, return_inverse=True)[1].reshape(-1)
    return combined.astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CommonValues:
    """One hyperparameter of two arms on their common draws, shape ``(common,)`` each."""

    arm_a: str
    arm_b: str
    values_a: Floats
    values_b: Floats

    @property
    def same_order(self) -> bool:
        """Whether both rise and fall together.

        Every arm's interval is reached from the unit cube by a function that does not decrease, so that a point of the
        cube keeps its rank.
        """
        # Equal values may come in any order; rounding of a nearly equal pair is no disorder.
        ordered = self.values_b[np.lexsort((self.values_b, self.values_a))]
        falls = ordered[1:] < ordered[:-1]
        return not (falls & ~np.isclose(ordered[1:], ordered[:-1], rtol=1e-6, atol=0)).any()

    @property
    def equal(self) -> bool:
        """Whether both are the same, but for rounding."""
        return bool(np.allclose(self.values_a, self.values_b, rtol=0, atol=1e-6))


def common_values(draws: Integers, phases: pa.Array, arms: pa.Array, values: Floats) -> Iterator[CommonValues]:
    """The first arm of each phase beside each other one, where they have common draws.

    Args:
        draws: Shape ``(n,)``; only those that occur once in an arm are looked at.
        phases: Of each trial.
        arms: Of each trial.
        values: Of one hyperparameter, or its places in the unit cube; ``nan`` where the trial has none.
    """
    groups = codes(phases, arms)
    known = ~np.isnan(values)
    first: dict[str, tuple[str, Integers, Floats]] = {}
    for group in range(int(groups.max(initial=-1)) + 1):
        rows = np.flatnonzero((groups == group) & known)
        own, places, counts = np.unique(draws[rows], return_index=True, return_counts=True)
        own, once = own[counts == 1], rows[places[counts == 1]]
        if not len(once):
            continue
        phase, arm = phases[int(once[0])].as_py(), arms[int(once[0])].as_py()
        if phase not in first:
            first[phase] = arm, own, values[once]
            continue
        other, others, theirs = first[phase]
        common, mine, of_other = np.intersect1d(own, others, return_indices=True)
        if len(common):
            yield CommonValues(arm_a=other, arm_b=arm, values_a=theirs[of_other], values_b=values[once][mine])


def _keys(phases: pa.Array, arms: pa.Array, draws: Integers, last: pa.Array | Sequence[str]) -> pa.Array:
    numbers = pc.utf8_lpad(pa.array(draws).cast(pa.string()), 6, "0")
    return pc.binary_join_element_wise(phases, arms, numbers, last, "/")
