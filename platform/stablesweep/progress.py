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
        self._errors = {state.key: state.error for state in states}
        self._epochs: dict[str, int] = {}
        self._seconds: dict[str, tuple[float, int]] = {}
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
                self._status.setdefault(message.key, "running")
                self._begun.add(message.pack)
            case EpochDone():
                self._epochs[message.key] = max(message.epoch, self._epochs.get(message.key, 0))
                seconds, count = self._seconds.get(self._trials[message.key].arm, (0.0, 0))
                self._seconds[self._trials[message.key].arm] = (seconds + message.seconds, count + 1)
            case TrialEnded():
                if self._status.get(message.key) in (None, "running"):
                    self._status[message.key] = message.status
                    self._errors[message.key] = message.error
            case PackTimed():
                for part in self.timing:
                    self.timing[part] += getattr(message, part)

    def begun(self) -> set[str]:
        """Names of the packs whose training has begun in this run."""
        with self._lock:
            return set(self._begun)

    def snapshot(self) -> Snapshot:
        """Progress now."""
        with self._lock:
            return Snapshot(
                arms=self._arms(),
                elapsed_s=time.monotonic() - self._began,
                left_s=self._left(),
                stopping=self.stop.is_set(),
            )

    def _arms(self) -> tuple[ArmProgress, ...]:
        arms: dict[str, ArmProgress] = {}
        for key, trial in self._trials.items():
            arm = arms.get(trial.arm, ArmProgress(arm=trial.arm, total=0))
            status, error = self._status.get(key, "pending"), self._errors.get(key)
            arms[trial.arm] = _with_trial(arm, trial.epochs, self._epochs.get(key, 0), status, error)
        return tuple(arms[name] for name in sorted(arms))

    def _left(self) -> float | None:
        if not self._seconds:
            return None
        return sum(_arm_seconds_left(self._trials, self._status, self._epochs, self._seconds)) / self.concurrent


def _with_trial(arm: ArmProgress, epochs: int, epochs_done: int, status: str, error: float | None) -> ArmProgress:
    finished = status not in ("pending", "running")
    best = arm.best if error is None else min(error, arm.best if arm.best is not None else error)
    return replace(
        arm,
        total=arm.total + 1,
        finished=arm.finished + finished,
        running=arm.running + (status == "running"),
        diverged=arm.diverged + (status == "diverged"),
        failed=arm.failed + (status in ("failed", "lost")),
        best=best,
        epochs=arm.epochs + epochs,
        epochs_done=arm.epochs_done + (epochs if finished else epochs_done),
    )


def _arm_seconds_left(
    trials: Mapping[str, Trial],
    status: Mapping[str, str],
    epochs: Mapping[str, int],
    seconds: Mapping[str, tuple[float, int]],
) -> list[float]:
    """Worker-seconds that each unfinished trial still needs, at its arm's mean time per epoch (or that of all)."""
    overall = sum(s for s, _ in seconds.values()) / sum(n for _, n in seconds.values())
    left = []
    for key, trial in trials.items():
        if status.get(key, "pending") in ("pending", "running"):
            spent, count = seconds.get(trial.arm, (overall, 1))
            left.append((trial.epochs - epochs.get(key, 0)) * spent / count)
    return left
