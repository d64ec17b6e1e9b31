"""Trials of Optuna studies, read from the storage that holds them: a database's URL, an SQLite or a journal file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dashboards.formats import without_password
from dashboards.imports.assemble import reserved_names
from dashboards.imports.options import ImportOptions, UnusableResults
from dashboards.imports.raw import CURVE_SCHEMA, RawColumn, RawTrials, free_names, scalar_column
from dashboards.selection import NON_ADAPTIVE_SAMPLERS, Floats

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

STATES = {
    "COMPLETE": "completed",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "pending",
}
DIVERGED_ATTRIBUTE = "diverged"
"""A trial with this user attribute set to true diverged, whatever its state: Optuna has no such state."""

_SQLITE_START = b"SQLite format 3\x00"
_FIXED_PARAMETERS, _RETRIES = "fixed_params", "retry_history"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Study:
    """What a storage holds about one study."""

    name: str
    direction: str
    """``MAXIMIZE`` or ``MINIMIZE``; ``NOT_SET`` is none of a study that was stored."""
    trials: "tuple[FrozenTrial, ...]"


def is_sqlite(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE_START)) == _SQLITE_START


def read_optuna(source: str, options: ImportOptions) -> RawTrials:
    """The trials of ``options.studies``, or of all studies of the storage; each study is an arm unless said otherwise.

    The value of a study that minimizes is an error, of one that maximizes an accuracy. ``options.columns`` can name a
    user attribute (or a parameter) for any role. Nothing is written to the storage.

    Raises:
        UnusableResults: If the storage cannot be read, has no such study, or a study has several objectives.
    """
    shown = without_password(source) if "://" in source else source
    with _opened(source, shown) as storage:
        studies = _read_studies(storage, shown, options.studies)
    return _raw(shown, studies, options)


def unit_position(distribution: "BaseDistribution", value: Any) -> float:
    """Where a value stands within the distribution that it was drawn from, 0 to 1.

    The distribution function; at a step or category the middle of its jump. Equal to Optuna's own transform to [0, 1]
    for numbers; a category counts by its place among the choices.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return (float(distribution.to_internal_repr(value)) + 0.5) / len(distribution.choices)
    if not isinstance(distribution, FloatDistribution | IntDistribution) or not isinstance(value, int | float):
        return math.nan
    half = (distribution.step or 0) / 2
    low, high, at = distribution.low - half, distribution.high + half, float(value)
    if distribution.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return 0.5 if low == high else min(max((at - low) / (high - low), 0.0), 1.0)


@contextmanager
def _opened(source: str, shown: str) -> "Iterator[BaseStorage]":
    import sqlalchemy.exc
    from optuna.exceptions import OptunaError
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    # Both storages would create a file that is not there.
    file = Path(source.removeprefix("sqlite:///").partition("?")[0])
    if ("://" not in source or source.startswith("sqlite:///")) and not file.is_file():
        raise UnusableResults(f"{shown}: there is no such file.")
    unreadable = (sqlalchemy.exc.SQLAlchemyError, OptunaError, OSError, ImportError, ValueError, LookupError, TypeError)
    database: RDBStorage | None = None
    try:
        if "://" in source or is_sqlite(file):
            database = RDBStorage(source if "://" in source else f"sqlite:///{file}", skip_table_creation=True)
            yield database
        else:
            yield JournalStorage(JournalFileBackend(source))
    except UnusableResults:
        raise
    except unreadable as error:
        # Without the cause: a database driver's message may hold the URL with its password.
        reason = (str(error).splitlines() or [""])[0].replace(source, shown)[:200]
        raise UnusableResults(
            f"{shown}: it cannot be read as an Optuna storage ({type(error).__name__}: {reason})."
        ) from None
    finally:
        if database is not None:
            database.remove_session()
            database.engine.dispose()


def _read_studies(storage: "BaseStorage", shown: str, wanted: Sequence[str]) -> "list[_Study]":
    import optuna

    known = sorted(optuna.study.get_all_study_names(storage))
    if not known:
        raise UnusableResults(f"{shown}: it holds no Optuna study.")
    studies = []
    for name in dict.fromkeys(wanted) or known:
        if name not in known:
            raise UnusableResults(f"{shown}: it has no study {name!r}; studies there: {', '.join(known)}.")
        study = optuna.load_study(study_name=name, storage=storage)
        if len(study.directions) != 1:
            raise UnusableResults(
                f"{shown}: study {name!r} has {len(study.directions)} objectives; name in studies= those with one."
            )
        studies.append(
            _Study(name=name, direction=study.direction.name, trials=tuple(study.get_trials(deepcopy=False)))
        )
    return studies


def _maximizes(shown: str, studies: "Sequence[_Study]") -> bool:
    directions = {study.direction: study.name for study in studies}
    if len(directions) > 1:
        raise UnusableResults(
            f"{shown}: study {directions['MAXIMIZE']!r} maximizes and {directions['MINIMIZE']!r} minimizes; import "
            "them one by one with studies=."
        )
    return "MAXIMIZE" in directions


def _raw(shown: str, studies: "Sequence[_Study]", options: ImportOptions) -> RawTrials:
    maximizes = _maximizes(shown, studies)
    owned = [(study.name, trial) for study in studies for trial in _last_tries(study.trials)]
    trials = [trial for _, trial in owned]
    every = dict.fromkeys(name for trial in trials for name in trial.params)
    parameters = [name for name in every if name not in options.columns.values()]
    if options.hyperparameters is not None:
        unknown = sorted(set(options.hyperparameters) - set(parameters))
        if unknown:
            raise UnusableResults(
                f"{shown}: no trial has a parameter {unknown[0]!r}; there are {', '.join(parameters)}."
            )
        parameters = list(options.hyperparameters)
    free, notes = free_names(parameters, reserved_names())
    notes += _failure_notes(shown, trials)
    retried = sum(len(study.trials) for study in studies) - len(trials)
    if retried:
        notes += (f"{shown}: {retried} failed trials were tried again; only the last try of each counts.",)
    # Enqueued settings have a place as well where the user says that they were drawn.
    given = options.enqueued not in NON_ADAPTIVE_SAMPLERS
    return RawTrials(
        source=f"Optuna, {shown}",
        n=len(trials),
        columns=_columns(shown, owned, maximizes, options),
        hyperparameters={free[name]: scalar_column([_value(trial, name) for trial in trials]) for name in parameters},
        row_name=lambda place: f"trial {trials[place].number} of study {owned[place][0]!r}",
        units={free[name]: _positions(trials, name, given) for name in parameters},
        # What is reported on the way is of the objective, not of an attribute.
        curves=CURVE_SCHEMA.empty_table() if {"error", "accuracy"} & set(options.columns) else _curves(owned),
        notes=notes,
    )


def _columns(
    shown: str, owned: "Sequence[tuple[str, FrozenTrial]]", maximizes: bool, options: ImportOptions
) -> dict[str, RawColumn]:
    trials = [trial for _, trial in owned]
    lengths = _lengths(owned)
    own: dict[str, list[Any]] = {
        "arm": [study if options.arm is None else options.arm for study, _ in owned],
        "accuracy" if maximizes else "error": [_objective(trial) for trial in trials],
        "status": [_status(trial) for trial in trials],
        "sampler": [options.enqueued if _FIXED_PARAMETERS in trial.system_attrs else None for trial in trials],
        "epochs": [lengths.get(study) if options.epochs is None else None for study, _ in owned],
        "epochs_done": [max(_epochs(trial, first), default=None) for trial, first in _with_first_steps(owned)],
        "seconds": [None if trial.duration is None else trial.duration.total_seconds() for trial in trials],
        # Optuna gives the local time without its zone.
        "started": [None if trial.datetime_start is None else trial.datetime_start.timestamp() for trial in trials],
    }
    columns = {
        role: RawColumn(values=pa.array(values, _TYPES.get(role, pa.string())), label=_LABELS.get(role, role))
        for role, values in own.items()
    }
    if {"model", "optimizer"} & set(options.columns):
        columns.pop("arm")
    if {"error", "accuracy"} & set(options.columns):
        columns.pop("accuracy", None)
        columns.pop("error", None)
    for role, label in options.columns.items():
        said = [trial.user_attrs.get(label, trial.params.get(label)) for trial in trials]
        if not trials or all(value is None for value in said):
            known = sorted({name for trial in trials for name in (*trial.user_attrs, *trial.params)})
            raise UnusableResults(
                f"{shown}: no trial has a user attribute or parameter {label!r} for {role!r}; there are "
                f"{', '.join(known) or 'none'}."
            )
        if role == "status":
            said = [value or _status(trial) for value, trial in zip(said, trials, strict=True)]
        columns[role] = RawColumn(values=scalar_column(said), label=label)
    return columns


_TYPES = dict.fromkeys(("accuracy", "error", "seconds", "started"), pa.float64()) | dict.fromkeys(
    ("epochs", "epochs_done"), pa.int64()
)
_LABELS = {"accuracy": "value", "error": "value", "status": "state", "arm": "study"}


def _last_tries(trials: "Sequence[FrozenTrial]") -> "list[FrozenTrial]":
    """Without the failed tries that Optuna's retry callback repeated as trials of their own."""
    repeated = {number for trial in trials for number in trial.system_attrs.get(_RETRIES, ())}
    return [trial for trial in trials if trial.number not in repeated]


def _objective(trial: "FrozenTrial") -> float | None:
    return trial.value if trial.state.name == "COMPLETE" else None


def _status(trial: "FrozenTrial") -> str:
    if trial.user_attrs.get(DIVERGED_ATTRIBUTE) is True:
        return "diverged"
    # Optuna refuses a NaN as a value and fails the trial; a NaN that was reported before tells it from a crash.
    return "completed" if _ended_in_nan(trial) else STATES[trial.state.name]


def _ended_in_nan(trial: "FrozenTrial") -> bool:
    if trial.state.name != "FAIL" or not trial.intermediate_values:
        return False
    return not math.isfinite(trial.intermediate_values[max(trial.intermediate_values)])


def _failure_notes(shown: str, trials: "Sequence[FrozenTrial]") -> tuple[str, ...]:
    failed = sum(trial.state.name == "FAIL" and _status(trial) == "failed" for trial in trials)
    if not failed:
        return ()
    return (
        (
            f"{shown}: {failed} of {len(trials)} trials failed, and Optuna does not say whether they crashed or "
            f"returned NaN; they count as not known unless their user attribute {DIVERGED_ATTRIBUTE!r} is true."
        ),
    )


def _value(trial: "FrozenTrial", name: str) -> Any:
    """``None`` where the trial does not have the parameter; a choice that is ``None`` is the text ``None``."""
    if name not in trial.params:
        return None
    value = trial.params[name]
    return "None" if value is None else value


def _positions(trials: "Sequence[FrozenTrial]", name: str, given: bool) -> Floats:
    """``given``: whether an enqueued parameter has no place, for it was not drawn."""
    return np.array(
        [
            unit_position(trial.distributions[name], trial.params[name])
            if name in trial.params and not (given and name in trial.system_attrs.get(_FIXED_PARAMETERS, ()))
            else math.nan
            for trial in trials
        ],
        dtype=np.float64,
    )


def _with_first_steps(owned: "Sequence[tuple[str, FrozenTrial]]") -> "list[tuple[FrozenTrial, int]]":
    """Each trial beside the first step that its study reports, 0 or 1: epochs count from 1."""
    first: dict[str, int] = {}
    for study, trial in owned:
        first[study] = min([first.get(study, 1), *trial.intermediate_values])
    return [(trial, first[study]) for study, trial in owned]


def _epochs(trial: "FrozenTrial", first: int) -> list[int]:
    return [step + 1 - first for step in trial.intermediate_values]


def _lengths(owned: "Sequence[tuple[str, FrozenTrial]]") -> Mapping[str, int]:
    """By study the last epoch that a completed trial reported."""
    lengths: dict[str, int] = {}
    for (study, trial), (_, first) in zip(owned, _with_first_steps(owned), strict=True):
        if trial.state.name == "COMPLETE" and trial.intermediate_values:
            lengths[study] = max(lengths.get(study, 0), *_epochs(trial, first))
    return lengths


def _curves(owned: "Sequence[tuple[str, FrozenTrial]]") -> pa.Table:
    points = [
        (row, step + 1 - first, value)
        for row, (trial, first) in enumerate(_with_first_steps(owned))
        for step, value in sorted(trial.intermediate_values.items())
    ]
    rows, epochs, values = zip(*points, strict=True) if points else ((), (), ())
    return pa.Table.from_arrays(
        [
            pa.array(rows, pa.int64()),
            pa.array(epochs, pa.int64()),
            pa.nulls(len(rows), pa.float64()),
            pa.array(values, pa.float64()),
        ],
        schema=CURVE_SCHEMA,
    )
