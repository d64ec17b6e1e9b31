"""Many trials trained side by side on the same batches, each as if it were alone."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from trainables.data import ImageData, batch_order
from trainables.failures import one_line
from trainables.member import MemberTraining
from trainables.optimizers import require_hyperparameters
from trainables.plan import TrainingPlan
from trainables.recipe import Recipe
from trainables.records import Member, MemberEpoch, MemberResult
from trainables.registry import model_names, require_known

EVAL_BATCH_SIZE = 256
"""Fixed, because the last bits of a result may depend on it."""
STATE_FORMAT = 1


class LockstepPack:
    """Members that are trained on each batch in turn, so that a batch is prepared once for all of them.

    A member's numbers depend on its seed and hyperparameters and on what the pack was asked for (model, optimizer, data,
    recipe, epochs, study seed), not on the other members, its place among them, or interruptions: to the bit on a CPU
    with a fixed number of torch threads. Every member has its own torch generator; global generators are left as they
    were. A model that draws from other generators (``random``, numpy) is outside this promise.

    Source: own.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        model: str,
        optimizer: str,
        data: ImageData,
        recipe: Recipe,
        epochs: int,
        study_seed: int,
        device: str = "cpu",
    ) -> None:
        """Checks what is asked for; models are built when the first epoch starts.

        Args:
            members: At least one; keys are unique.
            model: One of :func:`trainables.model_names`.
            optimizer: One of :func:`trainables.optimizer_names`.
            data: The images; stays on the CPU, batches are moved.
            recipe: Training settings.
            epochs: Length of the training, 1 or more; the schedule ends there.
            study_seed: 0 or more; with the epoch it decides the order of the images.
            device: Where to train, as torch names it.

        Raises:
            UnknownName: If the model, the optimizer or a hyperparameter is unknown.
            ValueError: If a value is out of range, or a hyperparameter is missing.
        """
        _check(members, model=model, optimizer=optimizer, epochs=epochs)
        self.epoch = 0
        """Epochs done."""
        self.train_seconds = 0.0
        """Time this object spent training, all members together."""
        self.eval_seconds = 0.0
        """Time this object spent evaluating, all members together."""
        self._data, self._recipe, self._study_seed = data, recipe, study_seed
        self._batch_order(1)  # bad sizes and seeds raise now, not in the first epoch
        self._plan = TrainingPlan(
            model=model,
            optimizer=optimizer,
            num_classes=data.num_classes,
            image_size=data.image_size,
            channels=data.channels,
            recipe=recipe,
            steps_per_epoch=len(data.train_images) // recipe.batch_size,
            epochs=epochs,
            device=torch.device(device),
        )
        self._members = [MemberTraining(member, self._plan) for member in members]
        self._mid_epoch = False

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: all epochs are done, or no member is live."""
        return self.epoch >= self._plan.epochs or not self._live()

    def run_epoch(self) -> list[MemberEpoch]:
        """Trains every live member for one epoch, evaluates it, and returns the records of those that got through.

        A member that diverges or raises stops there; its status says so in :meth:`results`.

        Raises:
            RuntimeError: If the pack is finished, or an earlier epoch was interrupted.
            MemoryError, torch.OutOfMemoryError: If memory ran out; the pack is then of no further use.
        """
        if self.finished:
            raise RuntimeError("the pack is finished; ask `finished` before running another epoch")
        self._require_whole_epochs()
        self._mid_epoch = True
        self._train(self.epoch + 1)
        trained = self._live()
        self._evaluate(self.epoch + 1)
        self.epoch += 1
        self._mid_epoch = False
        return [training.history[-1] for training in trained if training.close_epoch(self.epoch)]

    def results(self) -> list[MemberResult]:
        """Where each member stands, in the order in which the members were given."""
        return [training.result() for training in self._members]

    def state_dict(self) -> dict[str, Any]:
        """The pack between two epochs: tensors on the CPU and plain containers, so that ``weights_only`` loads it.

        Raises:
            RuntimeError: If an epoch was interrupted half-way.
        """
        self._require_whole_epochs()
        return {
            "format": STATE_FORMAT,
            "asked": self._asked(),
            "epoch": self.epoch,
            "members": {training.member.key: training.state_dict() for training in self._members},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what :meth:`state_dict` returned; members are matched by key, further ones are ignored.

        Raises:
            ValueError: If the state is of another study's pack, lacks a member, or holds one with another seed or other
                hyperparameters. The pack is then of no further use.
        """
        if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
            raise ValueError(f"the checkpoint is not of format {STATE_FORMAT}; delete it to start these trials anew")
        try:
            self._load(state)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the checkpoint is damaged ({one_line(error)}); delete it to start these trials anew"
            ) from error

    def _load(self, state: dict[str, Any]) -> None:
        for name, asked in self._asked().items():
            if (found := state["asked"].get(name)) != asked:
                raise ValueError(
                    f"the checkpoint was made with {name} = {found!r}, the study asks for {asked!r}; "
                    "give the study another name, or restore what it was"
                )
        for training in self._members:
            if training.member.key not in state["members"]:
                raise ValueError(f"the checkpoint has no member {training.member.key!r}; train it in a pack of its own")
            training.load_state_dict(state["members"][training.member.key])
        self.epoch = state["epoch"]

    def _asked(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "model": plan.model,
            "optimizer": plan.optimizer,
            "dataset": self._data.name,
            "image_size": plan.image_size,
            "num_train": len(self._data.train_images),
            "recipe": plan.recipe.model_dump(),
            "epochs": plan.epochs,
            "study_seed": self._study_seed,
        }

    def _live(self) -> list[MemberTraining]:
        return [training for training in self._members if training.live]

    def _train(self, epoch: int) -> None:
        started = time.perf_counter()
        taking_part = self._live()
        for training in taking_part:
            training.begin_epoch()
        first_step = (epoch - 1) * self._plan.steps_per_epoch
        for step, index in enumerate(self._batch_order(epoch), start=first_step):
            live = self._live()
            if not live:
                break
            images = self._data.normalised(self._data.train_images[index], self._plan.device)
            labels = self._data.train_labels[index].to(self._plan.device)
            for training in live:
                # Copies: a model that works in place must not change what its neighbours see.
                training.train_step(images.clone(), labels.clone(), step)
        self._synchronise()
        for training in self._live():
            training.end_training(epoch)
        wall = time.perf_counter() - started
        self.train_seconds += wall
        apportion(wall, taking_part)

    def _evaluate(self, epoch: int) -> None:
        started = time.perf_counter()
        taking_part = self._live()
        data = self._data
        for at in range(0, len(data.eval_images) if taking_part else 0, EVAL_BATCH_SIZE):
            images = data.normalised(data.eval_images[at : at + EVAL_BATCH_SIZE], self._plan.device)
            labels = data.eval_labels[at : at + EVAL_BATCH_SIZE].to(self._plan.device)
            for training in self._live():
                training.evaluate(images.clone(), labels.clone())
        self._synchronise()
        for training in self._live():
            training.end_epoch(epoch, len(data.eval_images))
        wall = time.perf_counter() - started
        self.eval_seconds += wall
        apportion(wall, taking_part)

    def _batch_order(self, epoch: int) -> torch.Tensor:
        data, recipe = self._data, self._recipe
        return batch_order(len(data.train_images), recipe.batch_size, study_seed=self._study_seed, epoch=epoch)

    def _synchronise(self) -> None:
        # Else the first member to read its sums would be charged for everybody's outstanding work.
        if self._plan.device.type == "cuda":
            torch.cuda.synchronize(self._plan.device)

    def _require_whole_epochs(self) -> None:
        if self._mid_epoch:
            raise RuntimeError(
                "an epoch was interrupted half-way; make a new pack and load the last checkpoint into it"
            )


def apportion(wall_seconds: float, trainings: Sequence[MemberTraining]) -> None:
    """Charges the members for a stretch of the pack's time, in proportion to the time spent in their own calls.

    So that the members' seconds sum to the pack's, shared work such as preparing batches included.
    """
    own = [training.take_host_seconds() for training in trainings]
    total = sum(own)
    for training, seconds in zip(trainings, own, strict=True):
        training.charge(wall_seconds * (seconds / total if total > 0 else 1 / len(trainings)))


def _check(members: Sequence[Member], *, model: str, optimizer: str, epochs: int) -> None:
    require_known("model", model, model_names())
    if epochs < 1:
        raise ValueError(f"epochs: got {epochs}, expected 1 or more")
    if not members:
        raise ValueError("members: got none, expected at least one")
    keys = [member.key for member in members]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"members: key {twice!r} occurs twice; give each member its own key")
    for member in members:
        if member.seed < 0:
            raise ValueError(f"member {member.key!r}: seed is {member.seed}, expected 0 or more")
        require_hyperparameters(optimizer, member.hyperparameters)
