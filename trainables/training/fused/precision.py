"""Products in full float32 on a GPU, whatever the process has chosen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def without_tf32(device: torch.device) -> Iterator[None]:
    """Inside, matrix products and convolutions on a GPU do not round to TF32; afterwards they do what they did before.

    Only what does round is touched, so that all other settings stay inherited, or made by torch's older names.
    """
    found = _settings() if device.type == "cuda" else []
    rounding = [(owner, name, on, off) for owner, name, on, off in found if getattr(owner, name) == on]
    try:
        for owner, name, _, off in rounding:
            setattr(owner, name, off)
        yield
    finally:
        for owner, name, on, _ in rounding:
            setattr(owner, name, on)


def _settings() -> list[tuple[Any, str, Any, Any]]:
    """Of each setting the owner, its name, and its values with TF32 and without."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    conv = getattr(cudnn, "conv", None)
    if conv is not None:
        # These can always be read; the older names raise once anyone in the process has used these.
        return [(owner, "fp32_precision", "tf32", "ieee") for owner in (matmul, conv)]
    return [(owner, "allow_tf32", True, False) for owner in (matmul, cudnn)]
