"""The arm runs of a study, and what they say an arm costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dashboards import tags
from dashboards.cautions import warn_caller
from dashboards.statistics.costs import ArmCost
from dashboards.tracking.search import search_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

COUNTS = {"parameters": tags.PARAMETERS, "flops": tags.FLOPS, "activations": tags.ACTIVATIONS}


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmRun:
    """One arm in one phase."""

    run_id: str
    arm: str
    """Empty if the run does not say."""
    counts: Mapping[str, str]
    """The tags of :data:`COUNTS` that it has."""


def read_arm_runs(client: "MlflowClient", experiment: str) -> tuple[ArmRun, ...]:
    """The active ones, oldest first."""
    return tuple(
        ArmRun(
            run_id=run.info.run_id,
            arm=run.data.tags.get(tags.ARM, ""),
            counts={name: run.data.tags[name] for name in COUNTS.values() if name in run.data.tags},
        )
        for run in search_runs(client, [experiment], "arm")
    )


def arm_costs(arm_runs: Sequence[ArmRun], study_tags: Mapping[str, str]) -> dict[str, ArmCost]:
    """The costs of the arms that recorded any; of several phases of an arm the newest that says.

    Warns about a tag that is no number.
    """
    common = ArmCost(images_per_epoch=_number(study_tags, tags.TRAIN_IMAGES, "the study run"), gpus=_gpus(study_tags))
    costs: dict[str, ArmCost] = {}
    for run in arm_runs:
        counted = {field: _number(run.counts, name, f"MLflow run {run.run_id}") for field, name in COUNTS.items()}
        known = {field: number for field, number in counted.items() if number is not None}
        if run.arm:
            costs[run.arm] = replace(costs.get(run.arm, common), **known)
    return {arm: cost for arm, cost in sorted(costs.items()) if cost != ArmCost()}


def _number(run_tags: Mapping[str, str], name: str, where: str) -> int | None:
    text = run_tags.get(name, "")
    if text.isdecimal():
        return int(text)
    if text:
        warn_caller(f"{name} of {where} is no whole number ({text!r}); left out.")
    return None


def _gpus(study_tags: Mapping[str, str]) -> float | None:
    text = study_tags.get(tags.GPUS, "")
    try:
        return float(text) if text else None
    except ValueError:
        warn_caller(f"{tags.GPUS} of the study run is no number ({text!r}); left out.")
        return None
