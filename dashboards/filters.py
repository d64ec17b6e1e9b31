"""The trials of a study that fulfil conditions on what was decided before they ran."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.tables import hyperparameters_of
from dashboards.tracking.study import StudyRecord

INPUTS = ("study", "phase", "arm", "model", "optimizer", "draw", "seed", "sampler", "epochs", "key")
"""The fixed columns that a condition may be on; the hyperparameters are the others."""

_CONDITION = re.compile(r"\s*(?P<column>.+?)\s*(?P<operator><=|>=|!=|==|=|<|>|\sin\s)\s*(?P<value>.*?)\s*", re.DOTALL)
_ORDERINGS: dict[str, Callable[[pa.Array, object], pa.Array]] = {
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """``column operator value``."""

    column: str
    operator: str
    """One of ``= != < <= > >=``."""
    value: str
    """A list with commas between is fulfilled by any of its items; for ``!=`` by none of them."""


def filtered(record: StudyRecord, where: Sequence[str]) -> StudyRecord:
    """The record of the trials that fulfil every condition, with their curves and positions.

    A condition is ``column op value`` with ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, or ``in`` and a list, e.g.
    ``lr<0.01``, ``optimizer=sgd,adamw``, ``phase in stability,search``. A trial that does not have a hyperparameter (its arm
    has none, or the value is not settled yet) fulfils no condition on it.

    Only columns that were decided before a trial ran can be asked for. The trials that are left are the denominator of every
    share; a condition on a result (``error``, ``status``, ``seconds``, ...) would take the bad trials out of it.

    Args:
        record: As read.
        where: Conditions; none keeps everything.

    Raises:
        ValueError: If a condition cannot be understood, its column is unknown or a result, or its value is of another type.
    """
    trials = record.trials
    keep = pa.array([True] * trials.num_rows, pa.bool_())
    for text in where:
        keep = pc.and_(keep, _fulfilled(trials, parsed(text), text))
    trials = trials.filter(keep)
    keys = trials["key"].combine_chunks()
    arms = set(pc.unique(trials["arm"]).to_pylist())
    return replace(
        record,
        trials=trials,
        curves=record.curves.filter(pc.is_in(record.curves["key"], value_set=keys)),
        units=record.units.filter(pc.is_in(record.units["key"], value_set=keys)),
        costs={arm: cost for arm, cost in record.costs.items() if arm in arms},
        conditions=(*record.conditions, *where),
    )


def parsed(text: str) -> Condition:
    """The condition that ``text`` says.

    Raises:
        ValueError: If it is none.
    """
    match = _CONDITION.fullmatch(text)
    if match is None or not match["value"]:
        raise ValueError(
            f"Condition {text!r}: expected COLUMN=VALUE, with = != < <= > >= or in, e.g. 'lr<0.01' or 'optimizer=sgd,adamw'."
        )
    operator = match["operator"].strip()
    return Condition(
        column=match["column"], operator={"in": "=", "==": "="}.get(operator, operator), value=match["value"]
    )


def _fulfilled(trials: pa.Table, condition: Condition, text: str) -> pa.Array:
    names = [*INPUTS, *hyperparameters_of(trials)]
    if condition.column not in names:
        if condition.column in trials.column_names:
            raise ValueError(
                f"Condition {text!r}: {condition.column} is a result, and leaving trials out by their results would change "
                f"every share; use one of {', '.join(names)}."
            )
        raise ValueError(f"Condition {text!r}: there is no column {condition.column!r}; use one of {', '.join(names)}.")
    column = trials[condition.column].combine_chunks()
    if condition.operator in _ORDERINGS:
        result = _ORDERINGS[condition.operator](column, _bound(column.type, condition, text))
    else:
        values = pa.array(_values(column, condition, text), column.type)
        result = pc.and_(pc.is_in(column, value_set=values), pc.is_valid(column))
        if condition.operator == "!=":
            result = pc.and_(pc.invert(result), pc.is_valid(column))
    return pc.fill_null(result, False)


def _bound(kind: pa.DataType, condition: Condition, text: str) -> float:
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ValueError(f"Condition {text!r}: {condition.column} is no number; use = or !=.")
    bound = _number(condition, condition.value, text)
    # Arrow's whole numbers end here, and so do those of every column: beyond there is nothing to tell apart.
    return max(min(bound, 2**63 - 1), -(2**63)) if isinstance(bound, int) else bound


def _values(column: pa.Array, condition: Condition, text: str) -> list[object]:
    kind = column.type
    if pa.types.is_string(kind) and pc.any(pc.equal(column, condition.value)).as_py():
        # A name may have a comma in it.
        return [condition.value]
    items = [item.strip() for item in condition.value.split(",")]
    if pa.types.is_boolean(kind):
        wrong = [item for item in items if item.lower() not in ("true", "false")]
        if wrong:
            raise ValueError(f"Condition {text!r}: {condition.column} is true or false, got {wrong[0]!r}.")
        return [item.lower() == "true" for item in items]
    if pa.types.is_integer(kind):
        numbers = [_number(condition, item, text) for item in items]
        # A fraction equals no whole number.
        return [int(number) for number in numbers if abs(number) < 2**63 and number == int(number)]
    if pa.types.is_floating(kind):
        return [_number(condition, item, text) for item in items]
    return list(items)


def _number(condition: Condition, item: str, text: str) -> float:
    try:
        # A seed may have more digits than a float.
        return int(item)
    except ValueError:
        pass
    try:
        number = float(item)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"Condition {text!r}: {condition.column} is a number, got {item!r}.")
    return number
