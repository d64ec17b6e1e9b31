"""A claim on a study's MLflow experiment: a second `run` of the study, in another home or on another machine, is refused.

Processes that share a home are kept apart by its lock (:func:`stablesweep.home.locked`); those that share a tracking store
alone see each other's claim. It is a tag of the experiment, not of a run: whoever reads results does not see it change.
A claim that was not renewed for a while has no owner any more, so that a crash holds nobody up for long.

The store cannot compare and write in one step. Of two processes that claim a study at the same moment, both read their
claim again a little later, and the one that was overwritten gives up. What is slower than that (a store that takes longer,
a process that could not reach it for minutes and was taken over) is noticed when the claim is renewed: the process that does not find
its own claim stops then, also where the one that took over has ended meanwhile. Until that, at most a minute, both may have created
runs of the same trials. Clocks that differ by more than a minute or two make claims look older or younger than they are.
"""

import json
import math
import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dashboards import tags
from stablesweep.errors import HomeBusy
from stablesweep.owner import UNREADABLE, LockOwner, plain

BEAT_S = 60.0
"""So often a claim is renewed."""
STALE_S = 180.0
"""A claim that was not renewed for so long has no owner any more."""
MAX_AHEAD_S = 3600.0
"""The owner's clock may be ahead of ours by so much."""
SETTLE_S = 0.5
"""So long after writing it a new claim is read again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Who runs a study, and when it last said so."""

    owner: LockOwner
    home: str
    """The study's folder, as its process names it."""
    beat: float
    """When the claim was renewed, in seconds since 1970 by the owner's clock."""

    @classmethod
    def from_text(cls, text: str) -> "Claim | None":
        """A tag's value; None if it is not a claim."""
        try:
            fields = json.loads(text)
            return cls(owner=LockOwner.from_fields(fields), home=plain(fields["home"]), beat=float(fields["beat"]))
        except UNREADABLE:
            return None

    def as_text(self) -> str:
        """The tag's value."""
        return json.dumps({**self.owner.as_fields(), "home": self.home, "beat": self.beat})

    def is_stale(self) -> bool:
        """Whether it was not renewed for too long."""
        # Not a number, or so far ahead as no clock is: such a claim would never end.
        return not self.beat - MAX_AHEAD_S < time.time() <= self.beat + STALE_S

    def in_words(self) -> str:
        """``process 71 on node-3, since 2026-11-21T14:05:09Z in /data/home/studies/small``."""
        return f"{self.owner.in_words()}, since {self.owner.since} in {self.home}"


class StudyClaim:
    """This process's claim on a study.

    Args:
        client: An :class:`mlflow.MlflowClient`.
        experiment_id: The study's experiment.
        study: The study's name, for messages.
        home: The study's folder; the process holds its lock.
    """

    def __init__(self, client: Any, experiment_id: str, study: str, home: Path) -> None:
        self._client, self._experiment, self._study = client, experiment_id, study
        self._own = Claim(owner=LockOwner.this_process(), home=str(home), beat=time.time())
        self._next = math.inf
        """When to renew it, by the monotonic clock; never before it was taken."""

    def take(self) -> None:
        """Claim the study.

        Raises:
            HomeBusy: If another process has.
        """
        found = self._found()
        self._refuse(found)
        self._write()
        # Nobody else can have claimed it meanwhile if it was this home's already.
        if found is None or found.is_stale() or not self._is_own(found):
            time.sleep(SETTLE_S)
            self._refuse(self._found())

    def renew(self) -> None:
        """Say that the study is still being run, if it is time to; costs nothing otherwise.

        Raises:
            HomeBusy: If another process has claimed the study meanwhile, or had and has ended: what it added is not known here.
        """
        if time.monotonic() < self._next:
            return
        found = self._found()
        if found is None or not self._is_own(found):
            raise HomeBusy(self._taken_over(found))
        self._write()

    def release(self) -> None:
        """Give the study free for others."""
        found = self._found()
        if found is not None and self._is_own(found):
            # Not every server can delete an experiment's tag.
            self._client.set_experiment_tag(self._experiment, tags.CLAIM, "")

    def _taken_over(self, found: Claim | None) -> str:
        who = "another process" if found is None else f"{found.in_words()},"
        ended, way_out = " and has ended", "run again to continue"
        if found is not None and self._is_anothers(found):
            ended, way_out = "", "wait for that process, or stop it and run again"
        return (
            f"{self._study}: {who} has taken over this study, which this process had not said for "
            f"{STALE_S / 60:.0f} minutes that it runs{ended}; nothing more is trained here: {way_out}."
        )

    def _refuse(self, found: Claim | None) -> None:
        if found is None or not self._is_anothers(found):
            return
        free = datetime.fromtimestamp(found.beat + STALE_S, UTC)
        raise HomeBusy(
            f"{self._study}: {found.in_words()}, is running this study on the same tracking store; "
            f"wait for it or stop it; if it crashed, run again after {free:%H:%M:%S} UTC."
        )

    def _is_anothers(self, found: Claim) -> bool:
        """Whether another process has claimed the study and may be running it."""
        return not self._is_own(found) and not found.is_stale() and not self._has_died(found.owner)

    def _is_own(self, found: Claim) -> bool:
        """Whether this process made it, or one before it in the same home, which has ended: the lock says so."""
        own = self._own
        if found.owner.instance and found.owner.instance == own.owner.instance:
            return True
        # In another container the same path may be another folder, with a lock of its own.
        return found.home == own.home and found.owner.is_seen_here()

    @staticmethod
    def _has_died(owner: LockOwner) -> bool:
        if not owner.is_seen_here():
            return False
        if owner.pid == os.getpid():
            # Its id is this process's now, which did not make the claim.
            return True
        try:
            os.kill(owner.pid, 0)
        except PermissionError:
            return False
        except (OSError, OverflowError):
            return True
        return False

    def _found(self) -> Claim | None:
        experiment = self._client.get_experiment(self._experiment)
        return Claim.from_text(experiment.tags.get(tags.CLAIM, ""))

    def _write(self) -> None:
        self._own = replace(self._own, beat=round(time.time(), 3))
        self._client.set_experiment_tag(self._experiment, tags.CLAIM, self._own.as_text())
        self._next = time.monotonic() + BEAT_S
