"""A model that needs much memory, and a worker that has little: a test puts this file beside a study that imports it.

Memory is address space here, which a process may be granted less of than there is, so that nothing else runs out of it.
"""

import resource
from pathlib import Path

import torch
from torch import nn

import stablesweep as ss

GIB = 2**30
NEEDS = 2 * GIB
"""Of each model."""
ROOM = 5 * GIB
"""Of a worker, for its models: there is room for two."""


def _limit_this_worker() -> None:
    """Grant a worker :data:`ROOM` beyond what it has when it builds its first model."""
    if b"RayTrainWorker" not in Path("/proc/self/cmdline").read_bytes():
        return
    if (
        resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
        and (Path(__file__).with_name("limit")).exists()
    ):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class Hungry(nn.Module):
    """A linear model that also holds memory."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__()
        self.held = [torch.zeros(NEEDS, dtype=torch.uint8)]
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(pixels, num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of shape (B, classes) for images of shape (B, C, H, W)."""
        logits: torch.Tensor = self.layers(images)
        return logits


@ss.register_model("hungry")
def hungry(*, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
    """The model at the dataset's size."""
    _limit_this_worker()
    return Hungry(in_channels * image_size**2, num_classes)
