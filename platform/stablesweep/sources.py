"""Where settings that follow from results come from: what must stay as it was once they have been used."""

import hashlib
import json
from typing import Any

from dashboards.selection import REFERENCE, SEARCH, STABILITY
from stablesweep.arms import Arm
from stablesweep.study import Study


def group_name(phase: str, arm: str) -> str:
    """What the trials of an arm in a phase are called together: they are settled in one way."""
    return f"{phase}/{arm}"


def source_digest(study: Study, phase: str, arm: Arm) -> str:
    """A digest of all in the study that decides how a group's trials are settled, apart from results."""
    return hashlib.sha256(json.dumps(_source(study, phase, arm), sort_keys=True).encode()).hexdigest()[:16]


def _source(study: Study, phase: str, arm: Arm) -> Any:
    dimensions = {name: node.to_config() for name, node in study.dimensions_of(arm).items()}
    if phase == SEARCH and study.phases.search is not None:
        config = study.phases.search.model_dump(mode="json", include={"sampler", "pruning"})
        return {"space": dimensions, **config}
    if phase == STABILITY:
        return {"space": dimensions, "around": study.draws_around}
    if phase == REFERENCE:
        return {"around": "family" if study.draws_around == "family" else "arm"}
    return {"at": study.setting_kind(phase)}
