"""All diagnostics of a study's search space together."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from dashboards.figures.points import LEARNING_RATE
from dashboards.selection import STABILITY
from dashboards.space.divergence import DIVERGENCE_SCHEMA, diverged_shares
from dashboards.space.importance import Importances, evaluated_importances
from dashboards.space.maps import SettingMap, maps_available, setting_map
from dashboards.space.positions import Positions, inferred_in_words, positions
from dashboards.space.regions import best_regions, edge_warnings
from dashboards.tracking.study import StudyRecord


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpaceDiagnostics:
    """Where in the space of the non-adaptive trials of one phase good settings lie, and where training fails."""

    regions: pa.Table
    """See :func:`dashboards.space.regions.best_regions`."""
    diverged_over: str
    """The hyperparameter of ``diverged_shares``: lr, or the first with an order; empty if there is none."""
    diverged_shares: pa.Table
    """See :func:`dashboards.space.divergence.diverged_shares`; empty where no hyperparameter has an order."""
    importances: Mapping[str, Importances]
    """By arm, for arms that vary at least two hyperparameters: of a single one it is 1 whatever the errors are."""
    maps: Mapping[str, SettingMap]
    """By arm: the error over lr and weight decay, or over the arm's first two hyperparameters with an order."""
    inferred: str
    """What of the space is not recorded and was taken from the values seen, a clause without a full stop; or empty."""

    @property
    def warnings(self) -> list[str]:
        """A sentence for each best region that touches an edge of the space, without a full stop."""
        return edge_warnings(self.regions)


def diagnose(record: StudyRecord, phase: str = STABILITY) -> SpaceDiagnostics:
    """The diagnostics of the space that the non-adaptive trials of ``phase`` were drawn from."""
    where = positions(record, phase)
    name = _diverged_over(where)
    several = [arm for arm in where.arm_names if len(where.dimensions(arm)) > 1]
    return SpaceDiagnostics(
        regions=best_regions(where),
        diverged_over=name,
        diverged_shares=diverged_shares(where, name) if name else DIVERGENCE_SCHEMA.empty_table(),
        importances={arm: evaluated_importances(where, arm) for arm in several},
        maps={arm: setting_map(where, arm, *axes) for arm, axes in maps_available(where).items()},
        inferred=inferred_in_words(where),
    )


def _diverged_over(where: Positions) -> str:
    numeric = [name for arm in where.arm_names for name in where.dimensions(arm, numeric=True)]
    return LEARNING_RATE if LEARNING_RATE in numeric else next(iter(numeric), "")
