"""The ledger: every trial that a study will run, written before the first one starts."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from dashboards.sealed import read_sealed, write_sealed
from search_spaces import HyperparameterValue
from stablesweep.errors import LedgerError
from stablesweep.files import write_atomically
from stablesweep.restoring import restoring
from stablesweep.sources import group_name, source_digest
from stablesweep.study import Study
from stablesweep.trials import Trial, plan_trials, value_kinds, with_settings

WAY_OUT = "give the study another name, or use another --home"
HYPERPARAMETERS = b"stablesweep.hyperparameters"
FINGERPRINT = b"stablesweep.fingerprint"
MODELS = b"stablesweep.models"
SETTLED = b"stablesweep.settled"
"""Schema metadata: what trials were settled with that waited for results, see :class:`Settlement`."""
UNIT = "unit_"

FIELDS: dict[str, pa.DataType] = {
    "key": pa.string(),
    "study": pa.string(),
    "phase": pa.string(),
    "arm": pa.string(),
    "model": pa.string(),
    "optimizer": pa.string(),
    "draw": pa.int64(),
    "seed": pa.int64(),
    "sampler": pa.string(),
    "epochs": pa.int64(),
    "round": pa.int64(),
}
OPTIONAL = frozenset({"round"})
"""Fields that a ledger of an earlier version may lack."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """How the trials of one arm in one phase were settled; those that come later are settled in the same way."""

    source: str
    """A digest of what decided it, apart from results."""
    setting: Mapping[str, HyperparameterValue]
    """The centre or the best setting that was used; empty of a search."""


def _column_type(kinds: set[type]) -> pa.DataType:
    if kinds == {float, int}:
        return pa.float64()
    return {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}[kinds.pop()]


def to_table(study: Study, trials: list[Trial], settlements: Mapping[str, Settlement] | None = None) -> pa.Table:
    """The ledger as an Arrow table: :data:`FIELDS`, one column a hyperparameter, then ``unit_<name>``.

    Args:
        study: The study.
        trials: Its trials.
        settlements: How groups of them were settled, by :func:`stablesweep.sources.group_name`.
    """
    kinds = value_kinds(study, trials)
    names = list(kinds)
    columns: dict[str, pa.Array] = {}
    for field, kind in FIELDS.items():
        values = [study.name if field == "study" else getattr(trial, field) for trial in trials]
        columns[field] = pa.array(values, kind)
    for name in names:
        values = [trial.hyperparameters.get(name) for trial in trials]
        columns[name] = pa.array(values, _column_type(kinds[name]))
    for name in names:
        columns[UNIT + name] = pa.array([trial.unit.get(name) for trial in trials], pa.float64())
    # What a trainable of the user's own makes of a model's name is its own affair.
    arms = study.arms if study.trainable is None else []
    models = {arm.model: study.model_of(arm).model_dump(mode="json") for arm in arms}
    metadata = {
        HYPERPARAMETERS: json.dumps(names),
        FINGERPRINT: study.fingerprint(),
        MODELS: json.dumps(models, sort_keys=True),
        SETTLED: json.dumps({name: asdict(one) for name, one in sorted((settlements or {}).items())}),
    }
    return pa.table(columns).replace_schema_metadata(metadata)


def hyperparameter_names(ledger: pa.Table) -> list[str]:
    """The hyperparameters' column names of a ledger, in order."""
    names: list[str] = json.loads(ledger.schema.metadata[HYPERPARAMETERS])
    return names


def to_trials(ledger: pa.Table) -> list[Trial]:
    """The rows of a ledger."""
    names = hyperparameter_names(ledger)
    own = [field for field in FIELDS if field != "study"]

    def read(row: dict[str, Any]) -> Trial:
        values: dict[str, Any] = {field: row.get(field) for field in own}
        return Trial(
            **values,
            hyperparameters={name: row[name] for name in names if row[name] is not None},
            unit={name: row[UNIT + name] for name in names if row[UNIT + name] is not None},
        )

    return [read(row) for row in ledger.to_pylist()]


def read_ledger(path: Path) -> pa.Table:
    """The ledger in a file.

    Raises:
        LedgerError: If the file is missing or damaged; the message says how to restore it.
    """
    try:
        table = read_sealed(path)
        missing = [field for field in FIELDS if field not in table.column_names and field not in OPTIONAL]
        if missing or HYPERPARAMETERS not in (table.schema.metadata or {}):
            raise pa.ArrowInvalid(f"it lacks {', '.join(missing) or 'its metadata'}")
    except FileNotFoundError as error:
        raise LedgerError(f"{path}: no ledger here; run the study first.") from error
    except pa.ArrowException as error:
        raise LedgerError(
            f"{path}: the ledger is damaged ({str(error).rstrip('.')}); {restoring(path)}, or start over in another --home."
        ) from error
    return table


def write_ledger(path: Path, study: Study) -> pa.Table:
    """Write a study's ledger, or check and extend the one that is there.

    A ledger may grow (more draws, more arms), and a row that is not settled gets its setting once; otherwise no row that
    stands in it may change or go.

    Raises:
        LedgerError: If the ledger there is damaged, or differs from what this study would have written.
    """
    trials = plan_trials(study)
    if path.exists():
        before = read_ledger(path)
        settlements = read_settlements(before)
        table = to_table(study, continued(str(path), study, trials, before), settlements)
        check_extension(str(path), before, table)
        if before.equals(table, check_metadata=True):
            return before
    else:
        table = to_table(study, trials)
    save_ledger(path, table)
    return table


def read_settlements(ledger: pa.Table) -> dict[str, Settlement]:
    """How groups of trials were settled, by :func:`stablesweep.sources.group_name`."""
    values = json.loads((ledger.schema.metadata or {}).get(SETTLED, b"{}"))
    return {name: Settlement(**one) for name, one in values.items()}


def continued(where: str, study: Study, planned: Sequence[Trial], before: pa.Table) -> list[Trial]:
    """The planned trials with what a ledger knows of them: the settings that waited for results, and the rounds of searches.

    Args:
        where: What the message calls ``before``.
        study: The study.
        planned: Its trials, as planned.
        before: The ledger that is there.

    Raises:
        LedgerError: If the study would now settle such trials in another way.
    """
    known = {trial.key: trial for trial in to_trials(before)}
    settlements, arms = read_settlements(before), {arm.name: arm for arm in study.arms}
    for trial in planned:
        old = known.get(trial.key)
        if old is not None and old.settled and not trial.settled:
            found = settlements.get(group_name(trial.phase, trial.arm))
            if found is None or found.source != source_digest(study, trial.phase, arms[trial.arm]):
                raise LedgerError(
                    f"{where}: the trials of {trial.arm} in the phase {trial.phase} got their settings in another way (from another "
                    f"space, sampler, centre or place to draw around); {WAY_OUT}."
                )
    return with_settings(_with_rounds(study, planned, known), known.values())


def _with_rounds(study: Study, planned: Sequence[Trial], known: Mapping[str, Trial]) -> list[Trial]:
    """Trials that are new in a search begin a new round: the sampler is asked again as it was asked the first time."""
    if study.phases.search is None:
        return list(planned)
    last: dict[str, int] = {}
    for trial in known.values():
        if trial.round is not None:
            last[trial.arm] = max(trial.round, last.get(trial.arm, 0))
    new: Counter[str] = Counter()
    rounds: list[Trial] = []
    for trial in planned:
        if trial.round is None or trial.arm not in last:
            rounds.append(trial)
        elif trial.key in known:
            rounds.append(replace(trial, round=known[trial.key].round))
        else:
            rounds.append(replace(trial, round=last[trial.arm] + 1 + new[trial.arm] // study.phases.search.at_once))
            new[trial.arm] += 1
    return rounds


def save_ledger(path: Path, table: pa.Table) -> None:
    """Write a ledger, whole or not at all. Raises StablesweepError if the disk does not take it."""
    write_atomically(path, lambda temporary: write_sealed(table, temporary))


def check_extension(where: str, before: pa.Table, after: pa.Table) -> None:
    """Nothing, if ``after`` holds every row of ``before`` unchanged and comes from the same seed, recipe, dataset
    and number of workers.

    Args:
        where: What the message calls ``before``.
        before: The ledger that is there.
        after: The ledger that would take its place.

    Raises:
        LedgerError: Otherwise.
    """
    way_out = WAY_OUT
    if before.schema.metadata.get(FINGERPRINT) != after.schema.metadata[FINGERPRINT]:
        raise LedgerError(
            f"{where}: it was written with another seed, recipe, dataset or number of workers; {way_out}."
        )
    _check_models(where, before, after, way_out)
    now = {row["key"]: row for row in after.to_pylist()}
    names, now_names = hyperparameter_names(before), hyperparameter_names(after)
    for row in before.to_pylist():
        key = row["key"]
        if key not in now:
            raise LedgerError(
                f"{where}: the trial {key} would leave the ledger; add its arm or draws again, or {way_out}."
            )
        # An extension may add dimensions for new arms: those columns are null in the rows that were there.
        changed = [name for name in {**row, **now[key]} if row.get(name) != now[key].get(name)]
        if all(row[name] is None for name in names):
            changed = [name for name in changed if name not in now_names]
        if changed:
            # A dimension's place decides its coordinates in these sequences.
            ordered = row["sampler"] in ("sobol", "halton")
            hint = "list new arms and dimensions after the others, " if ordered else ""
            raise LedgerError(
                f"{where}: {changed[0]} of the trial {key} was {row.get(changed[0])!r} and would become "
                f"{now[key].get(changed[0])!r}; {hint}{way_out}."
            )


def _check_models(where: str, before: pa.Table, after: pa.Table, way_out: str) -> None:
    then, now = (json.loads(table.schema.metadata.get(MODELS, b"{}")) for table in (before, after))
    for name in sorted(set(then) & set(now)):
        if then[name] != now[name]:
            raise LedgerError(f"{where}: the model {name} was {then[name]} and would become {now[name]}; {way_out}.")


class Ledger:
    """A study's ledger and the file that holds it."""

    def __init__(
        self, path: Path, study: Study, trials: Sequence[Trial], settlements: Mapping[str, Settlement]
    ) -> None:
        self._path, self._study = path, study
        self._trials = {trial.key: trial for trial in trials}
        self._settlements = dict(settlements)

    @classmethod
    def opened(cls, path: Path, study: Study) -> "Ledger":
        """The ledger of a study, written or extended. Raises as :func:`write_ledger`."""
        table = write_ledger(path, study)
        return cls(path, study, to_trials(table), read_settlements(table))

    @property
    def trials(self) -> list[Trial]:
        """All trials, sorted by key."""
        return list(self._trials.values())

    @property
    def settings(self) -> dict[str, Mapping[str, HyperparameterValue]]:
        """What groups of trials were settled with, by :func:`stablesweep.sources.group_name`."""
        return {name: one.setting for name, one in self._settlements.items()}

    def settle(self, settled: Iterable[Trial], settings: Mapping[str, Mapping[str, HyperparameterValue]]) -> None:
        """Write down the hyperparameters of trials that were not settled, and what their groups were settled with.

        Raises:
            StablesweepError: If the disk does not take it.
        """
        arms = {arm.name: arm for arm in self._study.arms}
        for name, setting in settings.items():
            phase, _, arm = name.partition("/")
            source = source_digest(self._study, phase, arms[arm])
            self._settlements.setdefault(name, Settlement(source=source, setting=dict(setting)))
        after = with_settings(self.trials, settled)
        save_ledger(self._path, to_table(self._study, after, self._settlements))
        self._trials = {trial.key: trial for trial in after}
