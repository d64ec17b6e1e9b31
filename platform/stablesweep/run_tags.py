"""Tags of the study's and the arms' runs that take time to make: they are made and written beside the training."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dashboards import tags
from stablesweep.hardware import with_more
from stablesweep.study_runs import StudyRuns

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTags:
    """Tags that the study's run and its arms' runs should have."""

    study: Mapping[str, str] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By arm; its run of every phase gets them."""


class TagsToMake:
    """Functions that make tags, each called once: in the first round after it was added."""

    def __init__(self) -> None:
        self._makers: list[Callable[[], RunTags]] = []
        self._made: RunTags | None = None
        """By the first of them, if it could not be written yet."""

    def add(self, make: Callable[[], RunTags]) -> None:
        """Call ``make`` in the next round; if it raises, there are no such tags."""
        self._makers.append(make)

    def publish(self, runs: StudyRuns) -> None:
        """Make the tags and write those that the runs do not have."""
        while self._makers:
            if self._made is None:
                self._made = _made(self._makers[0])
            _write(runs, self._made)
            # Only now: after an error above they are written in the next round.
            self._made = None
            del self._makers[0]


def _made(make: Callable[[], RunTags]) -> RunTags:
    try:
        return make()
    except Exception:
        logger.info("tags of the study could not be made", exc_info=True)
        return RunTags()


def _write(runs: StudyRuns, wanted: RunTags) -> None:
    if tags.HARDWARE in wanted.study:
        known = runs.tags.get(runs.study_run, {}).get(tags.HARDWARE, "")
        hardware = with_more(known, wanted.study[tags.HARDWARE])
        wanted = replace(wanted, study={**wanted.study, tags.HARDWARE: hardware})
    for (_, arm), run_id in runs.arm_runs.items():
        missing = _missing(runs, run_id, wanted.arms.get(arm, {}))
        if missing:
            runs.number_arm(run_id, missing)
    missing = _missing(runs, runs.study_run, wanted.study)
    if missing:
        runs.set_tags(runs.study_run, missing)


def _missing(runs: StudyRuns, run_id: str, wanted: Mapping[str, str]) -> dict[str, str]:
    has = runs.tags.get(run_id, {})
    return {name: value for name, value in wanted.items() if has.get(name) != value}
