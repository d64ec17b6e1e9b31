"""The recipes by name, as changes to the defaults of :class:`trainables.Recipe`. ``docs/recipes.md`` has the sources."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

IMAGENET_TRAIN = 1_281_167
"""Training images of ImageNet-1k."""

_PAPER: dict[str, Any] = {
    "batch_size": 2048,
    "lr_batch_size": 2048,
    "warmup_epochs": 5.0,
    "warmup": "over_cosine",
    "min_lr_fraction": 0.005,
    "lr_update": "epoch",
    # The public code's alpha is 1e-5 * batch / epochs a step: a horizon of 1 / (1e-5 * images) of the training.
    "ema_horizon": 1 / (1e-5 * IMAGENET_TRAIN),
    "ema_every": 32,
    "crop": "random_resized",
    "flip": 0.5,
    "auto_augment": "autoaugment",
    "pca_jitter": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "precise_batch_norm": 8192,
}
_DEIT: dict[str, Any] = {
    "batch_size": 1024,
    "lr_batch_size": 512,
    "warmup_epochs": 5.0,
    "warmup_start": 1e-3,
    "min_lr_fraction": 0.01,
    "lr_update": "epoch",
    "decay_embeddings": False,
    "crop": "random_resized",
    "flip": 0.5,
    "auto_augment": "randaugment",
    # DeiT's strength is 9 on a scale of 10, and each operation that it draws is applied with probability 1/2.
    "randaugment_magnitude": 27,
    "randaugment_probability": 0.5,
    "random_erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
}
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"plain": {}, "paper": _PAPER, "deit": _DEIT})
