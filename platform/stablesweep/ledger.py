"""The ledger: every trial that a study will run, written before the first one starts."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dashboards.selection import FIXED, REFERENCE, SEARCH, STABILITY
from search_spaces import HyperparameterValue, SearchSpace, grid_points, unit_points
from stablesweep.arms import Arm, setting_of
from stablesweep.centres import known_centre
from stablesweep.errors import LedgerError
from stablesweep.files import write_atomically
from stablesweep.phases import FixedPhase, SearchPhase, StabilityPhase
from stablesweep.study import Study
from stablesweep.study_checks import points_of

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
    "round": pa.int64(),
}
OPTIONAL = frozenset({"round"})
"""Fields that a ledger of an earlier version may lack."""


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
    """Empty until it is settled: what an earlier phase, or earlier rounds of a search, still have to find."""
    unit: Mapping[str, float]
    """The draw as a point of the unit cube; empty where the setting is no draw."""
    round: int | None = None
    """In a search: trials of one round are suggested together, before the results of any of them."""

    @property
    def replicate(self) -> int:
        """Counts the seeds of one setting, from 0."""
        return int(self.key.rpartition("/")[2])

    @property
    def settled(self) -> bool:
        """Whether its hyperparameters are known."""
        return bool(self.hyperparameters)


def trial_seed(study_seed: int, draw: int, replicate: int) -> int:
    """The seed of a trial: 31 bits of a digest of (study seed, draw, replicate). Source: own."""
    text = f"stablesweep trial seed\0{study_seed}\0{draw}\0{replicate}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def trial_key(phase: str, arm: str, draw: int, replicate: int = 0) -> str:
    """``phase/arm/draw/replicate``, the draw with leading zeros."""
    return f"{phase}/{arm}/{draw:06d}/{replicate}"


def _trial(arm: Arm, phase: str, draw: int, replicate: int = 0, **values: Any) -> Trial:
    named: dict[str, Any] = {
        "phase": phase,
        "arm": arm.name,
        "model": arm.model,
        "optimizer": arm.optimizer,
        "draw": draw,
    }
    return Trial(key=trial_key(phase, arm.name, draw, replicate), **named, **values)


def _searched_trials(study: Study, arm: Arm, phase: SearchPhase) -> Iterator[Trial]:
    for draw in range(phase.draws):
        yield _trial(
            arm,
            SEARCH,
            draw,
            seed=trial_seed(study.seed, draw, 0),
            sampler=phase.sampler_name,
            epochs=phase.epochs,
            hyperparameters={},
            unit={},
            round=draw // phase.at_once,
        )


def _drawn_trials(study: Study, phase: StabilityPhase) -> Iterator[Trial]:
    names = {arm.name: _drawn_names(study, arm) for arm in study.arms}
    # One order for all arms: a dimension's place decides its coordinates in a Sobol or Halton sequence.
    every = list(dict.fromkeys(name for own in names.values() for name in own))
    shared = [] if phase.draws is None else unit_points(phase.sampler, every, seed=study.seed, draws=phase.draws)
    for arm in study.arms:
        points = shared if phase.points is None else grid_points(_drawn_space(study, arm), points_of(study, arm))
        space = _known_space(study, arm)
        for draw, point in enumerate(points):
            unit = {name: point[name] for name in names[arm.name]}
            yield _trial(
                arm,
                STABILITY,
                draw,
                seed=trial_seed(study.seed, draw, 0),
                sampler=phase.sampler,
                epochs=phase.epochs,
                hyperparameters={} if space is None else space.from_unit(unit),
                unit=unit,
            )


def _drawn_space(study: Study, arm: Arm) -> SearchSpace:
    """The arm's space, or where its centre is still to be found one with the same dimensions."""
    return _known_space(study, arm) or study.space_of(arm)


def _drawn_names(study: Study, arm: Arm) -> list[str]:
    return list(_drawn_space(study, arm))


def _known_space(study: Study, arm: Arm) -> SearchSpace | None:
    """What the draws are mapped into, if that is known before anything runs."""
    if study.draws_around == "space":
        return study.stability_space(arm, None)
    centre = known_centre(study, arm, STABILITY, study.draws_around)
    return None if centre is None else study.stability_space(arm, centre)


def _reference_trials(study: Study, arm: Arm, phase: StabilityPhase) -> Iterator[Trial]:
    around = "family" if study.draws_around == "family" else "arm"
    centre = known_centre(study, arm, STABILITY, around)
    for replicate in range(study.references):
        yield _fixed_trial(study, arm, REFERENCE, phase.epochs, replicate, centre)


def _fixed_trials(study: Study, arm: Arm, phase_name: str, phase: FixedPhase) -> Iterator[Trial]:
    for epochs, replicate in itertools.product(phase.epochs, range(phase.seeds)):
        kind = study.setting_kind(phase_name)
        setting: Mapping[str, HyperparameterValue] | None = None
        if isinstance(phase.at, dict):
            setting = setting_of(phase.at, arm)
        elif kind == "centre":
            setting = known_centre(study, arm, phase_name, "arm")
        yield _fixed_trial(study, arm, phase_name, epochs, replicate, setting)


def _fixed_trial(
    study: Study,
    arm: Arm,
    phase_name: str,
    epochs: int,
    replicate: int,
    setting: Mapping[str, HyperparameterValue] | None,
) -> Trial:
    """One setting: the length takes the place of the draw, so that a length more or less moves no other trial."""
    return _trial(
        arm,
        phase_name,
        epochs,
        replicate,
        seed=trial_seed(study.seed, 0, replicate),
        sampler=FIXED,
        epochs=epochs,
        hyperparameters=setting or {},
        unit={},
    )


def plan_trials(study: Study) -> list[Trial]:
    """All trials of a study, sorted by key; those that wait for a phase before them are not settled.

    Draw *i* is the same unit point in every arm; more draws, arms, dimensions, lengths or seeds change no earlier trial.
    """
    trials: list[Trial] = []
    search, stability = study.phases.search, study.phases.stability
    if stability is not None:
        trials.extend(_drawn_trials(study, stability))
    for arm in study.arms:
        if search is not None:
            trials.extend(_searched_trials(study, arm, search))
        if stability is not None:
            trials.extend(_reference_trials(study, arm, stability))
        for name, phase in study.phases.fixed().items():
            trials.extend(_fixed_trials(study, arm, name, phase))
    return sorted(trials, key=lambda trial: trial.key)


def with_settings(trials: Sequence[Trial], settled: Iterable[Trial]) -> list[Trial]:
    """The trials, those not settled with the hyperparameters that ``settled`` has for their keys."""
    known = {trial.key: trial.hyperparameters for trial in settled if trial.settled}
    return [trial if trial.settled else replace(trial, hyperparameters=known.get(trial.key, {})) for trial in trials]


def _column_type(kinds: set[type]) -> pa.DataType:
    if kinds == {float, int}:
        return pa.float64()
    return {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}[kinds.pop()]


def to_table(study: Study, trials: list[Trial]) -> pa.Table:
    """The ledger as an Arrow table: :data:`FIELDS`, one column a hyperparameter, then ``unit_<name>``."""
    kinds = _kinds(study, trials)
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
    }
    return pa.table(columns).replace_schema_metadata(metadata)


def _kinds(study: Study, trials: Sequence[Trial]) -> dict[str, set[type]]:
    """Every hyperparameter that a trial has or may still get, in order, and the types of its values."""
    kinds: dict[str, set[type]] = {}
    for _, _, name, value in sorted(study.examples(), key=lambda example: example[1].name):
        kinds.setdefault(name, set()).add(type(value))
    for trial in trials:
        for name, value in trial.hyperparameters.items():
            kinds.setdefault(name, set()).add(type(value))
    return kinds


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
        LedgerError: If the file is missing or damaged.
    """
    try:
        table = pq.read_table(path)
        missing = [field for field in FIELDS if field not in table.column_names and field not in OPTIONAL]
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

    A ledger may grow (more draws, more arms), and a row that is not settled gets its setting once; otherwise no row that
    stands in it may change or go.

    Raises:
        LedgerError: If the ledger there is damaged, or differs from what this study would have written.
    """
    trials = plan_trials(study)
    if path.exists():
        before = read_ledger(path)
        table = to_table(study, with_settings(trials, to_trials(before)))
        check_extension(str(path), before, table)
        if before.equals(table, check_metadata=True):
            return before
    else:
        table = to_table(study, trials)
    save_ledger(path, table)
    return table


def save_ledger(path: Path, table: pa.Table) -> None:
    """Write a ledger, whole or not at all. Raises StablesweepError if the disk does not take it."""
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


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
            raise LedgerError(
                f"{where}: {changed[0]} of the trial {key} was {row.get(changed[0])!r} and would become "
                f"{now[key].get(changed[0])!r}; {way_out}."
            )


def _check_models(where: str, before: pa.Table, after: pa.Table, way_out: str) -> None:
    then, now = (json.loads(table.schema.metadata.get(MODELS, b"{}")) for table in (before, after))
    for name in sorted(set(then) & set(now)):
        if then[name] != now[name]:
            raise LedgerError(f"{where}: the model {name} was {then[name]} and would become {now[name]}; {way_out}.")


class Ledger:
    """A study's ledger and the file that holds it."""

    def __init__(self, path: Path, study: Study, trials: Sequence[Trial]) -> None:
        self._path, self._study = path, study
        self._trials = {trial.key: trial for trial in trials}

    @classmethod
    def opened(cls, path: Path, study: Study) -> "Ledger":
        """The ledger of a study, written or extended. Raises as :func:`write_ledger`."""
        return cls(path, study, to_trials(write_ledger(path, study)))

    @property
    def trials(self) -> list[Trial]:
        """All trials, sorted by key."""
        return list(self._trials.values())

    def settle(self, settled: Iterable[Trial]) -> None:
        """Write down the hyperparameters of trials that were not settled. Raises StablesweepError if the disk does not take it."""
        after = with_settings(self.trials, settled)
        save_ledger(self._path, to_table(self._study, after))
        self._trials = {trial.key: trial for trial in after}
