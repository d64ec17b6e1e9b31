"""Trials of a Ray Tune experiment, read from its folder without Ray; nothing is unpickled.

Format: Ray 2.60, ``ray/tune/logger/json.py`` (``params.json`` and ``result.json`` of each trial) and
``ray/tune/execution/tune_controller.py`` (``experiment_state-*.json``).
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from dashboards.formats import without_controls
from dashboards.imports.assemble import reserved_names
from dashboards.imports.options import COMPLETED, PRUNED, ImportOptions, UnusableResults
from dashboards.imports.raw import CURVE_SCHEMA, RawColumn, RawTrials, free_names, scalar_column

STATUSES = {
    "PENDING": "pending",
    "RUNNING": "running",
    "PAUSED": "running",
    "TERMINATED": "completed",
    "ERROR": "failed",
}
ITERATION = "training_iteration"

_AUTOMATIC = frozenset(
    (
        *(
            "timestamp",
            "checkpoint_dir_name",
            "done",
            ITERATION,
            "trial_id",
            "date",
            "time_this_iter_s",
            "time_total_s",
        ),
        *("pid", "hostname", "node_ip", "config", "time_since_restore", "iterations_since_restore", "experiment_tag"),
        *("should_checkpoint", "episodes_total", "timesteps_total"),
    )
)
"""What Ray Tune adds to every result."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CONFIG = "config/"
"""Of the parameters, which every result repeats."""
_PICKLED = "CLOUDPICKLE_FALLBACK"


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneTrial:
    """What the folder holds about one trial."""

    name: str
    """Of its folder, or its id if it has none."""
    parameters: Mapping[str, Any]
    """Flattened: ``optimizer/lr``."""
    results: tuple[Mapping[str, Any], ...] = ()
    """By ``training_iteration``, flattened; of several for one iteration (a trial that was restored) the last."""
    status: str | None = None
    """As the experiment's state says; ``None`` if it says nothing."""
    started: float | None = None
    """Seconds since 1970."""
    failure: str | None = None
    """The last line of ``error.txt``, if there is one."""

    def last(self, name: str) -> Any:
        """The metric in the last result that has it."""
        return next((result[name] for result in reversed(self.results) if name in result), None)

    @property
    def iterations(self) -> int:
        """How long it was trained."""
        return int(self.results[-1].get(ITERATION, len(self.results))) if self.results else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """What ``experiment_state-*.json`` says, by the name of the trial's folder."""

    trials: Mapping[str, TuneTrial] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def is_experiment(folder: Path) -> bool:
    """Whether a folder looks like the one of a Ray Tune experiment."""
    return any(folder.glob("experiment_state-*.json")) or any(folder.glob("*/params.json"))


def read_ray_tune(folder: Path, options: ImportOptions) -> RawTrials:
    """The trials of an experiment's folder (the one that holds ``experiment_state-*.json``).

    ``options.columns`` names a metric for ``error`` or ``accuracy``, nested ones with ``/``; for any other role a
    parameter or a metric. Of each trial the last result counts that has the metric. A terminated trial that ended
    before ``options.epochs`` (by default the most iterations of any) was stopped early and is ``options.short``.

    Raises:
        UnusableResults: If the folder is none of Ray Tune, a file is damaged, or no trial has the metric.
    """
    if not folder.is_dir():
        raise UnusableResults(f"{folder}: there is no such folder.")
    if not is_experiment(folder):
        raise UnusableResults(
            f"{folder}: it holds neither experiment_state-*.json nor folders with params.json; give the folder of one "
            "Ray Tune experiment."
        )
    state = _read_state(folder)
    trials, damaged = _read_trials(folder, state)
    metric = options.columns.get("accuracy", options.columns.get("error"))
    if metric is None or not any(trial.last(metric) is not None for trial in trials):
        found = {name for trial in trials for result in trial.results[-1:] for name in result} - _AUTOMATIC
        found = {name for name in found if not name.startswith(_CONFIG)}
        raise UnusableResults(
            f"{folder}: "
            f"{'no metric is said to be the error' if metric is None else f'no result has the metric {metric!r}'}; say "
            f"which column is 'error' or 'accuracy', one of {', '.join(sorted(found)) or 'none'}."
        )
    return _raw(folder, trials, metric, options, (*state.notes, *damaged))


def _raw(
    folder: Path, trials: Sequence[TuneTrial], metric: str, options: ImportOptions, notes: tuple[str, ...]
) -> RawTrials:
    lengths = _lengths(folder, trials, options)
    statuses = [_status(trial, length, options) for trial, length in zip(trials, lengths, strict=True)]
    notes += _status_notes(folder, trials, statuses, max(lengths)) + _search_notes(folder, options)
    own: dict[str, list[Any]] = {
        "status": statuses,
        "sampler": [None for _ in trials],
        "epochs": [length or None for length in lengths],
        "epochs_done": [trial.iterations or None for trial in trials],
        "seconds": [trial.last("time_total_s") for trial in trials],
        "started": [trial.started for trial in trials],
        "reason": [
            trial.failure if status == "failed" else None for trial, status in zip(trials, statuses, strict=True)
        ],
    }
    columns = {role: RawColumn(values=scalar_column(values), label=role) for role, values in own.items()}
    for role, label in options.columns.items():
        columns[role] = RawColumn(values=_said(folder, trials, role, label), label=label)
    taken = {label for role, label in options.columns.items() if role not in ("error", "accuracy", "train_loss")}
    names = [name for name in dict.fromkeys(name for trial in trials for name in trial.parameters) if name not in taken]
    if options.hyperparameters is not None:
        unknown = sorted(set(options.hyperparameters) - set(names))
        if unknown:
            raise UnusableResults(f"{folder}: no trial has a parameter {unknown[0]!r}; there are {', '.join(names)}.")
        names = list(options.hyperparameters)
    free, renamed = free_names(names, reserved_names())
    return RawTrials(
        source=f"Ray Tune, {folder}",
        n=len(trials),
        columns=columns,
        hyperparameters={free[name]: scalar_column([trial.parameters.get(name) for trial in trials]) for name in names},
        row_name=lambda place: f"trial {trials[place].name}",
        curves=_curves(trials, metric, options.columns.get("train_loss")),
        notes=notes + renamed,
    )


def _lengths(folder: Path, trials: Sequence[TuneTrial], options: ImportOptions) -> list[int]:
    """How many iterations each trial was to have; by default as many as the longest had."""
    longest = max((trial.iterations for trial in trials), default=0)
    said: list[Any] = [None] * len(trials)
    if "epochs" in options.columns:
        said = _said(folder, trials, "epochs", options.columns["epochs"]).to_pylist()
    return [int(length) if isinstance(length, int | float) else options.epochs or longest for length in said]


def _status(trial: TuneTrial, length: int, options: ImportOptions) -> str:
    # The state comes first: error.txt stays where a trial failed once and was then tried again with success.
    status = STATUSES.get(trial.status or "")
    if status is None:
        status = "failed" if trial.failure is not None else "completed" if trial.results else "pending"
    if (
        status == "completed"
        and trial.iterations < length
        and options.short != COMPLETED
        and not _not_finite(trial, options)
    ):
        return options.short
    return status


def _not_finite(trial: TuneTrial, options: ImportOptions) -> bool:
    """Whether the last error is NaN or infinite: it ended early because it diverged, not because it was pruned."""
    value = trial.last(options.columns.get("accuracy", options.columns.get("error", "")))
    return isinstance(value, float) and not math.isfinite(value)


def _status_notes(folder: Path, trials: Sequence[TuneTrial], statuses: Sequence[str], length: int) -> tuple[str, ...]:
    short = sum(status == PRUNED for status in statuses)
    notes: tuple[str, ...] = ()
    if short:
        notes += (
            (
                f"{folder}: {short} of {len(trials)} trials ended before iteration {length} and count as pruned, "
                "without an error; say short=completed if their last error is their result."
            ),
        )
    guessed = sum(trial.status is None for trial in trials)
    if guessed:
        notes += (f"{folder}: the experiment's state says nothing about {guessed} trials; their files do.",)
    return notes


def _search_notes(folder: Path, options: ImportOptions) -> tuple[str, ...]:
    changed = any(folder.glob("pbt_global.txt")) or any(folder.glob("pbt_policy_*.txt"))
    if changed:
        return (
            (
                f"{folder}: population based training changed parameters while it trained; params.json holds the last "
                f"ones."
            ),
        )
    plain = any(folder.glob("basic-variant-state-*.json")) and not any(folder.glob("searcher-state-*"))
    if plain and options.sampler is None and "sampler" not in options.columns:
        return (f"{folder}: its settings come from Ray Tune's own search, which draws at random or takes a grid.",)
    return ()


def _said(folder: Path, trials: Sequence[TuneTrial], role: str, label: str) -> pa.Array:
    metric_first = role in ("error", "accuracy", "best_error", "train_loss", "epochs_done", "seconds")
    values = []
    for trial in trials:
        metric, parameter = trial.last(label), trial.parameters.get(label)
        first, second = (metric, parameter) if metric_first else (parameter, metric)
        values.append(second if first is None else first)
    if all(value is None for value in values):
        raise UnusableResults(f"{folder}: no trial has a parameter or metric {label!r} for {role!r}.")
    return scalar_column(values)


def _curves(trials: Sequence[TuneTrial], metric: str, train_loss: str | None) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in CURVE_SCHEMA.names}
    for row, trial in enumerate(trials):
        for place, result in enumerate(trial.results, start=1):
            value, loss = _number(result.get(metric)), _number(result.get(train_loss)) if train_loss else None
            if value is not None or loss is not None:
                columns["row"].append(row)
                columns["epoch"].append(int(result.get(ITERATION, place)))
                columns["train_loss"].append(loss)
                columns["value"].append(value)
    return pa.table(columns, schema=CURVE_SCHEMA)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _read_state(folder: Path) -> _State:
    """Of several states (an experiment that was restored) the newest; its name holds its time."""
    paths = sorted(folder.glob("experiment_state-*.json"))
    if not paths:
        return _State()
    try:
        pairs = json.loads(paths[-1].read_text(encoding="utf-8"))["trial_data"]
        trials = {}
        for own, course in ((json.loads(own), json.loads(course)) for own, course in pairs):
            name = Path(own.get("relative_logdir") or own["trial_id"]).name
            trials[name] = TuneTrial(
                name=name,
                parameters=flat(own.get("config") or {}),
                status=own["status"],
                started=course.get("start_time"),
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return _State(
            notes=(
                f"{paths[-1]}: it cannot be read ({type(error).__name__}: {error}); the trials' files are used alone.",
            )
        )
    return _State(trials=trials)


def _read_trials(folder: Path, state: _State) -> tuple[list[TuneTrial], list[str]]:
    paths = {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_dir() and any((path / name).is_file() for name in ("params.json", "result.json"))
    }
    trials, notes = [], []
    for name in sorted({*paths, *state.trials}):
        known = state.trials.get(name)
        path = paths.get(name)
        if path is None:
            if known is not None:
                trials.append(known)
            continue
        results, note = _read_results(path / "result.json")
        notes += [note] if note else []
        parameters = _read_parameters(path, results)
        started = known.started if known else None
        if started is None and results and _number(results[0].get("timestamp")) is not None:
            started = float(results[0]["timestamp"]) - float(results[0].get("time_total_s", 0.0))
        trials.append(
            TuneTrial(
                name=name,
                parameters=parameters if parameters is not None else known.parameters if known else {},
                results=results,
                status=known.status if known else None,
                started=started,
                failure=_failure(path / "error.txt"),
            )
        )
    return trials, notes


def _read_parameters(path: Path, results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    file = path / "params.json"
    if not file.is_file():
        last = results[-1] if results else {}
        return {name.removeprefix(_CONFIG): value for name, value in last.items() if name.startswith(_CONFIG)} or None
    try:
        return flat(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise UnusableResults(f"{file}: it holds no JSON object ({error}).") from error


def _read_results(file: Path) -> tuple[tuple[Mapping[str, Any], ...], str | None]:
    """The results by iteration, and a note if the last line was cut off while it was written."""
    if not file.is_file():
        return (), None
    by_iteration: dict[int, Mapping[str, Any]] = {}
    note = None
    lines = list(_lines(file))
    for number, line in enumerate(lines, start=1):
        try:
            result = flat(json.loads(line))
            by_iteration[int(result.get(ITERATION, number))] = result
        except (ValueError, TypeError, AttributeError) as error:
            if number < len(lines):
                raise UnusableResults(f"{file}: line {number} is no JSON object ({error}).") from error
            note = f"{file}: its last line was cut off and is left out."
    return tuple(by_iteration[iteration] for iteration in sorted(by_iteration)), note


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8") as text:
            yield from (line for line in text if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableResults(f"{file}: it cannot be read ({error}).") from error


def _failure(file: Path) -> str | None:
    if not file.is_file():
        return None
    lines = [line.strip() for line in _COLOURS.sub("", file.read_text(encoding="utf-8", errors="replace")).splitlines()]
    last = next((line for line in reversed(lines) if line), "it says nothing")
    return without_controls(last)[:300]


def flat(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one, names joined by ``/``; lists become JSON, and what was pickled is named so."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value.get("_type") == _PICKLED:
            found[str(name)] = "(pickled)"
        elif isinstance(value, Mapping) and value:
            found |= {f"{name}/{inner}": one for inner, one in flat(value).items()}
        else:
            found[str(name)] = json.dumps(value) if isinstance(value, list | Mapping) else value
    return found
