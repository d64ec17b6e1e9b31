"""Whose fault an exception is."""

import torch

_OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_the_processes(error: Exception) -> bool:
    """Whether an exception says that the whole process is in trouble: out of memory, a broken
    accelerator, or another worker of its pack that is gone."""
    kinds: tuple[type[Exception], ...] = (ExchangeBroken,)
    if hasattr(torch, "AcceleratorError"):
        kinds = (*kinds, torch.AcceleratorError)
    return isinstance(error, kinds) or is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that memory ran out, on the host or on the device.

    Only torch's own allocator on the device has a type for it; the driver and the libraries below say it in the text of
    a ``RuntimeError``. One of a trainable's own that quotes such a text is taken for it too: its pack is split
    down to that trial, which is lost in place of failed, and later packs of its arm are small; no other result changes.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # These quote what another member or worker met.
    if isinstance(error, ExchangeBroken | MemberFailedAlone):
        return False
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


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
