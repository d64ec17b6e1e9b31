"""The ledger: every trial that a study will run, written before the first one starts."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dashboards.selection import FIXED
from search_spaces import HyperparameterValue, unit_point
from stablesweep.errors import LedgerError
from stablesweep.files import write_atomically
from stablesweep.phases import Arm, FixedPhase, Phase
from stablesweep.study import Study

HYPERPARAMETERS = b"stablesweep.hyperparameters"
FINGERPRINT = b"stablesweep.fingerprint"
MODELS = b"stablesweep.models"
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
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One row of the ledger."""

    key: str
    """``phase/arm/draw/replicate``; sorts as the draws do."""
    phase: str
    arm: str
    model: str
    optimizer: str
    draw: int
    seed: int
    """Seeds the trial's own generator; the same for draw *i* in every arm, so that arms are compared pairwise."""
    sampler: str
    epochs: int
    hyperparameters: Mapping[str, HyperparameterValue]
    unit: Mapping[str, float]

    @property
    def replicate(self) -> int:
        """Counts the seeds of one setting, from 0."""
        return int(self.key.rpartition("/")[2])


def trial_seed(study_seed: int, draw: int, replicate: int) -> int:
    """The seed of a trial: 31 bits of a digest of (study seed, draw, replicate). Source: own."""
    text = f"stablesweep trial seed\0{study_seed}\0{draw}\0{replicate}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def trial_key(phase: str, arm: str, draw: int, replicate: int = 0) -> str:
    """``phase/arm/draw/replicate``, the draw with leading zeros."""
    return f"{phase}/{arm}/{draw:06d}/{replicate}"


def _drawn_trials(study: Study, arm: Arm, phase_name: str, phase: Phase) -> Iterator[Trial]:
    space = study.space_of(arm)
    for draw in range(phase.draws):
        unit = unit_point(space, seed=study.seed, draw=draw)
        yield Trial(
            key=trial_key(phase_name, arm.name, draw),
            phase=phase_name,
            arm=arm.name,
            model=arm.model,
            optimizer=arm.optimizer,
            draw=draw,
            seed=trial_seed(study.seed, draw, 0),
            sampler=phase.sampler,
            epochs=phase.epochs,
            hyperparameters=space.from_unit(unit),
            unit=unit,
        )


def _fixed_trials(study: Study, arm: Arm, phase_name: str, phase: FixedPhase) -> Iterator[Trial]:
    """One setting: the length takes the place of the draw, so that a length more or less moves no other trial."""
    for epochs, replicate in itertools.product(phase.epochs, range(phase.seeds)):
        yield Trial(
            key=trial_key(phase_name, arm.name, epochs, replicate),
            phase=phase_name,
            arm=arm.name,
            model=arm.model,
            optimizer=arm.optimizer,
            draw=epochs,
            seed=trial_seed(study.seed, 0, replicate),
            sampler=FIXED,
            epochs=epochs,
            hyperparameters=phase.setting(arm),
            unit={},
        )


def plan_trials(study: Study) -> list[Trial]:
    """All trials of a study, sorted by key.

    Draw *i* is the same unit point in every arm; more draws, arms, dimensions, lengths or seeds change no earlier trial.
    """
    trials: list[Trial] = []
    for name, phase in study.phases.present().items():
        for arm in study.arms:
            if isinstance(phase, FixedPhase):
                trials.extend(_fixed_trials(study, arm, name, phase))
            else:
                trials.extend(_drawn_trials(study, arm, name, phase))
    return sorted(trials, key=lambda trial: trial.key)


def _column_type(values: list[HyperparameterValue | None]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {float, int}:
        return pa.float64()
    return {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}[kinds.pop()]


def to_table(study: Study, trials: list[Trial]) -> pa.Table:
    """The ledger as an Arrow table: :data:`FIELDS`, one column a hyperparameter, then ``unit_<name>``."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.hyperparameters))
    columns: dict[str, pa.Array] = {}
    for field, kind in FIELDS.items():
        values = [study.name if field == "study" else getattr(trial, field) for trial in trials]
        columns[field] = pa.array(values, kind)
    for name in names:
        values = [trial.hyperparameters.get(name) for trial in trials]
        columns[name] = pa.array(values, _column_type(values))
    for name in names:
        columns[UNIT + name] = pa.array([trial.unit.get(name) for trial in trials], pa.float64())
    models = {arm.model: study.model_of(arm).model_dump(mode="json") for arm in study.arms}
    metadata = {
        HYPERPARAMETERS: json.dumps(names),
        FINGERPRINT: study.fingerprint(),
        MODELS: json.dumps(models, sort_keys=True),
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
        return Trial(
            **{field: row[field] for field in own},
            hyperparameters={name: row[name] for name in names if row[name] is not None},
            unit={name: row[UNIT + name] for name in names if row[UNIT + name] is not None},
        )

    return [read(row) for row in ledger.to_pylist()]


def read_ledger(path: Path) -> pa.Table:
    """The ledger in a file.

    Raises:
        LedgerError: If the file is missing or damaged.
    """
    try:
        table = pq.read_table(path)
        missing = [field for field in FIELDS if field not in table.column_names]
        if missing or HYPERPARAMETERS not in (table.schema.metadata or {}):
            raise pa.ArrowInvalid(f"it lacks {', '.join(missing) or 'its metadata'}")
    except FileNotFoundError as error:
        raise LedgerError(f"{path}: no ledger here; run the study first.") from error
    except (pa.ArrowException, OSError) as error:
        raise LedgerError(
            f"{path}: the ledger is damaged ({' '.join(str(error).split())[:200]}); restore it from the artifact "
            "ledger.parquet of the study's run in MLflow, or start over in another --home."
        ) from error
    return table


def write_ledger(path: Path, study: Study) -> pa.Table:
    """Write a study's ledger, or check and extend the one that is there.

    A ledger may grow (more draws, more arms); no row that stands in it may change or go.

    Raises:
        LedgerError: If the ledger there is damaged, or differs from what this study would have written.
    """
    table = to_table(study, plan_trials(study))
    if path.exists():
        before = read_ledger(path)
        check_extension(str(path), before, table)
        if before.equals(table, check_metadata=True):
            return before
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))
    return table


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
    way_out = "give the study another name, or use another --home"
    if before.schema.metadata.get(FINGERPRINT) != after.schema.metadata[FINGERPRINT]:
        raise LedgerError(
            f"{where}: it was written with another seed, recipe, dataset or number of workers; {way_out}."
        )
    _check_models(where, before, after, way_out)
    now = {row["key"]: row for row in after.to_pylist()}
    for row in before.to_pylist():
        key = row["key"]
        if key not in now:
            raise LedgerError(
                f"{where}: the trial {key} would leave the ledger; add its arm or draws again, or {way_out}."
            )
        # An extension may add dimensions for new arms: those columns are null in the rows that were there.
        changed = [name for name in {**row, **now[key]} if row.get(name) != now[key].get(name)]
        if changed:
            raise LedgerError(
                f"{where}: {changed[0]} of the trial {key} was {row.get(changed[0])!r} and would become "
                f"{now[key].get(changed[0])!r}; {way_out}."
            )


def _check_models(where: str, before: pa.Table, after: pa.Table, way_out: str) -> None:
    then, now = (json.loads(table.schema.metadata.get(MODELS, b"{}")) for table in (before, after))
    for name in sorted(set(then) & set(now)):
        if then[name] != now[name]:
            raise LedgerError(f"{where}: the model {name} was {then[name]} and would become {now[name]}; {way_out}.")
