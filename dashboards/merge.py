"""Several studies side by side, as one record."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.selection import NON_ADAPTIVE_SAMPLERS
from dashboards.tables import hyperparameters_of, trials_schema
from dashboards.tracking.study import StudyRecord

if TYPE_CHECKING:
    from dashboards.statistics.costs import ArmCost


def merge(records: Sequence[StudyRecord], name: str | None = None) -> StudyRecord:
    """One record of the trials of all ``records``.

    Rules:

    - An arm that several studies have becomes ``arm @ study`` in each of them, and so does the model of such an arm, in all
      arms of it: a gap between optimizers is then still one within a study. Other arms and models keep their names, so the
      arms ``m/sgd`` of one study and ``m/adamw`` of another make a pair.
    - Keys follow: ``phase/arm/draw/replicate`` with the arm's new name.
    - A draw of two studies is the same draw only if it has the same name, the same hyperparameters, and the same position in
      the unit cube to the bit. Otherwise (another seed, another space, positions that were not recorded) the later study's
      replicate becomes ``replicate @ study``, and comparisons between the studies' arms do not pair it. Adaptive trials and
      given settings are never paired by draw and keep their names.
    - Hyperparameters are united in the order of the studies, null where a study lacks one. Where one study has whole
      numbers and another has floats they are floats.
    - Times and skipped samples are summed; versions, hardware and sources name the studies where they differ; the study
      files become one file of several YAML documents. Ids and the tracking URI stay where they are equal, else are empty.

    Args:
        records: At least one; each of another study.
        name: Of the result; by default the studies' names with ``+`` between them.

    Raises:
        ValueError: If there is no record, two have one name, or a hyperparameter is text in one study and a number in
            another.
    """
    if not records:
        raise ValueError("No study to merge; name at least one.")
    twice = [study for study, count in Counter(record.study for record in records).items() if count > 1]
    if twice:
        raise ValueError(f"Study {twice[0]!r} is given twice; give each study once.")
    title = " + ".join(record.study for record in records) if name is None else name
    if len(records) == 1:
        return _renamed_record(records[0], title)
    schema = trials_schema(_united_fields(records))
    arms, models = _new_names(records)
    suffixes = _draw_suffixes(records)
    trials, curves, units = [], [], []
    for record, suffix in zip(records, suffixes, strict=True):
        new = _renamed_trials(record, arms, models, suffix)
        old_keys, new_keys = record.trials["key"].combine_chunks(), new["key"].combine_chunks()
        trials.append(_fitted(new, schema))
        curves.append(_with_keys(record.curves, old_keys, new_keys))
        units.append(_with_keys(record.units, old_keys, new_keys))
    return StudyRecord(
        study=title,
        trials=pa.concat_tables(trials).sort_by("key").combine_chunks(),
        curves=pa.concat_tables(curves).sort_by([("key", "ascending"), ("epoch", "ascending")]).combine_chunks(),
        timing=_sums([record.timing for record in records]),
        study_yaml=_documents(records),
        experiment_id=_common([record.experiment_id for record in records]),
        study_run_id="",
        tracking_uri=_common([record.tracking_uri for record in records]),
        versions=_versions(records),
        skipped_samples=sum(record.skipped_samples for record in records),
        conditions=tuple(f"{condition} (of {record.study})" for record in records for condition in record.conditions),
        units=_united_units(units, schema),
        costs=_costs(records, arms),
        hardware=_named(records, lambda record: record.hardware),
        source=_named(records, lambda record: record.source),
    )


def _renamed_record(record: StudyRecord, title: str) -> StudyRecord:
    return record if title == record.study else replace(record, study=title)


def _united_fields(records: Sequence[StudyRecord]) -> list[pa.Field]:
    found: dict[str, tuple[pa.DataType, str]] = {}
    for record in records:
        for name in hyperparameters_of(record.trials):
            own = record.trials.schema.field(name).type
            if name in found:
                own = _united_type(name, *found[name], own, record.study)
            found[name] = own, record.study
    return [pa.field(name, kind) for name, (kind, _) in found.items()]


def _united_type(name: str, kind: pa.DataType, study: str, other: pa.DataType, other_study: str) -> pa.DataType:
    if kind.equals(other) or pa.types.is_null(other):
        return kind
    if pa.types.is_null(kind):
        return other
    if all(pa.types.is_integer(one) or pa.types.is_floating(one) for one in (kind, other)):
        return pa.int64() if pa.types.is_integer(kind) and pa.types.is_integer(other) else pa.float64()
    raise ValueError(
        f"Hyperparameter {name!r} is {kind} in study {study!r} and {other} in study {other_study!r}; "
        "these studies cannot be merged unless one renames it."
    )


def _new_names(records: Sequence[StudyRecord]) -> tuple[set[str], set[str]]:
    """The arms that several studies have, and their models."""
    pairs = [
        {
            (row["arm"], row["model"])
            for row in record.trials.group_by(["arm", "model"]).aggregate([]).select(["arm", "model"]).to_pylist()
        }
        for record in records
    ]
    counts = Counter(arm for own in pairs for arm in {arm for arm, _ in own})
    arms = {arm for arm, count in counts.items() if count > 1}
    return arms, {model for own in pairs for arm, model in own if arm in arms}


def _renamed(values: pa.ChunkedArray, chosen: set[str], study: str) -> pa.Array:
    column = values.combine_chunks()
    inside = pc.is_in(column, value_set=pa.array(sorted(chosen), pa.string()))
    return pc.if_else(inside, pc.binary_join_element_wise(column, study, " @ "), column)


def _draw_names(record: StudyRecord) -> pa.Array:
    """``draw/replicate`` of each trial: its key without phase and arm."""
    trials = record.trials
    prefix = pc.binary_join_element_wise(trials["phase"], trials["arm"], "", "/")
    # No kernel cuts each string at a place of its own; phases and arms are few.
    names = np.array(trials["key"].to_pylist(), dtype=object)
    encoded = prefix.combine_chunks().dictionary_encode()
    places = encoded.indices.to_numpy()
    for number, text in enumerate(encoded.dictionary.to_pylist()):
        own = places == number
        names[own] = [key.removeprefix(text) for key in names[own]]
    return pa.array(names, pa.string())


def _renamed_trials(record: StudyRecord, arms: set[str], models: set[str], suffix: pa.Array) -> pa.Table:
    trials = record.trials
    arm = _renamed(trials["arm"], arms, record.study)
    key = pc.binary_join_element_wise(
        trials["phase"].combine_chunks(), arm, pc.binary_join_element_wise(_draw_names(record), suffix, ""), "/"
    )
    columns = {"arm": arm, "model": _renamed(trials["model"], models, record.study), "key": key}
    for column, values in columns.items():
        trials = trials.set_column(trials.schema.get_field_index(column), column, values)
    return trials


def _draw_suffixes(records: Sequence[StudyRecord]) -> list[pa.Array]:
    """What each trial's name of its draw gets, one array a record: empty, or `` @ study``."""
    known: dict[tuple[str, str], dict[object, str]] = {}
    suffixes = []
    for record in records:
        draws = _drawn(record)
        names = sorted(set(draws.column_names) - {"key", "phase", "name"})
        points = draws.group_by(["phase", "name"]).aggregate([(column, "max") for column in names])
        coordinates = zip(*(points[f"{column}_max"].to_pylist() for column in names), strict=True)
        rows = list(coordinates) or [()] * points.num_rows
        chosen: dict[tuple[str, str], str] = {}
        for phase, draw, row in zip(points["phase"].to_pylist(), points["name"].to_pylist(), rows, strict=True):
            known_there = known.setdefault((phase, draw), {})
            place = {name: value for name, value in zip(names, row, strict=True) if value is not None}
            # Without a position nobody can tell whether it is the same draw.
            point: object = tuple(place.items()) or record.study
            first = f" @ {record.study}" if known_there else ""
            chosen[phase, draw] = known_there.setdefault(point, first)
        suffixes.append(_suffix_of_each(record, draws, chosen))
    return suffixes


def _drawn(record: StudyRecord) -> pa.Table:
    """Key, phase, name of the draw and units of the trials that are paired by draw."""
    trials = record.trials.select(["key", "phase"]).append_column("name", _draw_names(record))
    drawn = pc.is_in(record.trials["sampler"], value_set=pa.array(NON_ADAPTIVE_SAMPLERS))
    units = record.units.rename_columns(_unit_names(record.units))
    return trials.filter(drawn).join(units, "key")


def _unit_names(units: pa.Table) -> list[str]:
    # A hyperparameter may be called "phase" or "name".
    return [name if name == "key" else f"unit {name}" for name in units.column_names]


def _suffix_of_each(record: StudyRecord, draws: pa.Table, chosen: Mapping[tuple[str, str], str]) -> pa.Array:
    table = draws.select(["key", "phase", "name"])
    texts = [chosen[pair] for pair in zip(table["phase"].to_pylist(), table["name"].to_pylist(), strict=True)]
    place = pc.index_in(record.trials["key"], value_set=table["key"].combine_chunks()).combine_chunks()
    return pc.fill_null(pa.array(texts, pa.string()).take(place), "")


def _fitted(trials: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        trials[field.name].combine_chunks().cast(field.type, safe=False)
        if field.name in trials.column_names
        else pa.nulls(trials.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _with_keys(table: pa.Table, old_keys: pa.Array, new_keys: pa.Array) -> pa.Table:
    place = pc.index_in(table["key"], value_set=old_keys).combine_chunks()
    return table.set_column(0, "key", new_keys.take(place)).filter(pc.is_valid(place))


def _united_units(units: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    found = {name for table in units for name in table.column_names}
    names = [field.name for field in schema if field.name in found and field.name != "key"]
    fields = pa.schema([pa.field("key", pa.string()), *(pa.field(name, pa.float64()) for name in names)])
    return pa.concat_tables([_fitted(table, fields) for table in units]).sort_by("key").combine_chunks()


def _costs(records: Sequence[StudyRecord], arms: set[str]) -> "dict[str, ArmCost]":
    return {
        f"{arm} @ {record.study}" if arm in arms else arm: cost
        for record in records
        for arm, cost in record.costs.items()
    }


def _sums(timings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for timing in timings:
        for activity, seconds in timing.items():
            total[activity] = total.get(activity, 0.0) + seconds
    return total


def _documents(records: Sequence[StudyRecord]) -> str:
    texts = [record.study_yaml.strip().removeprefix("---").lstrip("\n") for record in records]
    return "".join(f"---\n{text}\n" for text in texts if text)


def _common(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ""


def _versions(records: Sequence[StudyRecord]) -> dict[str, str]:
    packages = sorted({package for record in records for package in record.versions})
    # This project's own first, as a study has it.
    packages.sort(key=lambda package: package != "stablesweep")
    return {package: _named(records, _version_of(package)) for package in packages}


def _version_of(package: str) -> Callable[[StudyRecord], str]:
    return lambda record: record.versions.get(package, "")


def _named(records: Sequence[StudyRecord], text_of: Callable[[StudyRecord], str]) -> str:
    """What all records say, or what each says, with its study."""
    texts = {record.study: text_of(record) for record in records}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{study}: {text}" for study, text in texts.items() if text)
