"""Copies to a device that nothing waits for."""

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device. A copy to a GPU goes on beside what this process does next: nothing waits for it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From memory that may be paged out, CUDA copies in two stages, and this process waits for the first.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
