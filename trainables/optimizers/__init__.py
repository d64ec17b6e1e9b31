"""Optimizers by name, with the paper's weight-decay groups. Torch is imported when an optimizer is built."""

from trainables.optimizers.create import create_optimizer
from trainables.optimizers.groups import weight_decay_groups
from trainables.optimizers.specs import (
    OPTIMIZERS,
    OptimizerSpec,
    optimizer_hyperparameters,
    optimizer_spec,
    require_hyperparameters,
)

__all__ = [
    "OPTIMIZERS",
    "OptimizerSpec",
    "create_optimizer",
    "optimizer_hyperparameters",
    "optimizer_spec",
    "require_hyperparameters",
    "weight_decay_groups",
]
