"""How fast a model is on this device, and how much memory it takes."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn

from trainables.models.create import create_model
from trainables.registry import require_model

BATCH_SIZES = {"cuda": 64, "cpu": 8}
"""Images in a batch, by kind of device, unless asked otherwise."""
MIN_SECONDS = 1.0
"""How long each speed is measured, at least; a whole number of batches."""
_WARMUP_STEPS = {"cuda": 5, "cpu": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The speed and the memory of one model on one device, in float32."""

    device: str
    """``cuda`` or ``cpu``."""
    batch_size: int
    train_images_per_s: float
    """Images per second in training: forward, cross-entropy, backward and an AdamW step, on data that is there already."""
    inference_images_per_s: float
    """Images per second in evaluation, without gradients."""
    peak_memory_bytes: int | None
    """Most memory that building and training took. On a GPU what torch had allocated there; on a CPU the growth of the
    process, and None where the system does not tell it."""


def default_device() -> str:
    """``cuda`` where torch has a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def measure_alone(
    name: str, *, num_classes: int, image_size: int, in_channels: int = 3, device: str, batch_size: int | None = None
) -> Measurement:
    """:func:`measure_model` in a process of its own, where nothing of an earlier model is left in memory.

    Raises:
        UnknownName: If no model has this name.
        RuntimeError: If the process died, as it does when the system runs out of memory; or the device's memory is full.
    """
    require_model(name)
    threads = torch.get_num_threads()
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        asked = pool.submit(
            measure_model,
            name,
            num_classes=num_classes,
            image_size=image_size,
            in_channels=in_channels,
            device=device,
            batch_size=batch_size,
        )
        try:
            return asked.result()
        except BrokenProcessPool as error:
            raise RuntimeError(f"model {name!r}: the measuring process died, most likely for want of memory") from error


def measure_model(
    name: str,
    *,
    num_classes: int,
    image_size: int,
    in_channels: int = 3,
    device: str,
    batch_size: int | None = None,
    min_seconds: float = MIN_SECONDS,
) -> Measurement:
    """The speed and memory of a model on this device, on random images.

    The peak of a CPU's memory is right in a fresh process only, since it counts memory that a process keeps.

    Args:
        name: Any name that :func:`trainables.create_model` takes.
        num_classes: Length of the logits.
        image_size: Side of the square images, pixels.
        in_channels: Channels of the images.
        device: ``cuda`` or ``cpu``.
        batch_size: Images in a batch; None: the one of :data:`BATCH_SIZES`.
        min_seconds: How long to measure each speed, at least.

    Raises:
        UnknownName: If no model has this name.
        ValueError: If the sizes do not fit each other.
    """
    batch = batch_size or BATCH_SIZES[device]
    resting = _memory_bytes(device, "VmRSS", reset=True)
    with torch.random.fork_rng(devices=None if device == "cuda" else []), torch.device(device):
        torch.manual_seed(0)
        model = create_model(name, num_classes=num_classes, image_size=image_size, in_channels=in_channels)
        images = torch.randn(batch, in_channels, image_size, image_size)
        labels = torch.randint(num_classes, (batch,))
    train = _images_per_s(_train_step(model, images, labels), batch, device, min_seconds)
    peak = _memory_bytes(device, "VmHWM")
    inference = _images_per_s(_inference_step(model, images), batch, device, min_seconds)
    return Measurement(
        device=device,
        batch_size=batch,
        train_images_per_s=train,
        inference_images_per_s=inference,
        peak_memory_bytes=None if peak is None or resting is None else max(0, peak - resting),
    )


def _train_step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(nn.functional.cross_entropy(model(images), labels))
        optimizer.step()

    model.train()
    return step


def _inference_step(model: nn.Module, images: torch.Tensor) -> Callable[[], None]:
    model.eval()

    @torch.inference_mode()
    def step() -> None:
        model(images)

    return step


def _images_per_s(step: Callable[[], None], batch: int, device: str, min_seconds: float) -> float:
    for _ in range(_WARMUP_STEPS[device]):
        step()
    _synchronize(device)
    steps, started, elapsed = 0, time.perf_counter(), 0.0
    while elapsed < min_seconds:
        step()
        _synchronize(device)
        steps, elapsed = steps + 1, time.perf_counter() - started
    return batch * steps / elapsed


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _memory_bytes(device: str, field: str, *, reset: bool = False) -> int | None:
    if device == "cuda":
        if reset:
            torch.zeros(1, device=device)  # torch starts CUDA with the first tensor, and cannot reset the peak before
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        return torch.cuda.max_memory_allocated()
    if not sys.platform.startswith("linux"):
        return None
    # Not getrusage: its peak is inherited from the process that started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    return None
