"""The training state of one member of a pack: its model, optimizer, generator, status and history."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from trainables.failures import is_the_processes, one_line
from trainables.models import create_model
from trainables.optimizers import create_optimizer
from trainables.plan import TrainingPlan
from trainables.random_state import RandomState
from trainables.records import Member, MemberEpoch, MemberResult, Status
from trainables.snapshots import copied


class MemberTraining:
    """One member while it trains; it shares nothing that changes with any other member.

    Whatever the member's own code raises makes the member ``failed``; memory errors and errors of the accelerator are the
    whole process's and propagate.
    """

    def __init__(self, member: Member, plan: TrainingPlan) -> None:
        self.member = member
        self.status: Status = "running"
        self.reason: str | None = None
        self.history: list[MemberEpoch] = []
        self.seconds = 0.0
        """All time apportioned to this member so far."""
        self._host_seconds = 0.0
        self._epoch_seconds = 0.0
        self._plan = plan
        self._random = RandomState(member.seed, plan.device)
        self._model: nn.Module | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._loss_sum = torch.zeros(())
        self._eval_loss_sum = torch.zeros(())
        self._wrong = torch.zeros(())
        self._train_loss = math.nan
        self._lr = math.nan

    @property
    def live(self) -> bool:
        """Whether the member is still to be trained."""
        return self.status == "running"

    def begin_epoch(self) -> None:
        """Builds the model and optimizer if there are none yet, and clears the epoch's sums."""
        with self._guarded():
            if self._model is None:
                self._build()
            self._epoch_seconds = 0.0
            zero = torch.zeros((), dtype=torch.float64, device=self._plan.device)
            self._loss_sum, self._eval_loss_sum, self._wrong = zero, zero.clone(), zero.clone()

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> None:
        """One optimizer step; nothing is read back from the device.

        Args:
            images: float32, shape (B, C, H, W); the member may overwrite them.
            labels: int64, shape (B,).
            step: Counted from 0 over the whole training.
        """
        with self._guarded():
            model, optimizer = self._built()
            model.train()
            self._set_lr(optimizer, step)
            optimizer.zero_grad(set_to_none=True)
            logits = self._logits(model, images)
            loss = functional.cross_entropy(logits, labels, label_smoothing=self._plan.recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            if self._plan.recipe.grad_clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), self._plan.recipe.grad_clip)
            optimizer.step()
            self._loss_sum += loss.detach()

    def end_training(self, epoch: int) -> None:
        """Reads the epoch's training loss; the member has diverged if it is not finite or too large."""
        with self._guarded():
            self._train_loss = float(self._loss_sum) / self._plan.steps_per_epoch
            limit = self._plan.recipe.explode * math.log(self._plan.num_classes)
            if not math.isfinite(self._train_loss):
                self._stop("diverged", f"training loss is {self._train_loss} in epoch {epoch}")
            elif self._train_loss > limit:
                loss = f"training loss {self._train_loss:.4g} in epoch {epoch}"
                self._stop("diverged", f"{loss} exceeds {limit:.4g} (explode x ln(classes))")

    def evaluate(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Adds one batch of evaluation images to the epoch's sums; shapes as in :meth:`train_step`."""
        # Not inference mode: a tensor that a user's model caches here must still be of use in training.
        with self._guarded(), torch.no_grad():
            model, _ = self._built()
            model.eval()
            logits = self._logits(model, images)
            self._eval_loss_sum += functional.cross_entropy(logits, labels, reduction="sum")
            self._wrong += (logits.argmax(dim=1) != labels).sum()

    def end_epoch(self, epoch: int, num_eval: int) -> None:
        """Reads the evaluation; the member has diverged if its loss is not finite, else the epoch is history."""
        with self._guarded():
            eval_loss = float(self._eval_loss_sum) / num_eval
            if not math.isfinite(eval_loss):
                self._stop("diverged", f"evaluation loss is {eval_loss} in epoch {epoch}")
                return
            row = MemberEpoch(
                key=self.member.key,
                epoch=epoch,
                train_loss=self._train_loss,
                error=100.0 * float(self._wrong) / num_eval,
                eval_loss=eval_loss,
                lr=self._lr,
                seconds=0.0,
            )
            self.history.append(row)
            if epoch == self._plan.epochs:
                self.status = "completed"

    def close_epoch(self, epoch: int) -> bool:
        """Whether this epoch is history; if so, its record now says how long it took."""
        if not self.history or self.history[-1].epoch != epoch:
            return False
        self.history[-1] = replace(self.history[-1], seconds=self._epoch_seconds)
        return True

    def take_host_seconds(self) -> float:
        """Time spent in this member's own calls since this was last asked."""
        taken, self._host_seconds = self._host_seconds, 0.0
        return taken

    def charge(self, seconds: float) -> None:
        """Adds to the member's time."""
        self.seconds += seconds
        self._epoch_seconds += seconds

    def result(self) -> MemberResult:
        """Where the member stands."""
        errors = [row.error for row in self.history]
        return MemberResult(
            key=self.member.key,
            status=self.status,
            error=errors[-1] if self.status == "completed" else None,
            best_error=min(errors, default=None),
            epochs_done=len(errors),
            reason=self.reason,
            seconds=self.seconds,
            history=tuple(self.history),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the member's future depends on, as tensors on the CPU and plain containers."""
        return {
            "seed": self.member.seed,
            "hyperparameters": dict(self.member.hyperparameters),
            "status": self.status,
            "reason": self.reason,
            "seconds": self.seconds,
            "history": [asdict(row) for row in self.history],
            "random": self._random.state_dict(),
            "model": None if self._model is None else copied(self._model.state_dict()),
            "optimizer": None if self._optimizer is None else copied(self._optimizer.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what :meth:`state_dict` returned.

        Raises:
            ValueError: If the state is of a member with another seed or other hyperparameters.
        """
        asked = {"seed": self.member.seed, "hyperparameters": dict(self.member.hyperparameters)}
        for name, value in asked.items():
            if state[name] != value:
                raise ValueError(
                    f"member {self.member.key!r}: the checkpoint has {name} {state[name]!r}, the study asks for {value!r}; "
                    "give the study another name, or restore what it was"
                )
        self.status, self.reason, self.seconds = state["status"], state["reason"], state["seconds"]
        self.history = [MemberEpoch(**row) for row in state["history"]]
        self._model = self._optimizer = None
        if state["model"] is not None:
            self._restore(state["model"], state["optimizer"])
        # Last: building the model has drawn from the generator.
        self._random.load_state_dict(state["random"])

    def _restore(self, model_state: dict[str, Any], optimizer_state: dict[str, Any]) -> None:
        try:
            with self._random.active():
                self._build()
            model, optimizer = self._built()
            model.load_state_dict(model_state)
            optimizer.load_state_dict(optimizer_state)
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
            plan.model, num_classes=plan.num_classes, image_size=plan.image_size, in_channels=plan.channels
        )
        self._model = model.to(plan.device)
        self._optimizer = create_optimizer(plan.optimizer, self._model, self.member.hyperparameters)

    def _built(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        assert self._model is not None, "begin_epoch comes first"
        assert self._optimizer is not None
        return self._model, self._optimizer

    def _set_lr(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        self._lr = float(self.member.hyperparameters["lr"]) * self._plan.lr_multiplier(step)
        for group in optimizer.param_groups:
            group["lr"] = self._lr

    def _logits(self, model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        logits = model(images)
        expected = (len(images), self._plan.num_classes)
        if not isinstance(logits, torch.Tensor) or logits.shape != expected:
            got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise ValueError(f"the model returned {got} instead of logits of shape {expected}")
        return logits.float()

    def _stop(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason
        self._model = self._optimizer = None

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
            self._host_seconds += time.perf_counter() - started
