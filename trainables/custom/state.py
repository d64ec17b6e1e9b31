"""The state that a trainable keeps, in what a checkpoint can hold."""

from collections.abc import Mapping
from typing import Any

import torch

from trainables.custom.faults import TrainableFault

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def plain_copy(value: Any, where: str = "state") -> Any:
    """The same in plain dicts, lists and tuples, every tensor a copy on the CPU, so that ``weights_only`` loads it.

    Args:
        value: What a trainable wants to keep.
        where: How messages call it.

    Raises:
        TrainableFault: If there is something else in it.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {
            plain_copy(key, f"a key of {where}"): plain_copy(item, f"{where}[{key!r}]") for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [plain_copy(item, f"{where}[{place}]") for place, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    # The type itself: numpy's float64 is a float that a checkpoint cannot hold.
    if type(value) not in _PLAIN:
        raise TrainableFault(
            f"{where} is of type {type(value).__module__}.{type(value).__qualname__}; "
            "keep tensors, numbers, texts, bytes, None, lists, tuples and dicts only"
        )
    return value
