"""How far a running study is: computed from messages, drawn elsewhere."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stablesweep.messages import EpochDone, Message, PackTimed, Remark, SampleSkipped, TrialEnded, TrialStarted
from stablesweep.record import TrialState
from stablesweep.trials import Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmProgress:
    """Counts of one arm's trials, or of all arms'."""

    arm: str
    """The arm that ``best`` belongs to."""
    total: int
    finished: int = 0
    """Completed, diverged, failed or lost."""
    running: int = 0
    diverged: int = 0
    failed: int = 0
    """Failed or lost."""
    best: float | None = None
    """Lowest final error of a completed trial, percent."""
    epochs: int = 0
    """Epochs of all trials."""
    epochs_done: int = 0
    """Those that are done, or that a finished trial does not need."""

    @property
    def percent(self) -> int:
        """How much of the training is done, rounded down."""
        return 100 * self.epochs_done // max(self.epochs, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Progress at one moment."""

    arms: tuple[ArmProgress, ...]
    elapsed_s: float
    left_s: float | None
    """Estimated seconds until all trials are finished; None before the first epoch."""
    stopping: bool

    @property
    def total(self) -> ArmProgress:
        """All arms together; ``arm`` is the name of the best."""
        ranked = sorted((arm for arm in self.arms if arm.best is not None), key=lambda arm: arm.best or 0.0)
        return ArmProgress(
            arm=ranked[0].arm if ranked else "",
            total=sum(arm.total for arm in self.arms),
            finished=sum(arm.finished for arm in self.arms),
            running=sum(arm.running for arm in self.arms),
            diverged=sum(arm.diverged for arm in self.arms),
            failed=sum(arm.failed for arm in self.arms),
            best=ranked[0].best if ranked else None,
            epochs=sum(arm.epochs for arm in self.arms),
            epochs_done=sum(arm.epochs_done for arm in self.arms),
        )


class Progress:
    """Follows a run's messages; safe to use from several threads.

    Args:
        trials: The ledger's rows.
        states: What the record had before the run.
    """

    def __init__(self, trials: Sequence[Trial], states: Sequence[TrialState]) -> None:
        self.concurrent = 1
        """Packs that train at the same time."""
        self.stop = threading.Event()
        """Set when a stop is asked for."""
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._trials = {trial.key: trial for trial in trials}
        self._status = {state.key: state.status for state in states if state.status not in ("pending", "running")}
        self._epochs: dict[str, int] = {}
        self._arms = _arms_at_first(trials, self._status, {state.key: state.error for state in states})
        """Kept with every message: counting ten thousand trials anew twice a second would take a tenth of a core."""
        self._seconds: dict[str, tuple[float, int]] = {}
        """By arm: seconds of all epochs that were reported, and how many there were."""
        self._begun: set[str] = set()
        self.timing: dict[str, float] = {"training": 0.0, "evaluation": 0.0, "checkpoints": 0.0}
        """Seconds that the workers spent, summed over them."""

    def note(self, messages: Sequence[Message]) -> None:
        """Take in messages; those about trials that are not in the ledger are ignored."""
        with self._lock:
            for message in messages:
                if isinstance(message, PackTimed | SampleSkipped | Remark) or message.key in self._trials:
                    self._note_one(message)

    def _note_one(self, message: Message) -> None:
        match message:
            case TrialStarted():
                self._set_status(message.key, self._status.get(message.key, "running"))
                self._begun.add(message.pack)
            case EpochDone():
                self._note_epoch(message, self._trials[message.key].arm)
            case TrialEnded():
                if self._status.get(message.key) in (None, "running"):
                    self._set_status(message.key, message.status, message.error)
            case PackTimed():
                for part in self.timing:
                    self.timing[part] += getattr(message, part)

    def _note_epoch(self, message: EpochDone, arm: str) -> None:
        seconds, count = self._seconds.get(arm, (0.0, 0))
        self._seconds[arm] = (seconds + message.seconds, count + 1)
        gained = max(message.epoch - self._epochs.get(message.key, 0), 0)
        self._epochs[message.key] = self._epochs.get(message.key, 0) + gained
        if not _has_ended(self._status.get(message.key)):
            counts = self._arms[arm]
            self._arms[arm] = replace(counts, epochs_done=counts.epochs_done + gained)

    def _set_status(self, key: str, status: str, error: float | None = None) -> None:
        trial, before, epochs_done = self._trials[key], self._status.get(key), self._epochs.get(key, 0)
        without = _counted(self._arms[trial.arm], trial, before, epochs_done, -1)
        self._status[key] = status
        self._arms[trial.arm] = _with_error(_counted(without, trial, status, epochs_done, 1), error)

    def begun(self) -> set[str]:
        """Names of the packs whose training has begun in this run."""
        with self._lock:
            return set(self._begun)

    def snapshot(self) -> Snapshot:
        """Progress now."""
        with self._lock:
            return Snapshot(
                arms=tuple(self._arms[name] for name in sorted(self._arms)),
                elapsed_s=time.monotonic() - self._began,
                left_s=self._left(),
                stopping=self.stop.is_set(),
            )

    def _left(self) -> float | None:
        """Seconds, at each arm's mean time per epoch (or that of all); finished trials have no epochs left."""
        if not self._seconds:
            return None
        overall = (sum(s for s, _ in self._seconds.values()), sum(n for _, n in self._seconds.values()))
        left = 0.0
        for arm, counts in self._arms.items():
            seconds, count = self._seconds.get(arm, overall)
            left += (counts.epochs - counts.epochs_done) * seconds / count
        return left / self.concurrent


def _has_ended(status: str | None) -> bool:
    return status not in (None, "pending", "running")


def _arms_at_first(
    trials: Sequence[Trial], status: Mapping[str, str], errors: Mapping[str, float | None]
) -> dict[str, ArmProgress]:
    arms: dict[str, ArmProgress] = {}
    for trial in trials:
        arm = arms.get(trial.arm, ArmProgress(arm=trial.arm, total=0))
        arms[trial.arm] = _with_error(_counted(arm, trial, status.get(trial.key), 0, 1), errors.get(trial.key))
    return arms


def _counted(arm: ArmProgress, trial: Trial, status: str | None, epochs_done: int, times: int) -> ArmProgress:
    """The counts with a trial of this status (``times`` 1), or without it (-1)."""
    return replace(
        arm,
        total=arm.total + times,
        finished=arm.finished + times * _has_ended(status),
        running=arm.running + times * (status == "running"),
        diverged=arm.diverged + times * (status == "diverged"),
        failed=arm.failed + times * (status in ("failed", "lost")),
        epochs=arm.epochs + times * trial.epochs,
        epochs_done=arm.epochs_done + times * (trial.epochs if _has_ended(status) else epochs_done),
    )


def _with_error(arm: ArmProgress, error: float | None) -> ArmProgress:
    best = [one for one in (arm.best, error) if one is not None]
    return replace(arm, best=min(best, default=None))
