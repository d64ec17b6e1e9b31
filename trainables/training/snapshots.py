"""Copies of nested state for checkpoints."""

from collections.abc import Mapping
from typing import Any

import torch


def copied(value: Any) -> Any:
    """The same nested state in plain dicts, lists and tuples, every tensor a copy on the CPU.

    A copy, because training goes on in place while a checkpoint is still being written.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, tuple):
        return tuple(copied(item) for item in value)
    return value
