"""Where a step of a pack goes: ``python benchmarks/lockstep_profile.py`` (with ``PYTHONPATH=.`` where not installed).

Prints what the parts of a step take alone, in a loop and fused, with the number of torch's operations that are no views (on a
GPU each launches a kernel or more), then torch.profiler's longest operations. Times are this process's CPU time, so
that other work on the machine changes them little; on a GPU wall clock, to the end of what a part launched.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from lockstep_cases import CASES, Case, dataset, members, recipe
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from trainables import LockstepPack
from trainables.recipes.mixing import TrainBatch, mixed_cross_entropy
from trainables.training.fused.members import FusedMembers
from trainables.training.fused.pack import FusedPack

WARM_UP = 3
REPEATS = 30
PROFILED_STEPS = 5


class Steps:
    """Lets a pack train so many steps; asked by it between two steps whether to pause."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> bool:
        """Whether that many have been done."""
        self.left -= 1
        return self.left <= 0


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts torch's operations, but for views."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One more."""
        self.number += not func.is_view
        return func(*args, **(kwargs or {}))


def operations(function: Callable[[], Any]) -> int:
    """How many operations a call consists of."""
    counter = Counter()
    with counter:
        function()
    return counter.number


def clock(device: str) -> float:
    """Seconds: on a CPU this process's CPU time, on a GPU wall clock, once the GPU has done all it was asked for."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def median_ms(function: Callable[[], Any], device: str) -> float:
    """Milliseconds of a call by :func:`clock`, the median of several after a few."""
    times = []
    for _ in range(WARM_UP + REPEATS):
        began = clock(device)
        function()
        times.append(clock(device) - began)
    return 1e3 * sorted(times[WARM_UP:])[REPEATS // 2]


def member_parts(pack: LockstepPack, batch: TrainBatch) -> dict[str, Callable[[], Any]]:
    """The parts of one member's share of a step in a loop, to be called in their order."""
    training = pack._members[0]
    model, optimizer = training.model, training.optimizer

    def swap() -> None:
        with training._random.active():
            pass

    def forward() -> torch.Tensor:
        return mixed_cross_entropy(training._logits(model, batch.images), batch, 0.1)

    def both() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(forward())

    both()
    return {
        "generator swapped in and out (twice a step)": swap,
        "copy of the batch's images": batch.images.clone,
        "model.train()": model.train,
        "learning rate of the step": lambda: training.lr(1),
        "forward and loss": forward,
        "forward, loss and backward": both,
        "optimizer step as it is": optimizer.step,
        "optimizer step, foreach=True": _optimizer(optimizer, "foreach").step,
        "optimizer step, fused=True": _optimizer(optimizer, "fused").step,
        "whole: backward()": lambda: training.backward(batch, 1),
        "whole: update()": lambda: training.update(1),
    }


def _optimizer(like: torch.optim.Optimizer, kind: str) -> torch.optim.Optimizer:
    """AdamW over copies of the same parameters and gradients."""
    groups = []
    for group in like.param_groups:
        copies = [nn.Parameter(parameter.detach().clone()) for parameter in group["params"]]
        for copy, parameter in zip(copies, group["params"], strict=True):
            copy.grad = None if parameter.grad is None else parameter.grad.clone()
        groups.append({"params": copies, "weight_decay": group["weight_decay"]})
    return torch.optim.AdamW(groups, lr=1e-4, foreach=kind == "foreach" or None, fused=kind == "fused" or None)


def fused_parts(fused: FusedMembers, batch: TrainBatch) -> dict[str, Callable[[], Any]]:
    """The parts of a fused step of all members."""
    stack, update = fused._stack, fused._update
    values = stack.values({name: part.detach().requires_grad_() for name, part in stack.trained.stacked.items()})
    gradient = fused._gradient
    lrs = [member.lr(1) for member in fused.members]
    coefficients = update.coefficients(lrs).to(gradient.device, gradient.dtype)
    parts = [own.detach().clone() for own in stack.trained.stacked.values()]

    def whole() -> None:
        fused.backward(replace(batch, images=batch.images.clone()))
        fused.update(1)

    return {
        "copy of the batch's images": batch.images.clone,
        "learning rates of the step": lambda: [member.lr(1) for member in fused.members],
        "copies of the buffers": stack.copied_buffers,
        "forward (vmap)": lambda: fused._logits(values, batch.images.clone(), training=True),
        "forward, losses, backward, gradients as a matrix": lambda: fused.backward(
            replace(batch, images=batch.images.clone())
        ),
        "gradients as a matrix": lambda: torch._foreach_copy_(fused._gradients, parts),
        "coefficients of the update": lambda: update.coefficients(lrs),
        "update": lambda: update.step(gradient.clone(), coefficients),
        "whole: backward() and update()": whole,
    }


def longest(pack: LockstepPack, device: str) -> str:
    """torch.profiler's table of the operations that take longest, over some steps."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as found:
        pack.run_epoch(Steps(PROFILED_STEPS))
    order = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    table: str = found.key_averages().table(sort_by=order, row_limit=18, max_name_column_width=45)
    return table


def step_ms(pack: LockstepPack, device: str) -> float:
    """Milliseconds of a whole step of all members by :func:`clock`; a GPU is waited for once, after the last step."""
    before = clock(device)
    pack.run_epoch(Steps(REPEATS))
    return 1e3 * (clock(device) - before) / REPEATS


def batch_of(pack: LockstepPack) -> TrainBatch:
    """The first batch of the first epoch, as the members see it."""
    return pack._augmented(next(pack._train_batches(1)), 1, 0)


def report(kind: str, case: Case, size: int, device: str) -> str:
    """What a step of such a pack consists of."""
    pack = (FusedPack if kind == "fused" else LockstepPack)(
        members(size),
        model=case.model,
        optimizer="adamw",
        data=dataset(case, device, None),
        recipe=recipe(case),
        epochs=1,
        study_seed=0,
        device=device,
    )
    pack.run_epoch(Steps(WARM_UP))
    lines = [f"{kind}: {case.model}, {case.image_size} px, {case.batch_size} images, {size} members, {device}"]
    whole = step_ms(pack, device)
    lines.append(f"  {'a whole step of all members':55} {whole:8.3f} ms, {whole / size:.3f} ms a member")
    table = longest(pack, device)
    batch = batch_of(pack)
    if kind == "fused":
        assert isinstance(pack, FusedPack)
        assert pack._fused is not None, pack.note
        parts = fused_parts(pack._fused, batch)
    else:
        parts = member_parts(pack, batch)
    for name, part in parts.items():
        lines.append(f"  {name:55} {median_ms(part, device):8.3f} ms {operations(part):6} operations")
    return "\n".join([*lines, "", table])


def main() -> None:
    """Print both reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[name for name in CASES if not CASES[name].jpeg], default="micro32")
    parser.add_argument("--size", type=int, default=8, help="members; default 8")
    parser.add_argument("--kinds", default="loop,fused")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for kind in options.kinds.split(","):
        print(report(kind, CASES[options.case], options.size, options.device), flush=True)


if __name__ == "__main__":
    main()
