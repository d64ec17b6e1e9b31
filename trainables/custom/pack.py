"""Trials of one arm that a user's trainable trains side by side."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from trainables.custom.course import Course
from trainables.custom.faults import reason_of
from trainables.custom.member import CustomMember
from trainables.custom.protocol import TrainingContext
from trainables.registry import require_trainable, user_trainable
from trainables.training.checkpoints import read_checkpoint
from trainables.training.checks import check_length, check_trials
from trainables.training.failures import is_the_processes
from trainables.training.lockstep import never
from trainables.training.member_log import apportion
from trainables.training.records import Member, MemberEpoch, MemberResult

STATE_FORMAT = 1

logger = logging.getLogger(__name__)


class CustomPack:
    """The counterpart of :class:`trainables.LockstepPack` for a trainable of the user's own.

    All members are trained by one generator of the trainable. If that raises or ends early, they go on in a generator each, which first
    repeats the epochs that are history, so that the failure of one member changes nothing for the others.

    Source: own.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        trainable: str,
        model: str,
        optimizer: str,
        options: Mapping[str, Any],
        epochs: int,
        study_seed: int,
        device: str = "cpu",
    ) -> None:
        """Checks what is asked for; nothing of the user's runs before the first epoch.

        Args:
            members: At least one; keys are unique.
            trainable: A name that the user registered.
            model: What the trainable is told as the arm's model.
            optimizer: What the trainable is told as the arm's optimizer.
            options: What the trainable is told as the study's options for it; plain values.
            epochs: Length of the training, 1 or more.
            study_seed: 0 or more.
            device: Where to train, as torch names it.

        Raises:
            UnknownName: If there is no trainable of this name.
            ValueError: If a value is out of range.
        """
        require_trainable(trainable)
        check_trials(members)
        check_length(epochs=epochs, study_seed=study_seed)
        self.epoch = 0
        """Epochs done."""
        self.step = 0
        """Always 0: an epoch of a user's trainable is one step."""
        self.train_seconds = 0.0
        """Time this object spent in the trainable, all members together."""
        self.eval_seconds = 0.0
        """Always 0: what a trainable evaluates is part of its epoch."""
        self._asked: dict[str, Any] = {
            "trainable": trainable,
            "model": model,
            "optimizer": optimizer,
            "options": deepcopy(dict(options)),
            "epochs": epochs,
            "study_seed": study_seed,
            "device": device.partition(":")[0],
        }
        self._epochs, self._device = epochs, device
        self._members = {member.key: CustomMember(member) for member in members}
        self._courses: list[Course] = []
        self._alone = False
        self._interrupted = False
        self._warned = False

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: all epochs are done, or no member is live."""
        return self.epoch >= self._epochs or not self._live()

    def run_epoch(self, pause: Callable[[], bool] = never) -> list[MemberEpoch]:
        """Trains every live member for one epoch and returns the records of those that got through.

        A member that diverges or fails stops there; its status says so in :meth:`results`.

        Args:
            pause: Asked only while epochs that are history are repeated. Once it says yes, nothing is returned, and the
                next call goes on from there.

        Raises:
            RuntimeError: If the pack is finished, or an earlier epoch was interrupted by an exception.
            MemoryError, torch.OutOfMemoryError: If memory ran out; the pack is then of no further use.
        """
        if self.finished:
            raise RuntimeError("the pack is finished; ask `finished` before running another epoch")
        self._require_whole_epochs()
        self._interrupted = True
        started = time.perf_counter()
        taking_part = self._live()
        trained = self._train(pause)
        self._settle()
        wall = time.perf_counter() - started
        self.train_seconds += wall
        # Its members are asked for their time and charged, whatever their class.
        apportion(wall, taking_part)
        self._interrupted = False
        return [member.history[-1] for member in taking_part if member.close_epoch(self.epoch)] if trained else []

    def stop(self, reasons: Mapping[str, str]) -> None:
        """Ends the training of these members, as far as they are live, with the status ``pruned``.

        Args:
            reasons: Why, one line each, by key.
        """
        for member in self._live():
            if member.member.key in reasons:
                member.end("pruned", reasons[member.member.key])
        self._settle()

    def take_problems(self) -> set[str]:
        """None: a trainable reads its data itself."""
        return set()

    def results(self) -> list[MemberResult]:
        """Where each member stands, in the order in which the members were given."""
        return [member.result() for member in self._members.values()]

    def state_dict(self) -> dict[str, Any]:
        """The pack between two epochs: tensors on the CPU and plain containers, so that ``weights_only`` loads it.

        Raises:
            RuntimeError: If an epoch was interrupted half-way.
        """
        self._require_whole_epochs()
        return {
            "format": STATE_FORMAT,
            "asked": deepcopy(self._asked),
            "epoch": self.epoch,
            "alone": self._alone,
            "members": {key: member.log_state() for key, member in self._members.items()},
            "kept": self._kept(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what :meth:`state_dict` returned; members are matched by key, further ones are ignored.

        Members that have ended stay as they are. If the state of a live one was not kept, all live ones start over at
        the first epoch.

        Raises:
            ValueError: If the state is of another study's pack, lacks a member, or holds one with another seed or other
                hyperparameters. The pack is then of no further use.
        """
        read_checkpoint(state, version=STATE_FORMAT, asked=self._asked, keys=self._members, load=self._load)

    def _load(self, state: dict[str, Any]) -> None:
        for key, member in self._members.items():
            member.require_same(state["members"][key])
        running = [key for key in self._members if state["members"][key]["status"] == "running"]
        goes_on = all(key in state["kept"] for key in running)
        for key, member in self._members.items():
            if goes_on or key not in running:
                member.load_log(state["members"][key])
        if goes_on:
            self.epoch, self._alone = state["epoch"], state["alone"]
            self._courses = self._restored({key: state["kept"][key] for key in running})

    def _restored(self, kept: Mapping[str, tuple[int, Any]]) -> list[Course]:
        groups = [[key] for key in kept] if self._alone else [list(kept)]
        return [
            self._course(keys, epoch=kept[keys[0]][0], state={key: kept[key][1] for key in keys})
            for keys in groups
            if keys
        ]

    def _kept(self) -> dict[str, tuple[int, Any]]:
        """What the trainable keeps of the live members, by key: the epochs it has done with it, and its state."""
        kept: dict[str, tuple[int, Any]] = {}
        live = {member.member.key for member in self._live()}
        try:
            for course in self._courses:
                kept.update({key: (course.epoch, own) for key, own in course.kept().items() if key in live})
        except Exception as error:
            if is_the_processes(error):
                raise
            # No reason to fail a trial: its result does not depend on checkpoints.
            self._warn(error)
            return {}
        return kept

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            name, reason = self._asked["trainable"], reason_of(error)
            logger.warning("trainable %r: its state cannot be kept (%s); a continued pack starts over.", name, reason)
        self._warned = True

    def _live(self) -> list[CustomMember]:
        return [member for member in self._members.values() if member.live]

    def _train(self, pause: Callable[[], bool]) -> bool:
        """Trains the next epoch; false if it was left at a pause before it began."""
        self._courses = self._courses or [self._course([member.member.key for member in self._live()])]
        while True:
            for course in list(self._courses):
                while course in self._courses and course.epoch < self.epoch:
                    self._advanced(course)
                    if pause():
                        return False
            outcomes: dict[str, Any] = {}
            for course in list(self._courses):
                outcomes.update(self._advanced(course))
            if all(course.epoch > self.epoch for course in self._courses):
                break
        self.epoch += 1
        self._end_epoch(outcomes)
        return True

    def _advanced(self, course: Course) -> Mapping[str, Any]:
        """What one more epoch of a generator yields; nothing if it raised, which is then seen to."""
        try:
            outcomes, seconds = course.advance()
        except Exception as error:
            if is_the_processes(error):
                raise
            self._blame(course, error)
            return {}
        for key, own in seconds.items():
            self._members[key].own_seconds += own
        return outcomes

    def _blame(self, course: Course, error: Exception) -> None:
        """Ends the member whose generator raised or ended; where several had one, gives each its own, to find which it is."""
        course.close()
        self._courses.remove(course)
        keys = [key for key in course.keys if self._members[key].live]
        if len(course.keys) > 1:
            self._alone = True
            self._courses = [self._course([key]) for key in keys]
            return
        for key in keys:
            self._members[key].end("failed", reason_of(error))

    def _end_epoch(self, outcomes: Mapping[str, Any]) -> None:
        for member in self._live():
            key = member.member.key
            outcome = outcomes.get(key)
            if isinstance(outcome, Exception):
                if is_the_processes(outcome):
                    raise outcome
                member.end("failed", reason_of(outcome))
            elif key in outcomes:
                member.end_epoch(self.epoch, outcome, last=self.epoch == self._epochs)
            else:
                member.end("failed", f"the trainable yielded nothing for this member in epoch {self.epoch}")

    def _settle(self) -> None:
        """Tells the generators who has stopped, and ends those that train nobody."""
        live = {member.member.key for member in self._live()}
        for course in list(self._courses):
            course.stop(set(course.keys) - live)
            if self.finished or not live & set(course.keys):
                course.close()
                self._courses.remove(course)

    def _course(self, keys: Sequence[str], *, epoch: int = 0, state: Mapping[str, Any] | None = None) -> Course:
        trainable = user_trainable(self._asked["trainable"])
        assert trainable is not None, "checked when the pack was made"
        return Course(
            trainable,
            [self._members[key].member for key in keys],
            self._context,
            epoch=epoch,
            state=state,
        )

    def _context(self) -> TrainingContext:
        asked = {name: value for name, value in deepcopy(self._asked).items() if name != "trainable"}
        return TrainingContext(**{**asked, "device": self._device})

    def _require_whole_epochs(self) -> None:
        if self._interrupted:
            raise RuntimeError(
                "an epoch was interrupted half-way; make a new pack and load the last checkpoint into it"
            )
