"""A pack whose members are trained in one pass, stacked along a model axis."""

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from trainables.recipes.mixing import TrainBatch
from trainables.text import one_line
from trainables.training.failures import is_out_of_memory, is_the_processes
from trainables.training.fused.choice import Choice
from trainables.training.fused.members import FusedMembers
from trainables.training.fused.stack import CannotFuse
from trainables.training.lockstep import LockstepPack
from trainables.training.member import MemberTraining
from trainables.training.member_log import spent_on_each
from trainables.training.records import Member, PackWay


class FusedPack(LockstepPack):
    """A :class:`LockstepPack` that trains its members together where it can, and in a loop where it cannot.

    Every number is that of the loop but for rounding. What a member is, what a checkpoint holds and what is returned are the
    same, so that either kind of pack goes on from the other's checkpoint.

    Fused are models that ``torch.vmap`` can run without looping over them and that draw no random numbers (dropout, stochastic
    depth), with adamw or sgd, on one worker. Whether a pack's are is seen at its first batch.

    Source: own.
    """

    def __init__(self, members: Sequence[Member], *, measure: bool = False, **asked: Any) -> None:
        """As :class:`LockstepPack`.

        Args:
            members: See there.
            measure: Whether to train some steps in a loop and some fused, and to go on in the way that took less time; in
                a loop where the memory does not suffice for fused steps.
            asked: Keyword arguments of :class:`LockstepPack`.
        """
        super().__init__(members, **asked)
        self._fused: FusedMembers | None = None
        self._compared = False
        self._measure = measure
        self._choice = Choice(["loop", "fused"] if measure else ["fused"], self._synchronise)
        if self._ranks.world > 1:
            self.note = "a pack of several workers is trained in a loop"

    @property
    def way(self) -> PackWay:
        """As :attr:`LockstepPack.way`."""
        return "loop" if self.note is not None or self._choice.way == "loop" else "fused"

    @property
    def settled(self) -> bool:
        """As :attr:`LockstepPack.settled`."""
        return self.note is not None or self._choice.decided

    def state_dict(self) -> dict[str, Any]:
        """As :meth:`LockstepPack.state_dict`."""
        if self._fused is not None:
            self._fused.write_back()
        return super().state_dict()

    def _load(self, state: dict[str, Any]) -> None:
        self._fused = None
        super()._load(state)

    def _begin(self, taking_part: Sequence[MemberTraining]) -> None:
        super()._begin(taking_part)
        if self._fused is not None:
            self._fused.attach()

    def _train_members(self, batch: TrainBatch, taking_part: Sequence[MemberTraining], step: int) -> None:
        with self._choice.timed():
            if self.way == "loop":
                super()._train_members(batch, taking_part, step)
            elif not self._train_fused(batch, taking_part, step):
                _free_memory()
                super()._train_members(batch, taking_part, step)
        if self.way == "loop" and self._fused is not None:
            self._fall_back(self._slower())
            _free_memory()

    def _train_fused(self, batch: TrainBatch, taking_part: Sequence[MemberTraining], step: int) -> bool:
        """Whether the step could be done fused; nothing has changed if not."""
        live = tuple(training for training in taking_part if training.live)
        if not live:
            return True
        with spent_on_each(live):
            return self._step_of_all(batch, live, step)

    def _step_of_all(self, batch: TrainBatch, live: tuple[MemberTraining, ...], step: int) -> bool:
        try:
            fused = self._fused_for(live, batch)
            fused.backward(replace(batch, images=batch.images.clone()))
        except Exception as error:
            if self._ends_the_pack(error):
                raise
            self._fall_back(str(error) if isinstance(error, CannotFuse) else one_line(error))
            return False
        fused.update(step)
        return True

    def _evaluate_members(
        self, images: torch.Tensor, labels: torch.Tensor, taking_part: Sequence[MemberTraining]
    ) -> None:
        live = {id(training) for training in taking_part if training.live}
        together = self._fused is not None and live <= {id(training) for training in self._fused.members}
        if self._fused is not None and together and _evaluates_together(images.device):
            try:
                with spent_on_each([training for training in taking_part if training.live]):
                    self._fused.evaluate(images.clone(), labels)
                return
            except Exception as error:
                if self._ends_the_pack(error):
                    raise
                self._fall_back(one_line(error))
            _free_memory()
        super()._evaluate_members(images, labels, taking_part)

    def _fused_for(self, live: tuple[MemberTraining, ...], batch: TrainBatch) -> FusedMembers:
        """The stack of exactly these members, made anew where some have ended."""
        if self._fused is None or self._fused.members != live:
            if self._fused is not None:
                self._fused.write_back()
            # Its memory is needed for the next one.
            self._fused = None
            self._fused = FusedMembers(live, batch)
            if not self._compared:
                self._fused.compare(batch)
                self._compared = True
        return self._fused

    def _ends_the_pack(self, error: Exception) -> bool:
        """Whether to raise it; a lack of memory only where the pack must be fused: it is divided then."""
        return is_the_processes(error) and not (self._measure and is_out_of_memory(error))

    def _slower(self) -> str:
        fused, loop = (1000 * self._choice.step_seconds(way) for way in ("fused", "loop"))
        return f"fused steps took {fused:.3g} ms, those of the loop {loop:.3g} ms"

    def _fall_back(self, why: str) -> None:
        """The loop from now on."""
        self.note = why
        if self._fused is not None:
            self._fused.write_back()
        self._fused = None


def _free_memory() -> None:
    """Gives back what a stack has left; not while its exception is handled, whose frames still hold it."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _evaluates_together(device: torch.device) -> bool:
    """Not on a CPU: each member alone, on its part of the stack, has the loop's numbers in as much time, less memory."""
    return device.type != "cpu"
