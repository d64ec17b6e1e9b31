"""What an arm's model and its training cost."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmCost:
    """The cost of one arm, as far as its study recorded it; ``None`` where it did not."""

    parameters: int | None = None
    """Trainable parameters of the model."""
    flops: int | None = None
    """Multiply-adds of one image through the model."""
    activations: int | None = None
    """Outputs of the convolutions and matrix products for one image."""
    images_per_epoch: int | None = None
    """Training images of one epoch."""
    gpus: float | None = None
    """GPUs that one pack held; 0 on a CPU."""
