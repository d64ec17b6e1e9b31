"""A study as the pages need it: the record, and what is computed from it, once."""

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.app.address import Address, Brush
from dashboards.figures.colours import ArmStyle, arm_styles
from dashboards.figures.points import ScatterPoints, scatter_points
from dashboards.report.captions import FigureText
from dashboards.report.figures import shown_figures
from dashboards.selection import (
    STABILITY,
    Floats,
    arms_of,
    errors_of,
    every_arm,
    other_trials,
    stability_trials,
)
from dashboards.statistics.delta import DeltaEdf, delta_edf
from dashboards.statistics.edf import Edf, arm_edf
from dashboards.summary import StudySummary, summarize
from dashboards.tracking.study import StudyRecord

Value = TypeVar("Value")
_COMPUTING = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """The non-adaptive trials of one phase that have a result; all arrays have one entry a trial."""

    keys: npt.NDArray[np.object_]
    arms: npt.NDArray[np.object_]
    points: ScatterPoints

    @property
    def drawn(self) -> Floats:
        """The error as drawn, percent: diverged trials lie along the top."""
        return np.where(np.isinf(self.points.errors), self.points.ceiling, self.points.errors)

    def brushed(self, brush: Brush, shown: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """Which trials of the shown arms lie in the box, its edges included; none if there is no such panel."""
        panels = {panel.title: panel.values for panel in self.points.panels}
        if brush.panel not in panels:
            return np.zeros(len(self.keys), dtype=bool)
        x, y = panels[brush.panel], self.drawn
        inside = (x >= brush.x[0]) & (x <= brush.x[1]) & (y >= brush.y[0]) & (y <= brush.y[1])
        return inside & np.isin(self.arms, np.array(shown, dtype=object))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawn:
    """A figure of the report."""

    figure: Mapping[str, Any]
    """``data`` and ``layout`` as plain values; nobody changes them."""
    text: FigureText


class StudyData:
    """A record and what follows from it; safe to be asked by several threads."""

    def __init__(
        self,
        record: StudyRecord,
        *,
        generation: int = 0,
        notes: tuple[str, ...] = (),
        before: "StudyData | None" = None,
    ) -> None:
        self.record = record
        self._is_outdated: bool = False
        # An earlier reading of the study: what it has computed stands in until that of this one is there.
        self._before: StudyData | None = before
        if before is not None:
            before._is_outdated = True
            self._before = before if before.is_useful else before._before
        self.generation = generation
        self.notes = notes
        """What reading the study warned about."""
        self._lock = threading.RLock()
        self._locks: dict[Hashable, Any] = {}
        self._values: dict[Hashable, Any] = {}
        self._begun: set[str] = set()
        self._errors: dict[str, str] = {}

    @cached_property
    def styles(self) -> Mapping[str, ArmStyle]:
        """By arm, of all arms of the study: the same as in the report."""
        return arm_styles(every_arm(self.record.trials))

    @cached_property
    def phases(self) -> list[str]:
        """The phases that have non-adaptive trials, ``stability`` first."""
        trials = self.record.trials
        found = {phase for phase in pc.unique(trials["phase"]).to_pylist() if stability_trials(trials, phase).num_rows}
        return sorted(found, key=lambda phase: (phase != STABILITY, phase))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Trials by status."""
        return {row["values"]: row["counts"] for row in pc.value_counts(self.record.trials["status"]).to_pylist()}

    @property
    def num_open(self) -> int:
        """Trials that have no outcome yet: pending or running."""
        return self.counts.get("pending", 0) + self.counts.get("running", 0)

    def phase(self, address: Address) -> str:
        """The phase that an address is about: the one it names, if the study has it."""
        return address.phase if address.phase in self.phases or not self.phases else self.phases[0]

    def arms(self, phase: str) -> tuple[str, ...]:
        """The arms with non-adaptive trials in ``phase``, sorted."""
        return self.once(("arms", phase), lambda: tuple(name.arm for name in arms_of(self.record.trials, phase)))

    def shown(self, address: Address) -> tuple[str, ...]:
        """The arms that an address shows: those it names as far as they exist, or all."""
        arms = self.arms(self.phase(address))
        return tuple(arm for arm in arms if arm in address.arms) or arms

    def edfs(self, phase: str) -> dict[str, Edf]:
        """The distribution of each arm's errors."""
        trials = self.record.trials
        return self.once(("edfs", phase), lambda: {arm: arm_edf(trials, arm, phase) for arm in self.arms(phase)})

    def deltas(self, phase: str) -> dict[str, DeltaEdf]:
        """The distribution of each arm's errors minus its reference."""
        trials = self.record.trials
        return self.once(("deltas", phase), lambda: {arm: delta_edf(trials, arm, phase) for arm in self.arms(phase)})

    def others(self, phase: str) -> dict[str, int]:
        """Trials that enter no distribution of ``phase``, by phase."""
        return self.once(("others", phase), lambda: other_trials(self.record.trials, phase))

    def summary(self, phase: str) -> StudySummary:
        """The study in numbers; takes seconds where there are many trials."""
        return self.once(("summary", phase), lambda: summarize(self.record, phase))

    def report_figures(self, phase: str) -> dict[str, Drawn]:
        """The figures of the report by name; takes seconds where there are many trials."""
        return self.once(("figures", phase), lambda: _drawn(self.record, self.summary(phase)))

    def summary_so_far(self, phase: str) -> StudySummary | None:
        """:meth:`summary` if it is there already; if it is not, a thread computes it from now on."""
        found: StudySummary | None = self._so_far("summary", phase)
        return found

    def figures_so_far(self, phase: str) -> dict[str, Drawn] | None:
        """:meth:`report_figures` in the same way."""
        found: dict[str, Drawn] | None = self._so_far("figures", phase)
        return found

    def error(self, phase: str) -> str:
        """Why there will be no summary, or no figures; empty where nothing went wrong."""
        with self._lock:
            return self._errors.get(phase, "")

    @property
    def is_computing(self) -> bool:
        """Whether something that a page asked for is not there yet."""
        with self._lock:
            return any(("figures", phase) not in self._values for phase in self._begun - set(self._errors))

    @property
    def is_useful(self) -> bool:
        """Whether it has computed something slow, or is about to have."""
        with self._lock:
            return bool(self._begun)

    @property
    def progress(self) -> str:
        """Changes when something becomes known that a page may have asked for."""
        with self._lock:
            known = [name for name in self._values if isinstance(name, tuple) and name[0] in ("summary", "figures")]
            own = f"{len(known)} {len(self._errors)}"
        return own if known or self._before is None else f"{own} {self._before.progress}"

    def _so_far(self, name: str, phase: str) -> Any:
        with self._lock:
            if (name, phase) not in self._values and phase not in self._begun:
                self._begun.add(phase)
                threading.Thread(target=self._compute, args=(phase,), name="summary", daemon=True).start()
        return self._known(name, phase)

    def _known(self, name: str, phase: str) -> Any:
        with self._lock:
            if (name, phase) in self._values or phase in self._errors:
                return self._values.get((name, phase))
        return None if self._before is None else self._before._known(name, phase)

    def _compute(self, phase: str) -> None:
        try:
            # One at a time: pages must still be answered meanwhile.
            with _COMPUTING:
                if self._is_outdated:
                    with self._lock:
                        self._begun.discard(phase)
                    return
                self.summary(phase)
                self.report_figures(phase)
            # It is as new as can be: what came before is not needed any more.
            self._before = None
        # A page that waits must hear of it, whatever it is.
        except Exception as error:  # noqa: BLE001
            with self._lock:
                self._errors[phase] = " ".join(f"{type(error).__name__}: {error}".split())[:300]

    def sample(self, phase: str) -> Sample:
        """The trials that the scatter of ``phase`` shows."""
        return self.once(("sample", phase), lambda: _sample(self.record.trials, phase))

    def trial(self, key: str) -> dict[str, Any] | None:
        """The row of one trial; ``None`` if there is no such trial."""
        rows = self.record.trials.filter(pc.equal(self.record.trials["key"], key)).to_pylist()
        return rows[0] if rows else None

    def once(self, name: Hashable, compute: Callable[[], Value]) -> Value:
        """The value of ``compute``, which is called once for each ``name``; another caller waits for it."""
        with self._lock:
            own = self._locks.setdefault(name, threading.RLock())
        with own:
            if name not in self._values:
                value = compute()
                with self._lock:
                    self._values[name] = value
            found: Value = self._values[name]
            return found


def _drawn(record: StudyRecord, summary: StudySummary) -> dict[str, Drawn]:
    # As plain values: two threads that copy one of Plotly's figures at a time get each other's half-made ones.
    return {
        shown.name: Drawn(figure=shown.figure.to_dict(), text=shown.text) for shown in shown_figures(record, summary)
    }


def _sample(trials: pa.Table, phase: str) -> Sample:
    rows = stability_trials(trials, phase)
    errors = errors_of(rows)
    rows = rows.filter(pa.array(~np.isnan(errors)))
    points = scatter_points(trials, phase)
    arms = np.array(rows["arm"].to_pylist(), dtype=object)
    if tuple(arms) != tuple(points.arms):
        raise AssertionError("The scatter's points are no longer the trials with a result in the table's order.")
    return Sample(keys=np.array(rows["key"].to_pylist(), dtype=object), arms=arms, points=points)
