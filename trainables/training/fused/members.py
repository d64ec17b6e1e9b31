"""The members of a pack while they are trained fused: one forward, one backward and one optimizer step for all."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from trainables.data.dataset import UNREADABLE
from trainables.recipes.mixing import TrainBatch, mixed_cross_entropy
from trainables.training.fused.average import StackedEma
from trainables.training.fused.forward import StackedForward
from trainables.training.fused.precision import without_tf32
from trainables.training.fused.stack import CannotFuse, Stack, require_alike, stacked
from trainables.training.fused.updates import UPDATES, StackedUpdate
from trainables.training.member import MemberTraining, single_precision

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}
"""How far the logits of the first batch may be from those of the loop, as a share of the largest of them."""


class FusedMembers:
    """Live members of one pack, stacked; everything that a member owns stays its own, as a view of the stack.

    So whatever reads or writes a member (checkpoints, statistics, going on in a loop) works as it does without this class.

    Args:
        members: Built, live, and at the same step.
        batch: A batch of training; not changed.

    Raises:
        CannotFuse: If these members cannot be trained so, with the reason.
    """

    def __init__(self, members: Sequence[MemberTraining], batch: TrainBatch) -> None:
        self.members = tuple(members)
        self._plan = members[0].plan
        if self._plan.optimizer not in UPDATES:
            raise CannotFuse(f"optimizer {self._plan.optimizer!r} has no fused form ({' and '.join(UPDATES)} have one)")
        self._models = [member.model for member in members]
        for member in members:
            # What steps in a loop have left would stay for good.
            member.optimizer.zero_grad(set_to_none=True)
        require_alike(self._models)
        if any(member.plan.model_options != self._plan.model_options for member in members):
            raise CannotFuse("its members' models have different options")
        if any(member.plan.bfloat16 != self._plan.bfloat16 for member in members):
            raise CannotFuse("its members have different precision")
        self._forward = StackedForward(self._models[0])
        self._unused: set[str] = set()
        self._stack = self._stacked(batch)
        self._update = self._stacked_update()
        self._ema = StackedEma.of([member.ema for member in members], self._stack)
        smoothing = [member.plan.recipe.label_smoothing for member in members]
        self._smoothing = self._vector(smoothing) if any(smoothing) else 0.0
        clips = [member.plan.recipe.grad_clip for member in members]
        self._clip = self._vector([math.inf if clip is None else clip for clip in clips]) if any(clips) else None
        self._sums = torch.zeros(3, len(members), dtype=torch.float64, device=self._plan.device)
        self._gradient = torch.zeros_like(self._stack.trained.matrix)
        self._gradients = list(self._stack.trained.parts(self._gradient).values())
        self.attach()

    def attach(self) -> None:
        """Makes the members' sums of losses and wrong answers views of the stack's; to be called when they begin an epoch."""
        for at, member in enumerate(self.members):
            member.share_sums(self._sums[:, at])

    def backward(self, batch: TrainBatch) -> None:
        """The gradient of each member's own loss by its own parameters, for :meth:`update`; adds the losses to the sums.

        Args:
            batch: The models may overwrite its images.

        Raises:
            RuntimeError, ValueError, ...: Whatever the models' code raises; nothing has changed then.
        """
        kept = self._stack.copied_buffers()
        try:
            losses, gradients = self._differentiated(batch)
        except Exception:
            self._stack.restore_buffers(kept)
            raise
        self._sums[0] += losses
        torch._foreach_copy_(self._gradients, gradients)

    def update(self, step: int) -> None:
        """One optimizer step of every member along its gradient, and one of the averaged weights if it is their turn.

        Args:
            step: Counted from 0 over the whole training.
        """
        if self._clip is not None:
            _clip(self._gradient, self._clip)
        lrs = [member.lr(step) for member in self.members]
        coefficients = self._update.coefficients(lrs)
        matrix = self._stack.trained.matrix
        self._update.step(self._gradient, coefficients.to(matrix.device, matrix.dtype, non_blocking=True))
        self._update.done += 1
        if self._ema is not None:
            self._ema.update(step)

    def evaluate(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Adds one batch of evaluation images to the sums of every member, those included that have ended since.

        Args:
            images: float32, shape (B, C, H, W); the models may overwrite them.
            labels: int64, shape (B,); those of :data:`trainables.UNREADABLE` images do not count.

        Raises:
            RuntimeError, ValueError, ...: Whatever the models' code raises; nothing has been added then.
        """
        stack = self._stack if self._ema is None else self._ema.stack
        with torch.no_grad():
            logits = self._logits(stack.values(stack.trained.stacked), images, training=False)
            repeated = labels.expand(len(logits), -1)
            losses = functional.cross_entropy(
                logits.transpose(1, 2), repeated, reduction="none", ignore_index=UNREADABLE
            )
            wrong = (logits.argmax(dim=2) != labels) & (labels != UNREADABLE)
            # Nothing is added before all is computed: what raises is done again in a loop.
            self._sums[1:].add_(torch.stack([losses.sum(1).to(self._sums), wrong.sum(1).to(self._sums)]))

    def write_back(self) -> None:
        """Makes the members' optimizers complete, for a checkpoint or to go on in a loop."""
        self._update.write_steps()

    def compare(self, batch: TrainBatch) -> None:
        """Nothing, if the stacked models, with other weights than theirs, return what each returns alone.

        Nothing is changed. Without autocast and TF32: batch norm can make much of a rounding, and hide all else.

        Raises:
            CannotFuse: Otherwise.
        """
        stack = self._stack
        with torch.no_grad(), without_tf32(self._plan.device), stack.disturbed():
            with stack.buffers_kept():
                values, images = stack.values(stack.trained.stacked), batch.images.clone()
                together = self._logits(values, images, training=True, autocast=False)
            for logits, member in zip(together, self.members, strict=True):
                self._require_near(logits, member.training_logits(batch.images.clone()))

    def _require_near(self, together: torch.Tensor, alone: torch.Tensor) -> None:
        limit = TOLERANCE[alone.dtype] * alone.nan_to_num(0.0, 0.0, 0.0).abs().max()
        if not torch.allclose(together, alone, rtol=0.0, atol=float(limit), equal_nan=True):
            apart = float((together - alone).abs().max())
            raise CannotFuse(f"its members together give other logits than alone (apart by {apart:.3g})")

    def _differentiated(self, batch: TrainBatch) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Every member's own loss, shape (M,), and its gradients by its own parameters, shapes (M, *shape)."""
        leaves = _leaves(self._stack.trained.stacked)
        unused = _leaves({name: self._stack.fixed[name] for name in self._unused})
        logits = self._logits(self._stack.values({**leaves, **unused}), batch.images, training=True)
        dims = (0, 0 if isinstance(self._smoothing, torch.Tensor) else None)
        losses = torch.vmap(lambda own, share: mixed_cross_entropy(own, batch, share), dims)(logits, self._smoothing)
        found = torch.autograd.grad(losses.sum(), [*leaves.values(), *unused.values()], allow_unused=True)
        return losses.detach(), _without_unused(found, len(leaves))

    def _stacked(self, batch: TrainBatch) -> Stack:
        """The stack of the parameters that have a gradient, those that weight decay applies to first."""
        decayed = self._decayed()
        names = [name for name, parameter in self._models[0].named_parameters() if parameter.requires_grad]
        stack = stacked(self._models, sorted(names, key=lambda name: name not in decayed))
        self._unused = self._without_gradient(stack, batch)
        if not self._unused:
            return stack
        used = [name for name in names if name not in self._unused]
        return stacked(self._models, sorted(used, key=lambda name: name not in decayed))

    def _without_gradient(self, stack: Stack, batch: TrainBatch) -> set[str]:
        """Names of the parameters that the loss does not depend on: torch's optimizers leave these as they are."""
        leaves = _leaves(stack.trained.stacked)
        with stack.buffers_kept():
            logits = self._logits(stack.values(leaves), batch.images.clone(), training=True)
            found = torch.autograd.grad(logits.sum(), list(leaves.values()), allow_unused=True)
        return {name for name, gradient in zip(leaves, found, strict=True) if gradient is None}

    def _decayed(self) -> set[str]:
        """Names of the parameters that weight decay applies to."""
        sets = []
        for member, model in zip(self.members, self._models, strict=True):
            groups = [group for group in member.optimizer.param_groups if group["weight_decay"]]
            decayed = {id(parameter) for group in groups for parameter in group["params"]}
            sets.append({name for name, parameter in model.named_parameters() if id(parameter) in decayed})
        union = set().union(*sets)
        if any(own and own != union for own in sets):
            raise CannotFuse("weight decay applies to different parameters of its members")
        return union

    def _stacked_update(self) -> StackedUpdate:
        flat, decayed = self._stack.trained, self._decayed()
        own = [[dict(model.named_parameters())[name] for name in flat.stacked] for model in self._models]
        columns = flat.columns(sum(name in decayed for name in flat.stacked))
        return UPDATES[self._plan.optimizer]([member.optimizer for member in self.members], flat, own, columns)

    def _logits(
        self, values: dict[str, torch.Tensor], images: torch.Tensor, *, training: bool, autocast: bool = True
    ) -> torch.Tensor:
        plan = self._plan
        with torch.autocast(plan.device.type, dtype=torch.bfloat16, enabled=plan.bfloat16 and autocast):
            logits = self._forward(values, images, training=training)
        expected = (len(self.members), len(images), plan.num_classes)
        if logits.shape != expected:
            raise ValueError(f"the stacked models returned {tuple(logits.shape)} instead of logits of shape {expected}")
        return single_precision(logits)

    def _vector(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64).to(self._plan.device, self._stack.trained.matrix.dtype)


def _leaves(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same as leaves of a new graph, sharing their memory."""
    return {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}


def _without_unused(found: Sequence[torch.Tensor | None], used: int) -> list[torch.Tensor]:
    """The gradients by the first so many parameters, if these are exactly the ones that there are."""
    gradients = [gradient for gradient in found[:used] if gradient is not None]
    if len(gradients) < used or any(gradient is not None for gradient in found[used:]):
        raise RuntimeError("the loss depends on other parameters than in the first step")
    return gradients


def _clip(gradient: torch.Tensor, largest: torch.Tensor) -> None:
    """Scales each row of a matrix (M, P) in place to at most the norm in (M,); as ``torch.nn.utils.clip_grad_norm_``."""
    norms = torch.linalg.vector_norm(gradient, dim=1)
    factors = (largest / (norms + 1e-6)).clamp(max=1.0)
    gradient.mul_(torch.where(largest.isinf(), 1.0, factors).unsqueeze(1))
