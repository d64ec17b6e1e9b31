"""Many trials trained side by side on the same batches, each as if it were alone."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch

from trainables.data.dataset import UNREADABLE, Batch, Dataset, RandomCrop, Reading
from trainables.data.resident import resident
from trainables.data.transfer import to_device
from trainables.recipes.mixing import TrainBatch
from trainables.recipes.recipe import Recipe
from trainables.training.checkpoints import read_checkpoint
from trainables.training.checks import augmentation_of, check_members, check_sizes, shared_recipe
from trainables.training.failures import MemberFailedAlone
from trainables.training.member import MemberTraining
from trainables.training.member_log import apportion
from trainables.training.plan import TrainingPlan
from trainables.training.ranks import Ranks
from trainables.training.records import Member, MemberEpoch, MemberResult, PackWay

EVAL_BATCH_SIZE = 256
"""Images that a rank evaluates at a time: fixed, because the last bits of a result may depend on it."""
STEPS_BETWEEN_AGREEMENTS = 8
"""Several ranks agree on a pause this often: each time costs an exchange."""
STATE_FORMAT = 2


def never() -> bool:
    """No."""
    return False


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
        data: Dataset,
        recipe: Recipe,
        epochs: int,
        study_seed: int,
        device: str = "cpu",
        model_options: Mapping[str, Any] | None = None,
        ranks: Ranks | None = None,
        decode_workers: int = 0,
        device_share: float = 1.0,
    ) -> None:
        """Checks what is asked for; models are built when the first epoch starts.

        Args:
            members: At least one; keys are unique.
            model: A name that :func:`trainables.create_model` takes.
            optimizer: A name that :func:`trainables.create_optimizer` takes.
            data: The images; batches are moved to the device, or all of it at once (:func:`~trainables.data.resident.resident`).
            recipe: Training settings, for all that is not among a member's hyperparameters.
            epochs: Length of the training, 1 or more; the schedule ends there.
            study_seed: 0 or more; with the epoch it decides the order of the images and their augmentation.
            device: Where to train, as torch names it.
            model_options: Further keyword arguments of :func:`trainables.create_model`.
            ranks: The processes that train the pack together; by default this one alone.
            decode_workers: Processes that read and decode images for this one, if the dataset uses any.
            device_share: Of the device, what is for this pack: others train beside it.

        Raises:
            UnknownName: If the model, the optimizer or a hyperparameter is unknown.
            ValueError: If a value is out of range, a hyperparameter is missing, or members differ in one of
                :data:`trainables.hyperparameters.SHARED_FIELDS`.
        """
        ranks = ranks or Ranks()
        check_members(members, model=model, optimizer=optimizer)
        asked, recipe = recipe, shared_recipe(members, recipe=recipe, optimizer=optimizer)
        check_sizes(data, recipe, epochs=epochs, study_seed=study_seed, world=ranks.world)
        self.epoch = 0
        """Epochs done."""
        self.step = 0
        """Steps done in the epoch that has begun; 0 between two epochs."""
        self.train_seconds = 0.0
        """Time this object spent training, all members together."""
        self.eval_seconds = 0.0
        """Time this object spent evaluating, all members together."""
        self._data = resident(data, torch.device(device), device_share)
        self._asked_recipe, self._study_seed, self._ranks = asked, study_seed, ranks
        self._decode_workers = decode_workers
        self._plan = TrainingPlan(
            model=model,
            model_options=dict(model_options or {}),
            optimizer=optimizer,
            num_classes=data.num_classes,
            image_size=data.image_size,
            channels=data.channels,
            recipe=recipe,
            steps_per_epoch=data.num_train // recipe.batch_size,
            epochs=epochs,
            device=torch.device(device),
            ranks=ranks,
        )
        self._augmentation = augmentation_of(data, recipe)
        self._members = [MemberTraining(member, self._plan) for member in members]
        self._problems: set[str] = set()
        self._interrupted = False
        self.note: str | None = None
        """Why the members are trained in a loop after all, half a sentence; None where nothing else was tried."""

    @property
    def way(self) -> PackWay:
        """How the next step trains the members: one after the other, or all at once."""
        return "loop"

    @property
    def settled(self) -> bool:
        """Whether the pack knows the way that it goes on in; until then, steps may take longer than they will."""
        return True

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: all epochs are done, or no member is live."""
        return self.epoch >= self._plan.epochs or not self._live()

    def run_epoch(self, pause: Callable[[], bool] = never) -> list[MemberEpoch]:
        """Trains every live member for one epoch, evaluates it, and returns the records of those that got through.

        A member that diverges or raises stops there; its status says so in :meth:`results`.

        Args:
            pause: Asked between steps. Once it says yes, the epoch is left where it is: nothing is returned, ``step`` says
                how far it got, and the next call goes on from there. With several ranks the first one's answer counts.

        Raises:
            RuntimeError: If the pack is finished, or an earlier epoch was interrupted by an exception.
            ValueError: If the dataset cannot be read.
            MemberFailedAlone: If a member failed on one of several ranks in the middle of an exchange.
            MemoryError, torch.OutOfMemoryError: If memory ran out; the pack is then of no further use.
        """
        if self.finished:
            raise RuntimeError("the pack is finished; ask `finished` before running another epoch")
        self._require_whole_steps()
        self._interrupted = True
        trained = self._train(self.epoch + 1, pause)
        if not self.step:
            self._evaluate(self.epoch + 1)
            self.epoch += 1
        self._interrupted = False
        return (
            [training.history[-1] for training in trained if training.close_epoch(self.epoch)] if not self.step else []
        )

    def take_problems(self) -> set[str]:
        """What was wrong with the unreadable samples that were skipped since this was last asked, a sentence each.

        With several ranks, all must call it, and each gets the sentences of all.
        """
        problems, self._problems = self._problems, set()
        return set().union(*self._ranks.gather(problems))

    def results(self) -> list[MemberResult]:
        """Where each member stands, in the order in which the members were given."""
        return [training.result() for training in self._members]

    def stop(self, reasons: Mapping[str, str]) -> None:
        """Ends the training of these members: their status is ``pruned``, what they have done is kept.

        It changes nothing for the others. A member that has ended already stays as it ended. With several ranks, all must
        call it at the same step with the same keys.

        Args:
            reasons: Why, in one line, by the member's key.

        Raises:
            ValueError: If the pack has no member of a key; nothing is changed then.
            RuntimeError: If a step was interrupted half-way.
        """
        self._require_whole_steps()
        by_key = {training.member.key: training for training in self._members}
        for key in reasons:
            if key not in by_key:
                raise ValueError(f"stop: no member of the pack has the key {key!r}; give keys of its members")
        for key, reason in reasons.items():
            if by_key[key].live:
                by_key[key].prune(reason)

    def state_dict(self) -> dict[str, Any]:
        """The pack between two steps: tensors on the CPU and plain containers, so that ``weights_only`` loads it.

        With several ranks, all must call it; what the first one gets is the checkpoint.

        Raises:
            RuntimeError: If a step was interrupted half-way.
        """
        self._require_whole_steps()
        return {
            "format": STATE_FORMAT,
            "asked": self._asked(),
            "epoch": self.epoch,
            "step": self.step,
            "members": {training.member.key: training.state_dict() for training in self._members},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what :meth:`state_dict` returned; members are matched by key, further ones are ignored.

        Raises:
            ValueError: If the state is of another study's pack, lacks a member, or holds one with another seed or other
                hyperparameters. The pack is then of no further use.
        """
        keys = [training.member.key for training in self._members]
        read_checkpoint(state, version=STATE_FORMAT, asked=self._asked(), keys=keys, load=self._load)

    def _load(self, state: dict[str, Any]) -> None:
        for training in self._members:
            training.load_state_dict(state["members"][training.member.key])
        self.epoch, self.step = state["epoch"], state["step"]

    def _asked(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "model": plan.model,
            "model_options": dict(plan.model_options),
            "optimizer": plan.optimizer,
            "dataset": self._data.name,
            "image_size": plan.image_size,
            "num_train": self._data.num_train,
            "recipe": self._asked_recipe.model_dump(),
            "epochs": plan.epochs,
            "study_seed": self._study_seed,
            "workers": self._ranks.world,
        }

    def _live(self) -> list[MemberTraining]:
        return [training for training in self._members if training.live]

    def _train(self, epoch: int, pause: Callable[[], bool]) -> list[MemberTraining]:
        """Trains to the end of the epoch, where ``step`` is 0 again, or to a pause; returns the members that took part."""
        started = time.perf_counter()
        taking_part = self._live()
        self._begin(taking_part)
        self._steps(epoch, taking_part, pause)
        self._synchronise()
        sums = self._summed([training.training_sums() for training in taking_part])
        for training, own in zip(taking_part, sums, strict=True):
            if training.live:
                training.end_training(epoch, own) if not self.step else training.fail_with_others(own)
        wall = time.perf_counter() - started
        self.train_seconds += wall
        apportion(wall, taking_part)
        return taking_part

    def _begin(self, taking_part: Sequence[MemberTraining]) -> None:
        for training in taking_part:
            if self.step:
                training.build()
            else:
                training.begin_epoch()

    def _steps(self, epoch: int, taking_part: Sequence[MemberTraining], pause: Callable[[], bool]) -> None:
        per_epoch, first = self._plan.steps_per_epoch, (epoch - 1) * self._plan.steps_per_epoch
        with closing(self._train_batches(epoch)) as batches:
            while self.step < per_epoch and self._anyone(taking_part):
                self._step(next(batches), taking_part, epoch, first + self.step)
                self.step += 1
                if self.step < per_epoch and self._pauses(pause):
                    return
        self.step = 0

    def _train_batches(self, epoch: int) -> Generator[Batch]:
        recipe = self._plan.recipe
        crop = RandomCrop(area=recipe.crop_area, ratio=recipe.crop_ratio) if recipe.crop == "random_resized" else None
        reading = self._reading(recipe.batch_size, self.step)
        # A generator of our own, so that it can be closed; closing it closes the dataset's.
        yield from self._data.train_batches(reading, study_seed=self._study_seed, epoch=epoch, crop=crop)
        raise ValueError(
            f"dataset {self._data.name!r}: epoch {epoch} ended after {self.step} of {self._plan.steps_per_epoch} steps; "
            "train_batches must yield num_train // batch_size batches"
        )

    def _augmented(self, read: Batch, epoch: int, step_of_epoch: int, *, mix: bool = True) -> TrainBatch:
        device = self._plan.device
        return self._augmentation.augment(
            to_device(read.images, device),
            to_device(read.labels, device),
            study_seed=self._study_seed,
            epoch=epoch,
            step=step_of_epoch,
            rank=self._ranks.rank,
            world=self._ranks.world,
            mix=mix,
        )

    def _step(self, read: Batch, taking_part: Sequence[MemberTraining], epoch: int, step: int) -> None:
        self._problems.update(read.problems)
        self._train_members(self._augmented(read, epoch, self.step), taking_part, step)

    def _train_members(self, batch: TrainBatch, taking_part: Sequence[MemberTraining], step: int) -> None:
        for training in taking_part:
            if training.live:
                # A copy: a model that works in place must not change what its neighbours see.
                training.backward(replace(batch, images=batch.images.clone()), step)
                self._require_no_lone_failure(training)
            if self._ranks.world == 1 and training.live:
                training.update(step)
        if self._ranks.world > 1:
            self._ranks.average_([gradient for training in taking_part for gradient in training.gradients()])
            for training in taking_part:
                if training.live:
                    training.update(step)

    def _evaluate(self, epoch: int) -> None:
        started = time.perf_counter()
        taking_part = self._live()
        self._prepare_batch_norm(epoch, taking_part)
        counted = torch.zeros((), dtype=torch.int64, device=self._plan.device)
        if taking_part:
            with closing(self._eval_batches()) as batches:
                for batch in batches:
                    counted += self._evaluate_batch(batch, taking_part)
        self._synchronise()
        num_eval = int(self._ranks.sum(counted))
        if taking_part and not num_eval:
            raise ValueError(
                f"dataset {self._data.name!r}: no evaluation image could be read; repair the files it names"
            )
        sums = self._summed([training.evaluation_sums() for training in taking_part])
        for training, own in zip(taking_part, sums, strict=True):
            if training.live:
                training.end_epoch(epoch, num_eval, own)
        wall = time.perf_counter() - started
        self.eval_seconds += wall
        apportion(wall, taking_part)

    def _eval_batches(self) -> Generator[Batch]:
        yield from self._data.eval_batches(self._reading(EVAL_BATCH_SIZE * self._ranks.world, 0))

    def _prepare_batch_norm(self, epoch: int, taking_part: Sequence[MemberTraining]) -> None:
        """Batch norm's statistics as the evaluation needs them: computed anew if the recipe says so, equal on all ranks."""
        recipe = self._plan.recipe
        taking_part = [training for training in taking_part if training.has_batch_norm]
        if taking_part and recipe.precise_batch_norm:
            steps = min(-(-recipe.precise_batch_norm // recipe.batch_size), self._plan.steps_per_epoch)
            with closing(self._train_batches(epoch)) as batches:
                read = [self._augmented(next(batches), epoch, step, mix=False).images for step in range(steps)]
            for training in taking_part:
                training.recompute_statistics(read)
                self._require_no_lone_failure(training)
        if self._ranks.world > 1:
            apart = [training for training in taking_part if not training.synchronises_batch_norm]
            self._fail_together(apart)
            for training in apart:
                if training.live:
                    training.average_statistics()

    def _fail_together(self, taking_part: Sequence[MemberTraining]) -> None:
        """Stops here the members that failed on another rank."""
        sums = self._summed([training.training_sums() for training in taking_part])
        for training, own in zip(taking_part, sums, strict=True):
            if training.live:
                training.fail_with_others(own)

    def _require_no_lone_failure(self, training: MemberTraining) -> None:
        if training.status == "failed" and training.exchanges and not self._ranks.all_here():
            raise MemberFailedAlone(training.member.key, training.reason or "")

    def _evaluate_batch(self, batch: Batch, taking_part: Sequence[MemberTraining]) -> torch.Tensor:
        """Evaluates one batch; the number of its images that could be read."""
        self._problems.update(batch.problems)
        labels = to_device(batch.labels, self._plan.device)
        if len(labels):
            images = self._augmentation.normalised(to_device(batch.images, self._plan.device))
            self._evaluate_members(images, labels, taking_part)
        return (labels != UNREADABLE).sum()

    def _evaluate_members(
        self, images: torch.Tensor, labels: torch.Tensor, taking_part: Sequence[MemberTraining]
    ) -> None:
        for training in taking_part:
            if training.live:
                training.evaluate(images.clone(), labels)

    def _reading(self, batch_size: int, first_step: int) -> Reading:
        return Reading(
            batch_size=batch_size,
            rank=self._ranks.rank,
            world=self._ranks.world,
            first_step=first_step,
            decode_workers=self._decode_workers,
        )

    def _summed(self, own: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Each member's sums over the ranks, on the CPU; one exchange for all members."""
        return list(self._ranks.sum(torch.stack(list(own))).cpu()) if own else []

    def _anyone(self, taking_part: Sequence[MemberTraining]) -> bool:
        # With several ranks a member may have failed on this one alone: the exchanges must go on.
        return self._ranks.world > 1 or any(training.live for training in taking_part)

    def _pauses(self, pause: Callable[[], bool]) -> bool:
        if self._ranks.world == 1:
            return pause()
        return self.step % STEPS_BETWEEN_AGREEMENTS == 0 and self._ranks.first(pause())

    def _synchronise(self) -> None:
        # Else the first member to read its sums would be charged for everybody's outstanding work.
        if self._plan.device.type == "cuda":
            torch.cuda.synchronize(self._plan.device)

    def _require_whole_steps(self) -> None:
        if self._interrupted:
            raise RuntimeError("a step was interrupted half-way; make a new pack and load the last checkpoint into it")
