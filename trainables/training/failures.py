"""Whose fault an exception is."""

import torch


def is_the_processes(error: Exception) -> bool:
    """Whether an exception says that the whole process is in trouble: out of memory, a broken
    accelerator, or another worker of its pack that is gone."""
    kinds: tuple[type[Exception], ...] = (ExchangeBroken,)
    if hasattr(torch, "AcceleratorError"):
        kinds = (*kinds, torch.AcceleratorError)
    return isinstance(error, kinds) or is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that memory ran out, on the host or on the device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # Torch's CPU allocator has no exception type of its own.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


class ExchangeBroken(RuntimeError):
    """Another worker of the pack is gone, or came to another point."""


class MemberFailedAlone(RuntimeError):
    """A member raised on one worker of its pack in the middle of an exchange: the others wait, and the pack cannot go on.

    Train the pack again without the member.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"member {key!r} failed on one of its pack's workers only: {reason}")
        self.key = key
        self.reason = reason
