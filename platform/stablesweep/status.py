"""How far the studies of a home are, from their ledgers and local records; needs no tracking server."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.formats import elided
from dashboards.tags import STATUSES
from dashboards.terminal import text_table
from dashboards.troubles import Trouble, troubles
from stablesweep.errors import LedgerError
from stablesweep.home import Home, is_locked
from stablesweep.ledger import read_ledger, to_trials
from stablesweep.record import Record, TrialState
from stablesweep.study import Study

MOST_TROUBLES = 5
LONGEST_REASON = 160


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStatus:
    """How many trials of each arm have each status."""

    study: str
    arms: dict[str, Counter[str]]
    unpublished: int
    """Trials with something that MLflow does not have yet."""
    troubles: tuple[Trouble, ...]
    """Why trials failed or were lost, the reason with the most trials first."""

    def count(self, status: str) -> int:
        """Trials of all arms with this status."""
        return sum(counts[status] for counts in self.arms.values())

    @property
    def total(self) -> int:
        """All trials of the ledger."""
        return sum(counts.total() for counts in self.arms.values())


def read_states(home: Home, name: str) -> dict[str, TrialState]:
    """What the local record has, by key; empty if the study never started.

    Writes nothing, but for the tables and columns that the file of an earlier version lacks.
    """
    path = home.study(name).record
    if not path.exists():
        return {}
    record = Record(path)
    try:
        return {state.key: state for state in record.trials()}
    finally:
        record.close()


def read_pack_sizes(home: Home, study: Study) -> dict[str, int]:
    """By arm, how many trials a pack may have where an earlier run met the limits of memory.

    Writes nothing, but for the tables and columns that the file of an earlier version lacks.
    """
    path = home.study(study.name).record
    if not path.exists():
        return {}
    record = Record(path)
    try:
        return record.pack_sizes(study.pack.room)
    finally:
        record.close()


def read_status(home: Home, name: str) -> StudyStatus:
    """The status of a study.

    Raises:
        LedgerError: If the home has no such study, or its ledger is damaged.
    """
    ledger = home.study(name).ledger
    if not ledger.exists():
        known = ", ".join(home.study_names()) or "none"
        raise LedgerError(f"{home.path}: no study {name!r} here (studies: {known}); run it first or give its --home.")
    states = read_states(home, name)
    # What a killed process left behind does not run any more.
    alive = is_locked(home.study(name))
    arms: dict[str, Counter[str]] = {}
    ended: list[tuple[str, str, str, str | None]] = []
    for trial in to_trials(read_ledger(ledger)):
        state = states.get(trial.key)
        status = state.status if state else "pending"
        status = "pending" if status == "running" and not alive else status
        arms.setdefault(trial.arm, Counter())[status] += 1
        ended.append((trial.key, trial.arm, status, state.reason if state else None))
    unpublished = sum(
        state.status != state.published or state.last_epoch > state.published_epoch for state in states.values()
    )
    return StudyStatus(study=name, arms=arms, unpublished=unpublished, troubles=tuple(troubles(ended)))


def render_status(status: StudyStatus) -> str:
    """One line an arm, then why trials failed or were lost."""
    rows = [
        [arm, str(counts.total()), *(str(counts[name]) for name in STATUSES)] for arm, counts in status.arms.items()
    ]
    rows.append(["all", str(status.total), *(str(status.count(name)) for name in STATUSES)])
    blocks = [f"Study {status.study}", text_table(["arm", "trials", *STATUSES], rows)]
    if status.troubles:
        blocks.append("\n".join(_trouble_lines(status)))
    if status.unpublished:
        blocks.append(f"{status.unpublished} trials have news that MLflow does not have yet; `run` publishes them.")
    return "\n\n".join(blocks)


def _trouble_lines(status: StudyStatus) -> list[str]:
    lines = []
    for one in status.troubles[:MOST_TROUBLES]:
        arms = f"{len(one.arms)} arms" if len(one.arms) > 1 else one.arms[0]
        lines.append(f"{len(one.keys)} {one.status} ({arms}): {elided(one.reason, LONGEST_REASON)}")
    if len(status.troubles) > MOST_TROUBLES:
        lines.append(f"and {len(status.troubles) - MOST_TROUBLES} more reasons; the report lists them")
    if status.count("lost"):
        lines.append("`run --retry-lost` trains what was lost again.")
    return lines


def render_list(home: Home, studies: Sequence[StudyStatus]) -> str:
    """One line a study."""
    if not studies:
        return f"No study in {home.path}; begin with `stablesweep run`."
    rows = [[one.study, str(one.total), *(str(one.count(name)) for name in STATUSES)] for one in studies]
    return text_table(["study", "trials", *STATUSES], rows)
