"""A model that can be watched from outside: a test puts this file beside a study that imports it.

Every evaluation appends a line with the trial's seed to ``epochs.log`` beside this file, so that an epoch that was trained
twice is seen; each lasts as many seconds as the file ``pause`` says, so that what a test does hits the middle.
"""

import time
from pathlib import Path

import torch
from torch import nn

import stablesweep as ss

FOLDER = Path(__file__).parent


class Watched(nn.Module):
    """A multilayer perceptron; a step takes it well under a millisecond."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__()
        self.seed = torch.initial_seed()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 16), nn.ReLU(), nn.Linear(16, num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of shape (B, classes) for images of shape (B, C, H, W)."""
        logits: torch.Tensor = self.layers(images)
        return logits

    def train(self, mode: bool = True) -> "Watched":
        """Notes an epoch where training turns to evaluation."""
        if self.training and not mode:
            time.sleep(float((FOLDER / "pause").read_text()))
            with (FOLDER / "epochs.log").open("a") as log:
                log.write(f"{self.seed}\n")
        super().train(mode)
        return self


@ss.register_model("watched")
def watched(*, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
    """The model at the dataset's size."""
    return Watched(in_channels * image_size**2, num_classes)
