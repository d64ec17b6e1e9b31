"""The training state of one member of a pack: its model, optimizer, generator, status and history."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from trainables.data.dataset import UNREADABLE
from trainables.hyperparameters import split_hyperparameters
from trainables.models.create import create_model
from trainables.optimizers import create_optimizer
from trainables.recipes.ema import Ema
from trainables.recipes.mixing import TrainBatch, mixed_cross_entropy
from trainables.text import one_line
from trainables.training.batch_norm import batch_norms, recompute_statistics, synchronise_batch_norm
from trainables.training.failures import is_the_processes
from trainables.training.member_log import MemberLog
from trainables.training.plan import TrainingPlan
from trainables.training.random_state import RandomState
from trainables.training.records import Member, MemberEpoch, Status
from trainables.training.snapshots import copied


class MemberTraining(MemberLog):
    """One member while it trains; it shares nothing that changes with any other member.

    Whatever the member's own code raises makes the member ``failed``; memory errors and errors of the accelerator are the
    whole process's and propagate.
    """

    def __init__(self, member: Member, plan: TrainingPlan) -> None:
        """Takes the pack's plan with the member's own recipe and model options; what they make of it ends the member.

        Args:
            member: Its hyperparameters' names are checked already.
            plan: The pack's.
        """
        super().__init__(member)
        self._plan = plan
        self._hyperparameters = split_hyperparameters(plan.model, plan.optimizer, member.hyperparameters)
        self._random = RandomState(member.seed, plan.device)
        self._model: nn.Module | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._ema: Ema | None = None
        self._gradient_shapes: list[torch.Size] = []
        self.exchanges = False
        """Whether the model exchanges with other ranks while it runs, in batch norm."""
        self._loss_sum, self._eval_loss_sum, self._wrong = (self._zero() for _ in range(3))
        self._train_loss = math.nan
        try:
            self._plan = plan.of_trial(self._hyperparameters)
        except ValueError as error:
            # As with a value that the optimizer refuses: the end of this member, not of its pack.
            self._stop("failed", one_line(error))

    def begin_epoch(self) -> None:
        """Builds the model and optimizer if there are none yet, and clears the epoch's sums."""
        self.epoch_seconds = 0.0
        self._loss_sum, self._eval_loss_sum, self._wrong = (self._zero() for _ in range(3))
        self.build()

    def build(self) -> None:
        """Builds the model and optimizer if there are none yet."""
        with self._guarded():
            if self._model is None:
                self._build()

    def backward(self, batch: TrainBatch, step: int) -> None:
        """The gradient of this rank's part of a batch; nothing is read back from the device.

        Args:
            batch: The member may overwrite its images.
            step: Counted from 0 over the whole training.
        """
        with self._guarded():
            model, optimizer = self._built()
            model.train()
            for group in optimizer.param_groups:
                group["lr"] = self.lr(step)
            optimizer.zero_grad(set_to_none=True)
            logits = self._logits(model, batch.images)
            loss = mixed_cross_entropy(logits, batch, self._plan.recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            self._loss_sum += loss.detach()

    def gradients(self) -> list[torch.Tensor]:
        """The gradients, to be averaged over the ranks in place: equal shapes on all ranks, whatever happened here."""
        if self._model is None:
            return [torch.zeros(shape, device=self._plan.device) for shape in self._gradient_shapes]
        found = [parameter.grad for parameter in self._model.parameters() if parameter.grad is not None]
        self._gradient_shapes = [gradient.shape for gradient in found]
        return found

    def update(self, step: int) -> None:
        """One optimizer step along the gradient, and one of the averaged weights if it is their turn."""
        with self._guarded():
            model, optimizer = self._built()
            if self._plan.recipe.grad_clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), self._plan.recipe.grad_clip)
            optimizer.step()
            if self._ema is not None:
                self._ema.update(model, step)

    @property
    def plan(self) -> TrainingPlan:
        """The pack's plan with the member's own recipe and model options."""
        return self._plan

    @property
    def model(self) -> nn.Module:
        """The model that is trained, once built."""
        return self._built()[0]

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """torch's optimizer over the model, once built."""
        return self._built()[1]

    @property
    def ema(self) -> Ema | None:
        """The average of the weights, if the recipe asks for one."""
        return self._ema

    def training_logits(self, images: torch.Tensor) -> torch.Tensor:
        """The model's logits in training mode, without autocast, shape (B, num_classes); what it raises is raised here.

        Args:
            images: float32, shape (B, C, H, W); the member may overwrite them.
        """
        self.model.train()
        with self._random.active():
            return self._logits(self.model, images, autocast=False)

    def share_sums(self, shared: torch.Tensor) -> None:
        """Keeps the epoch's sums in another tensor from now on, which others may add to.

        Args:
            shared: float64, shape (3,), overwritten: sum of training losses, of evaluation losses, wrong answers.
        """
        shared.copy_(torch.stack([self._loss_sum, self._eval_loss_sum, self._wrong]))
        self._loss_sum, self._eval_loss_sum, self._wrong = shared.unbind()

    def training_sums(self) -> torch.Tensor:
        """What the ranks add up after training: sum of the losses, and 1 if the member failed on this rank; shape (2,)."""
        return torch.stack([self._loss_sum, torch.full_like(self._loss_sum, self.status == "failed")])

    def end_training(self, epoch: int, sums: torch.Tensor) -> None:
        """Reads the epoch's training loss; the member has diverged if it is not finite or too large.

        Args:
            epoch: Counted from 1.
            sums: :meth:`training_sums`, added up over the ranks.
        """
        loss_sum, failed = sums.tolist()
        with self._guarded():
            self._raise_if(failed)
            self._train_loss = loss_sum / (self._plan.steps_per_epoch * self._plan.ranks.world)
            limit = self._plan.recipe.explode * math.log(self._plan.num_classes)
            if not math.isfinite(self._train_loss):
                self._stop("diverged", f"training loss is {self._train_loss} in epoch {epoch}")
            elif self._train_loss > limit:
                loss = f"training loss {self._train_loss:.4g} in epoch {epoch}"
                self._stop("diverged", f"{loss} exceeds {limit:.4g} (explode x ln(classes))")

    @property
    def has_batch_norm(self) -> bool:
        """Whether the model that is trained has batch norm."""
        return self._model is not None and bool(batch_norms(self._model))

    @property
    def synchronises_batch_norm(self) -> bool:
        """Whether its batch norm sees the whole batch, if several ranks share it."""
        return self._plan.recipe.sync_batch_norm

    def recompute_statistics(self, batches: Sequence[torch.Tensor]) -> None:
        """Computes batch norm's statistics anew, for the weights and their average.

        Args:
            batches: Training images, float32, each of shape (B, C, H, W); not changed.
        """
        autocast = torch.autocast(self._plan.device.type, dtype=torch.bfloat16, enabled=self._plan.bfloat16)
        with self._guarded(), torch.no_grad(), autocast:
            for model in self._models():
                model.train()
                recompute_statistics(model, batches)

    def fail_with_others(self, sums: torch.Tensor) -> None:
        """Stops the member here if it failed on another rank; for sums see :meth:`end_training`."""
        with self._guarded():
            self._raise_if(float(sums[1]))

    def evaluate(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Adds one batch of evaluation images to the epoch's sums.

        Args:
            images: float32, shape (B, C, H, W); the member may overwrite them.
            labels: int64, shape (B,); those of :data:`trainables.UNREADABLE` images do not count.
        """
        # Not inference mode: a tensor that a user's model caches here must still be of use in training.
        with self._guarded(), torch.no_grad():
            model = self._evaluated()
            model.eval()
            logits = self._logits(model, images)
            losses = functional.cross_entropy(logits, labels, reduction="sum", ignore_index=UNREADABLE)
            self._eval_loss_sum += losses
            self._wrong += ((logits.argmax(dim=1) != labels) & (labels != UNREADABLE)).sum()

    def evaluation_sums(self) -> torch.Tensor:
        """What the ranks add up after evaluation: losses, wrong answers, 1 if the member failed here; shape (3,)."""
        failed = torch.full_like(self._wrong, self.status == "failed")
        return torch.stack([self._eval_loss_sum, self._wrong, failed])

    def end_epoch(self, epoch: int, num_eval: int, sums: torch.Tensor) -> None:
        """Reads the evaluation; the member has diverged if its loss is not finite, else the epoch is history.

        Args:
            epoch: Counted from 1.
            num_eval: Evaluation images, over all ranks.
            sums: :meth:`evaluation_sums`, added up over the ranks.
        """
        loss_sum, wrong, failed = sums.tolist()
        with self._guarded():
            self._raise_if(failed)
            eval_loss = loss_sum / num_eval
            if not math.isfinite(eval_loss):
                self._stop("diverged", f"evaluation loss is {eval_loss} in epoch {epoch}")
                return
            row = MemberEpoch(
                key=self.member.key,
                epoch=epoch,
                train_loss=self._train_loss,
                error=100.0 * wrong / num_eval,
                eval_loss=eval_loss,
                lr=self.lr(epoch * self._plan.steps_per_epoch - 1),
                seconds=0.0,
            )
            self.history.append(row)
            if epoch == self._plan.epochs:
                self.status = "completed"

    def prune(self, reason: str) -> None:
        """Ends the training of a live member here, and keeps its history."""
        self._stop("pruned", reason)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the member's future depends on, as tensors on the CPU and plain containers."""
        return {
            **self.log_state(),
            "loss_sum": self._plan.ranks.gather(float(self._loss_sum)),
            "random": self._plan.ranks.gather(self._random.state_dict()),
            "model": None if self._model is None else copied(self._model.state_dict()),
            "optimizer": None if self._optimizer is None else copied(self._optimizer.state_dict()),
            "ema": None if self._ema is None else copied(self._ema.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what :meth:`state_dict` returned.

        Raises:
            ValueError: If the state is of a member with another seed or other hyperparameters.
        """
        self.require_same(state)
        self.load_log(state)
        self._loss_sum = torch.tensor(
            state["loss_sum"][self._plan.ranks.rank], dtype=torch.float64, device=self._plan.device
        )
        self._release()
        if state["model"] is not None:
            self._restore(state["model"], state["optimizer"], state["ema"])
        # Last: building the model has drawn from the generator.
        self._random.load_state_dict(state["random"][self._plan.ranks.rank])

    def _restore(
        self, model_state: dict[str, Any], optimizer_state: dict[str, Any], ema_state: dict[str, Any] | None
    ) -> None:
        try:
            with self._random.active():
                self._build()
            model, optimizer = self._built()
            model.load_state_dict(model_state)
            optimizer.load_state_dict(optimizer_state)
            if self._ema is not None:
                self._ema.load_state_dict(ema_state or {})
        except (RuntimeError, ValueError, KeyError) as error:
            if is_the_processes(error):
                raise
            raise ValueError(
                f"member {self.member.key!r}: the checkpoint does not fit model {self._plan.model!r} "
                f"({one_line(error)}); delete the checkpoint to start these trials anew"
            ) from error

    def _build(self) -> None:
        plan = self._plan
        model = create_model(
            plan.model,
            num_classes=plan.num_classes,
            image_size=plan.image_size,
            in_channels=plan.channels,
            **plan.model_options,
        )
        if plan.ranks.world > 1 and plan.recipe.sync_batch_norm:
            self.exchanges = synchronise_batch_norm(model, plan.ranks.world)
        self._model = model.to(plan.device)
        self._gradient_shapes = [parameter.shape for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = create_optimizer(
            plan.optimizer,
            self._model,
            self._hyperparameters.optimizer,
            decay_embeddings=plan.recipe.decay_embeddings,
        )
        self._ema = plan.averaged(self._model)
        if plan.ranks.rank > 0:
            # All ranks draw the same initial weights, but each its own dropout.
            torch.manual_seed(self.member.seed + (plan.ranks.rank << 32))

    def _evaluated(self) -> nn.Module:
        """The model that is evaluated: the averaged one if there is one."""
        model, _ = self._built()
        return model if self._ema is None else self._ema.model

    def _models(self) -> list[nn.Module]:
        """The model that is trained, and its average if there is one."""
        return [self._built()[0], *([] if self._ema is None else [self._ema.model])]

    def average_statistics(self) -> None:
        """Makes batch norm's statistics the mean over the ranks."""
        with self._guarded():
            buffers = [buffer for model in self._models() for buffer in model.buffers()]
            self._plan.ranks.average_([buffer for buffer in buffers if buffer.is_floating_point()])

    def _raise_if(self, failed: float) -> None:
        if failed > 0:
            raise RuntimeError("it failed on another worker of its pack, see that worker's log")

    def _built(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        assert self._model is not None, "begin_epoch comes first"
        assert self._optimizer is not None
        return self._model, self._optimizer

    def _zero(self) -> torch.Tensor:
        return torch.zeros((), dtype=torch.float64, device=self._plan.device)

    def lr(self, step: int) -> float:
        """The learning rate at a step, counted from 0 over the whole training."""
        return self._plan.lr(float(self._hyperparameters.optimizer["lr"]), step)

    def _logits(self, model: nn.Module, images: torch.Tensor, *, autocast: bool = True) -> torch.Tensor:
        enabled = self._plan.bfloat16 and autocast
        with torch.autocast(self._plan.device.type, dtype=torch.bfloat16, enabled=enabled):
            logits = model(images)
        expected = (len(images), self._plan.num_classes)
        if not isinstance(logits, torch.Tensor) or logits.shape != expected:
            got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise ValueError(f"the model returned {got} instead of logits of shape {expected}")
        return single_precision(logits)

    def _stop(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason
        self._release()

    def _release(self) -> None:
        self._model = self._optimizer = self._ema = None

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """The member's own generator and stopwatch; what is raised inside becomes the status ``failed``."""
        started = time.perf_counter()
        try:
            with self._random.active():
                yield
        except Exception as error:
            if is_the_processes(error):
                raise
            self._stop("failed", one_line(error))
        finally:
            self.own_seconds += time.perf_counter() - started


def single_precision(logits: torch.Tensor) -> torch.Tensor:
    """Logits in float32, or in float64 if they are."""
    return logits if logits.dtype == torch.float64 else logits.float()
