"""A model with a state that training changes."""

import torch
from torch import nn


class RunningMean(nn.Linear):
    """A linear model of whose logits a running mean is taken off; a subclass says how that is kept.

    Args:
        pixels: Numbers of one image.
        num_classes: Length of the logits.
    """

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__(pixels, num_classes)
        self.mean: torch.Tensor
        self.register_buffer("mean", torch.zeros(num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images.flatten(1))
        if self.training:
            self.note(logits.detach())
        return logits - self.mean

    def note(self, logits: torch.Tensor) -> None:
        """Update the mean with the logits of a batch, shape (B, num_classes)."""
        raise NotImplementedError
