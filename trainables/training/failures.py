"""Whose fault an exception is."""

import torch


def is_the_processes(error: Exception) -> bool:
    """Whether an exception says that the whole process is in trouble: out of memory, or a broken accelerator."""
    kinds: tuple[type[Exception], ...] = (MemoryError, torch.OutOfMemoryError)
    if hasattr(torch, "AcceleratorError"):
        kinds = (*kinds, torch.AcceleratorError)
    # Torch's CPU allocator has no exception type of its own.
    return isinstance(error, kinds) or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
