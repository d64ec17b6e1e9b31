"""Studies side by side, and the trials that fulfil conditions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from dashboards.filters import filtered, parsed
from dashboards.merge import merge
from dashboards.selection import other_trials, select_draws
from dashboards.statistics.costs import ArmCost
from dashboards.tables import CURVES_SCHEMA, TrialRecord, build_trials, hyperparameters_of, unit_positions
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]
Units = Mapping[str, float | None]


def study(
    name: str,
    arms: Mapping[str, list[Units | None]],
    *,
    phase: str = "stability",
    sampler: str = "random",
    kinds: Mapping[str, pa.DataType] | None = None,
    **more: object,
) -> StudyRecord:
    """A study whose trials have these positions, one list an arm; the value of a hyperparameter is ten times its position."""
    names = sorted({column for draws in arms.values() for units in draws for column in units or {}})
    kinds = {column: pa.float64() for column in names} | dict(kinds or {})
    rows = []
    for arm, draws in arms.items():
        for draw, units in enumerate(draws):
            model, _, optimizer = arm.rpartition("/")
            row: dict[str, Any] = {
                "key": f"{phase}/{arm}/{draw:06d}/0",
                "study": name,
                "phase": phase,
                "arm": arm,
                "model": model,
            }
            row |= {"optimizer": optimizer, "draw": draw, "seed": 2**60 + draw, "sampler": sampler, "epochs": 2}
            for column in names:
                unit = (units or {}).get(column)
                number = None if unit is None else 10 * unit
                row[column] = number if number is None or kinds[column] != pa.string() else f"{number:g}"
                row[f"unit_{column}"] = unit
            rows.append(row)
    fixed = {"draw": pa.int64(), "seed": pa.int64(), "epochs": pa.int64()}
    types = fixed | kinds | {f"unit_{column}": pa.float64() for column in names}
    schema = pa.schema([(column, types.get(column, pa.string())) for column in rows[0]])
    ledger = pa.Table.from_pylist(rows, schema=schema)
    ledger = ledger.replace_schema_metadata({"stablesweep.hyperparameters": json.dumps(names)})
    records = {
        row["key"]: TrialRecord(status="completed", error=float(place), epochs_done=2) for place, row in enumerate(rows)
    }
    curves = [
        {"key": key, "epoch": epoch, "train_loss": 1.0, "error": record.error}
        for key, record in records.items()
        for epoch in (1, 2)
    ]
    given = {"timing": {}, "study_yaml": "", "experiment_id": "1", "study_run_id": name, "tracking_uri": "sqlite:///x"}
    return StudyRecord(
        study=name,
        trials=build_trials(ledger, records),
        curves=pa.Table.from_pylist(curves, schema=CURVES_SCHEMA).sort_by([("key", "ascending")]),
        units=unit_positions(ledger),
        **{**given, **more},  # type: ignore[arg-type]
    )


def points(*positions: float) -> list[Units | None]:
    return [{"lr": position} for position in positions]


def draws_of(trials: pa.Table, arm: str) -> tuple[str, ...]:
    return tuple(select_draws(trials, arm).draws.to_pylist())


def test_other_arms_and_equal_draws_stay_paired() -> None:
    merged = merge([study("a", {"m/sgd": points(0.1, 0.2)}), study("b", {"m/adamw": points(0.1, 0.2, 0.3)})])
    assert merged.study == "a + b"
    assert draws_of(merged.trials, "m/sgd") == ("000000/0", "000001/0")
    assert draws_of(merged.trials, "m/adamw") == ("000000/0", "000001/0", "000002/0")
    assert set(merged.trials["model"].to_pylist()) == {"m"}
    assert merged.trials["key"].to_pylist() == sorted(merged.trials["key"].to_pylist())


def test_equal_arms_are_renamed_with_their_model_in_all_its_arms() -> None:
    first = study("a", {"m/sgd": points(0.1), "m/adamw": points(0.1), "n/sgd": points(0.1)})
    merged = merge([first, study("b", {"m/sgd": points(0.1)})], name="both")
    rows = merged.trials.select(["key", "study", "arm", "model"]).to_pylist()
    assert merged.study == "both"
    assert [tuple(row.values()) for row in rows] == [
        ("stability/m/adamw/000000/0", "a", "m/adamw", "m @ a"),
        ("stability/m/sgd @ a/000000/0", "a", "m/sgd @ a", "m @ a"),
        ("stability/m/sgd @ b/000000/0", "b", "m/sgd @ b", "m @ b"),
        ("stability/n/sgd/000000/0", "a", "n/sgd", "n"),
    ]
    assert draws_of(merged.trials, "m/sgd @ a") == draws_of(merged.trials, "m/sgd @ b")
    assert merged.curves["key"].to_pylist() == [row["key"] for row in rows for _ in range(2)]
    assert merged.units["key"].to_pylist() == [row["key"] for row in rows]


def test_draws_that_are_other_points_are_not_paired() -> None:
    a = study("a", {"m/sgd": points(0.1, 0.2)})
    b = study("b", {"m/adamw": points(0.1, 0.7)})
    c = study("c", {"n/adamw": points(0.1, 0.7)})
    merged = merge([a, b, c])
    assert draws_of(merged.trials, "m/sgd") == ("000000/0", "000001/0")
    assert draws_of(merged.trials, "m/adamw") == ("000000/0", "000001/0 @ b")
    # Two studies that agree with each other keep their pairs.
    assert draws_of(merged.trials, "n/adamw") == ("000000/0", "000001/0 @ b")


def test_another_space_or_no_positions_are_not_paired() -> None:
    a = study("a", {"m/sgd": points(0.1)})
    wider = study("b", {"m/adamw": [{"lr": 0.1, "wd": 0.4}]})
    unknown = replace(study("c", {"n/adamw": points(0.1)}), units=pa.table({"key": pa.array([], pa.string())}))
    unknown_too = replace(study("d", {"o/adamw": points(0.1)}), units=unknown.units)
    merged = merge([a, wider, unknown, unknown_too])
    draws = {arm: draws_of(merged.trials, arm) for arm in ("m/sgd", "m/adamw", "n/adamw", "o/adamw")}
    assert draws == {
        "m/sgd": ("000000/0",),
        "m/adamw": ("000000/0 @ b",),
        "n/adamw": ("000000/0 @ c",),
        "o/adamw": ("000000/0 @ d",),
    }
    assert merged.units.column_names == ["key", "lr", "wd"]
    assert merged.trials.filter(pc.equal(merged.trials["arm"], "m/sgd"))["wd"].to_pylist() == [None]


def test_given_settings_keep_their_names() -> None:
    one = study("a", {"m/sgd": [None]}, phase="length", sampler="fixed")
    merged = merge([one, study("b", {"n/sgd": [None]}, phase="length", sampler="fixed")])
    assert merged.trials["key"].to_pylist() == ["length/m/sgd/000000/0", "length/n/sgd/000000/0"]


def test_types_are_united_or_refused() -> None:
    whole = study("a", {"m/sgd": points(0.1)}, kinds={"lr": pa.int64()})
    assert merge([whole, study("b", {"n/sgd": points(0.25)})]).trials["lr"].to_pylist() == [1.0, 2.5]
    assert merge([whole, study("b", {"n/sgd": points(0.2)}, kinds={"lr": pa.int64()})]).trials["lr"].type == pa.int64()
    text = study("b", {"n/sgd": points(0.5)}, kinds={"lr": pa.string()})
    with pytest.raises(ValueError, match=r"'lr' is int64 in study 'a' and string in study 'b'"):
        merge([whole, text])


def test_everything_else_is_combined() -> None:
    a = study(
        "a",
        {"m/sgd": points(0.1)},
        timing={"training": 1.0, "report": 2.0},
        study_yaml="name: a\n",
        versions={"torch": "2", "stablesweep": "1", "numpy": "2"},
        skipped_samples=2,
        hardware="one GPU",
        costs={"m/sgd": ArmCost(parameters=1)},
    )
    b = study(
        "b",
        {"m/sgd": points(0.1)},
        timing={"training": 4.0},
        study_yaml="---\nname: b\n",
        versions={"torch": "3", "stablesweep": "1"},
        skipped_samples=3,
        tracking_uri="sqlite:///y",
        costs={"m/sgd": ArmCost(parameters=2)},
    )
    merged = merge([a, b])
    assert merged.timing == {"training": 5.0, "report": 2.0}
    assert list(yaml.safe_load_all(merged.study_yaml)) == [{"name": "a"}, {"name": "b"}]
    assert merged.versions == {"stablesweep": "1", "numpy": "a: 2", "torch": "a: 2; b: 3"}
    assert (merged.skipped_samples, merged.hardware) == (5, "a: one GPU")
    assert merged.costs == {"m/sgd @ a": ArmCost(parameters=1), "m/sgd @ b": ArmCost(parameters=2)}
    assert (merged.experiment_id, merged.study_run_id, merged.tracking_uri) == ("1", "", "")
    assert hyperparameters_of(merged.trials) == ["lr"]


def test_one_study_is_itself_and_a_name_counts_once() -> None:
    record = study("a", {"m/sgd": points(0.1)})
    assert merge([record]) is record
    assert merge([record], name="b").study == "b"
    with pytest.raises(ValueError, match="Study 'a' is given twice"):
        merge([record, record])
    with pytest.raises(ValueError, match="No study to merge"):
        merge([])


def test_a_merged_study_of_the_fixture_keeps_every_trial(make_record: MakeRecord) -> None:
    first, second = make_record(study="one"), make_record(study="two")
    merged = merge([first, second])
    assert merged.trials.num_rows == first.trials.num_rows * 2
    assert len(pc.unique(merged.trials["key"])) == merged.trials.num_rows
    assert merged.curves.num_rows == first.curves.num_rows * 2
    assert other_trials(merged.trials) == {}


@pytest.mark.parametrize(
    ("where", "draws"),
    [
        ([], [0, 1, 2, 0, 1]),
        (["lr<2"], [0, 0]),
        (["lr <= 2"], [0, 1, 0, 1]),
        (["lr>2"], [2]),
        (["lr>=2", "arm=m/sgd"], [1, 2]),
        (["lr=1,3"], [0, 2, 0]),
        (["lr!=1"], [1, 2, 1]),
        (["optimizer=sgd,adamw"], [0, 1, 2, 0, 1]),
        (["optimizer!=sgd"], [0, 1]),
        (["optimizer in sgd, other"], [0, 1, 2]),
        (["draw==1"], [1, 1]),
        (["draw=1.5"], []),
        ([f"seed={2**60 + 1}"], [1, 1]),
        (["epochs<1e999"], [0, 1, 2, 0, 1]),
        ([f"seed<{2**70}"], [0, 1, 2, 0, 1]),
        (["wd>0"], [2]),
        (["wd!=7"], [2]),
        (["phase=search"], []),
    ],
)
def test_conditions(where: list[str], draws: list[int]) -> None:
    arms = {"m/sgd": [*points(0.1, 0.2), {"lr": 0.3, "wd": 0.5}], "m/adamw": points(0.1, 0.2)}
    record = study("a", arms, costs={"m/sgd": ArmCost(flops=1)})
    found = filtered(record, where)
    assert sorted(found.trials["draw"].to_pylist()) == sorted(draws)
    keys = found.trials["key"].to_pylist()
    assert found.units["key"].to_pylist() == keys
    assert sorted(set(found.curves["key"].to_pylist())) == keys
    assert found.curves.num_rows == 2 * len(keys)
    assert set(found.costs) == {"m/sgd"} & set(found.trials["arm"].to_pylist())
    assert found.trials.schema.equals(record.trials.schema, check_metadata=True)


def test_names_with_commas_and_conditions_in_them() -> None:
    record = study("a", {"m,n/sgd": points(0.1), "m/sgd": points(0.2)})
    assert filtered(record, ["model=m,n"]).trials["arm"].to_pylist() == ["m,n/sgd"]
    assert (parsed(" a b >= 3 ").column, parsed("x==y").operator, parsed("x in y").operator) == ("a b", "=", "=")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("lr", "expected COLUMN=VALUE"),
        ("lr<", "expected COLUMN=VALUE"),
        ("", "expected COLUMN=VALUE"),
        ("lrr<1", "there is no column 'lrr'; use one of study, phase, .*, lr"),
        ("lr<fast", "lr is a number, got 'fast'"),
        ("lr=nan", "lr is a number, got 'nan'"),
        ("draw=1,two", "draw is a number, got 'two'"),
        ("arm<m", "arm is no number; use = or !="),
        ("error<50", "error is a result, and leaving trials out by their results"),
        ("status=completed", "status is a result"),
        ("seconds>1", "seconds is a result"),
        ("epochs_done=2", "epochs_done is a result"),
    ],
)
def test_a_wrong_condition_says_why(condition: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        filtered(study("a", {"m/sgd": points(0.1)}), [condition])
