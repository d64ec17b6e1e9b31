"""Makes a study's record of the trials of another tool: statuses, errors in percent, draws, curves, warnings."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.imports.draws import Draws, common_values, keys_are_ours, numbered_draws, said_draws
from dashboards.imports.options import FRACTION, NAME_PATTERN, ImportOptions, UnusableResults
from dashboards.imports.raw import RawTrials
from dashboards.selection import FIXED, NON_ADAPTIVE_SAMPLERS, Floats
from dashboards.tables import CURVES_SCHEMA, NO_UNITS, trials_schema
from dashboards.tags import STATUSES
from dashboards.tracking.study import StudyRecord

UNKNOWN = "unknown"
"""The sampler of trials about which nothing is said."""
ROUNDING = 1e-6
"""Points by which an error may leave 0 to 100 % and is set to that end."""

_SAMPLERS = {"randomsampler": "random", "random_search": "random", "gridsampler": "grid", "grid_search": "grid"}


def assemble(raw: RawTrials, options: ImportOptions) -> tuple[StudyRecord, tuple[str, ...]]:
    """The record of a study, and the sentences that whoever imports it must read.

    Raises:
        UnusableResults: If a value is not what its role needs; names the source, the column, the trial and the value.
    """
    if not raw.n:
        raise UnusableResults(f"{raw.source}: it has no trials.")
    errors, scale_notes = _percent_errors(raw, options)
    statuses, status_notes = _statuses(raw, options, errors)
    phases = _phases(raw, options)
    arms, models, optimizers = _arms(raw, options)
    samplers, sampler_notes = _samplers(raw, options)
    draws, draw_notes = _draws(raw, options, phases, arms)
    epochs = _epochs(raw, options, samplers)
    curves = _curves(raw, options, draws.keys)
    completed = pa.array(statuses == "completed")
    columns = {
        "study": pa.array([options.name] * raw.n),
        "phase": phases,
        "arm": arms,
        "model": models,
        "optimizer": optimizers,
        "draw": pa.array(draws.draws),
        "sampler": samplers,
        "status": pa.array(statuses.tolist(), pa.string()),
        "error": pc.if_else(completed, pa.array(errors, from_pandas=True), pa.scalar(None, pa.float64())),
        "best_error": _best_errors(raw, options, curves, draws.keys),
        "epochs": epochs,
        "key": draws.keys,
    }
    columns |= {role: raw.integers(role) for role in ("seed", "epochs_done") if role in raw.columns}
    columns |= {role: raw.texts(role) for role in ("run_id", "pack", "reason") if role in raw.columns}
    columns |= {"started": raw.times("started")} if "started" in raw.columns else {}
    columns |= {"seconds": pa.array(raw.floats("seconds"), from_pandas=True)} if "seconds" in raw.columns else {}
    record = StudyRecord(
        study=options.name,
        trials=_trials(raw, columns),
        curves=curves,
        timing={},
        study_yaml="",
        experiment_id="",
        study_run_id="",
        tracking_uri="",
        units=_units(raw, draws.keys),
        source=raw.source,
    )
    return record, (*raw.notes, *scale_notes, *status_notes, *sampler_notes, *draw_notes)


def _trials(raw: RawTrials, columns: dict[str, pa.Array]) -> pa.Table:
    try:
        schema = trials_schema([pa.field(name, values.type) for name, values in raw.hyperparameters.items()])
    except ValueError as error:
        raise UnusableResults(f"{raw.source}: {error}") from error
    own = {**raw.hyperparameters, **columns}
    arrays = [
        own[field.name].cast(field.type) if field.name in own else pa.nulls(raw.n, field.type) for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema).sort_by("key")


def _percent_errors(raw: RawTrials, options: ImportOptions) -> tuple[Floats, list[str]]:
    """Errors in percent, ``+inf`` where diverged and ``nan`` where there is no number."""
    role = "accuracy" if "accuracy" in raw.columns else "error"
    values = raw.floats(role)
    errors = as_percent(values, accuracy=role == "accuracy", scale=options.error_scale)
    outside = (errors < -ROUNDING) | (np.isfinite(errors) & (errors > 100 + ROUNDING))
    if outside.any():
        top = "1" if options.error_scale == FRACTION else "100"
        raw.refuse(role, int(np.argmax(outside)), f"expected 0 to {top}, for error_scale is {options.error_scale!r}")
    known = values[np.isfinite(values)]
    notes = []
    if options.error_scale != FRACTION and len(known) and known.max() <= 1 and known.max() > 0:
        notes.append(
            f"{raw.source}: no {role} is above {known.max():.3g} %; say error_scale=fraction if these are shares of 1."
        )
    return np.where(np.isfinite(errors), np.clip(errors, 0, 100), errors), notes


def as_percent(values: Floats, *, accuracy: bool, scale: str) -> Floats:
    """Errors in percent of errors or accuracies in percent or as fractions; an infinite loss stays ``+inf``."""
    top = 1.0 if scale == FRACTION else 100.0
    errors = top - values if accuracy else values
    return 100.0 * errors if scale == FRACTION else errors


def _statuses(raw: RawTrials, options: ImportOptions, errors: Floats) -> tuple[npt.NDArray[np.object_], list[str]]:
    said = _said_statuses(raw, options)
    finished = said == "completed"
    infinite, absent = finished & np.isposinf(errors), finished & np.isnan(errors)
    statuses = said.copy()
    statuses[infinite] = "diverged"
    statuses[absent] = options.missing
    notes = []
    if absent.any():
        meaning = "diverged (an infinite error)" if options.missing == "diverged" else "failed (not known)"
        other = "failed" if options.missing == "diverged" else "diverged"
        notes.append(
            f"{raw.source}: {int(absent.sum())} of {raw.n} trials have no number as their result and count as "
            f"{meaning}; say `--missing {other}` (in Python: missing={other!r}) if they {'crashed' if other == 'failed' else 'diverged'}."
        )
    return statuses, notes


def _said_statuses(raw: RawTrials, options: ImportOptions) -> npt.NDArray[np.object_]:
    said = np.full(raw.n, "completed", dtype=object)
    if "status" not in raw.columns:
        return said
    texts = np.asarray(raw.texts("status").to_numpy(zero_copy_only=False), dtype=object)
    for text in {text for text in texts.tolist() if text is not None}:
        status = options.status_of(text)
        if status is None:
            place = int(np.argmax(texts == text))
            raw.refuse(
                "status", place, f"which is no known status; say which it is in statuses, one of {', '.join(STATUSES)}"
            )
        said[texts == text] = status
    return said


def _phases(raw: RawTrials, options: ImportOptions) -> pa.Array:
    phases = _said_texts(raw, "phase", options.phase)
    for phase in pc.unique(phases).to_pylist():
        if not NAME_PATTERN.fullmatch(phase):
            raw.refuse("phase", phases.index(phase).as_py(), "expected letters, digits, '.', '_' and '-'")
    return phases


def _arms(raw: RawTrials, options: ImportOptions) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Arms, models and optimizers; where only an arm is said, its part after the last ``/`` is its optimizer."""
    for role in {"arm", "model", "optimizer"} & set(raw.columns):
        for text in pc.unique(raw.texts(role)).to_pylist():
            if text is not None and (not text.isprintable() or len(text) > 200):
                place = raw.texts(role).index(text).as_py()
                raw.refuse(role, place, "expected a text of one line, at most 200 characters")
    if "arm" in raw.columns or not {"model", "optimizer"} & set(raw.columns):
        arms = _said_texts(raw, "arm", options.arm or options.name)
        different = pc.unique(arms)
        parts = [arm.rpartition("/") if "/" in arm else (arm, "", "") for arm in different.to_pylist()]
        places = pc.index_in(arms, value_set=different)
        models = _said_texts(raw, "model", pa.array([part[0] or part[2] for part in parts]).take(places))
        optimizers = _said_texts(raw, "optimizer", pa.array([part[2] for part in parts]).take(places))
        return arms, models, optimizers
    models = _said_texts(raw, "model", options.arm or options.name)
    if "optimizer" not in raw.columns:
        return models, models, pa.array([""] * raw.n)
    optimizers = _said_texts(raw, "optimizer", "")
    named = pc.binary_join_element_wise(models, optimizers, "/")
    return pc.if_else(pc.equal(optimizers, ""), models, named), models, optimizers


def _said_texts(raw: RawTrials, role: str, otherwise: str | pa.Array) -> pa.Array:
    """The texts of a role; where there is none, the other."""
    other = pa.array([otherwise] * raw.n) if isinstance(otherwise, str) else otherwise
    return pc.coalesce(raw.texts(role), other) if role in raw.columns else other


def _samplers(raw: RawTrials, options: ImportOptions) -> tuple[pa.Array, list[str]]:
    said = pc.utf8_lower(_said_texts(raw, "sampler", options.sampler or UNKNOWN))
    for name, own in _SAMPLERS.items():
        said = pc.if_else(pc.equal(said, name), own, said)
    counts = Counter(said.to_pylist())
    outside = {name: count for name, count in counts.items() if name not in (*NON_ADAPTIVE_SAMPLERS, FIXED)}
    if not outside:
        return said, []
    listed = ", ".join(f"{count} {name}" for name, count in sorted(outside.items()))
    return said, [
        (
            f"{raw.source}: {sum(outside.values())} of {raw.n} trials enter no distribution and no comparison, for "
            f"their settings are not known to be drawn independently of results (sampler: {listed}); say "
            f"sampler=random (or {', '.join(NON_ADAPTIVE_SAMPLERS[1:])}) if they were."
        )
    ]


def _draws(raw: RawTrials, options: ImportOptions, phases: pa.Array, arms: pa.Array) -> tuple[Draws, list[str]]:
    if "draw" not in raw.columns:
        return numbered_draws(options.name, phases, arms), []
    said = raw.integers("draw")
    odd = pc.fill_null(pc.less(said, 0), True).to_numpy(zero_copy_only=False)
    if odd.any():
        raw.refuse("draw", int(np.argmax(odd)), "expected a whole number from 0")
    draws = np.asarray(said.to_numpy(zero_copy_only=False), dtype=np.int64)
    if "key" in raw.columns:
        keys = raw.texts("key")
        if keys_are_ours(keys, draws, phases, arms):
            return Draws(draws=draws, keys=keys), []
    found = said_draws(draws, phases, arms)
    return found, _pairing_notes(raw, draws, phases, arms)


def _pairing_notes(raw: RawTrials, draws: npt.NDArray[np.int64], phases: pa.Array, arms: pa.Array) -> list[str]:
    """Whether the source itself shows that equal draws are equal points: it can refute it, and seldom prove it."""
    label = raw.columns["draw"].label
    shared = False
    for name, values in raw.hyperparameters.items():
        if pa.types.is_string(values.type):
            continue
        numbers = np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        for pair in common_values(draws, phases, arms, numbers):
            shared = True
            if not pair.same_order:
                text = (
                    f"{raw.source}: arms {pair.arm_a!r} and {pair.arm_b!r} have {name!r} in different orders on their "
                    f"common draws, so an equal {label!r} is not the same point of the space; say that the role 'draw' "
                    "has no column (an empty name), else what is said about pairs is wrong."
                )
                return [text]
    if not shared or any(_positions_agree(draws, phases, arms, units) for units in raw.units.values()):
        return []
    text = (
        f"{raw.source}: that arms are paired by {label!r} rests on your word, for the source does not say where a "
        "setting stands within its interval."
    )
    return [text]


def _positions_agree(draws: npt.NDArray[np.int64], phases: pa.Array, arms: pa.Array, units: Floats) -> bool:
    pairs = [pair.equal for pair in common_values(draws, phases, arms, units)]
    return bool(pairs) and all(pairs)


def _epochs(raw: RawTrials, options: ImportOptions, samplers: pa.Array) -> pa.Array:
    said = raw.integers("epochs") if "epochs" in raw.columns else pa.nulls(raw.n, pa.int64())
    if options.epochs is not None:
        said = pc.fill_null(said, options.epochs)
    lost = pc.and_(pc.equal(samplers, FIXED), pc.is_null(said)).to_numpy(zero_copy_only=False)
    if lost.any():
        raise UnusableResults(
            f"{raw.source}: {raw.row_name(int(np.argmax(lost)))} has a given setting (sampler {FIXED!r}) and no "
            "training length; name its column as 'epochs', or say epochs=."
        )
    return said


def _curves(raw: RawTrials, options: ImportOptions, keys: pa.Array) -> pa.Table:
    values = raw.curves["value"].to_numpy()
    errors = as_percent(values, accuracy="accuracy" in raw.columns, scale=options.error_scale)
    table = pa.Table.from_arrays(
        [
            keys.take(raw.curves["row"].combine_chunks()),
            raw.curves["epoch"].combine_chunks(),
            raw.curves["train_loss"].combine_chunks(),
            pa.array(errors, from_pandas=True),
        ],
        schema=CURVES_SCHEMA,
    )
    return table.sort_by([("key", "ascending"), ("epoch", "ascending")])


def _best_errors(raw: RawTrials, options: ImportOptions, curves: pa.Table, keys: pa.Array) -> pa.Array:
    """As the source says them (an error, on the scale of the errors), else the lowest of the curve."""
    if "best_error" in raw.columns:
        best = as_percent(raw.floats("best_error"), accuracy=False, scale=options.error_scale)
        return pa.array(np.where(np.isfinite(best), best, np.nan), from_pandas=True)
    finite = curves.filter(pc.fill_null(pc.is_finite(curves["error"]), False))
    lowest = finite.group_by("key").aggregate([("error", "min")])
    return lowest["error_min"].combine_chunks().take(pc.index_in(keys, value_set=lowest["key"].combine_chunks()))


def _units(raw: RawTrials, keys: pa.Array) -> pa.Table:
    if not raw.units:
        return NO_UNITS
    columns: dict[str, pa.Array] = {"key": keys}
    columns |= {name: pa.array(values, from_pandas=True) for name, values in raw.units.items()}
    return pa.table(columns).sort_by("key")


def reserved_names() -> frozenset[str]:
    """Columns of the trials table, which no hyperparameter can have as its name."""
    return frozenset(trials_schema([]).names)


def all_notes(notes: Sequence[str]) -> list[str]:
    """Each note once, in order."""
    return list(dict.fromkeys(notes))
