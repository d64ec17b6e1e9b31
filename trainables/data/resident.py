"""Data that is held where it is trained on, if it fits there."""

from dataclasses import replace

import torch

from trainables.data.dataset import Dataset
from trainables.data.memory import ImageData

RESIDENT_SHARE = 0.25
"""Of a device's free memory, and of a worker's share of all of it, what a dataset may take there at most: the rest is
for models and what they compute."""


def resident(data: Dataset, device: torch.device, share: float = 1.0) -> Dataset:
    """The same dataset, held on the device if that is a GPU, the data is in memory, and it fits.

    A batch is then gathered on the GPU: nothing is copied and nothing waits, step by step. Its order and pixels are the same
    to the bit. Any other dataset is returned as it is, one of a class of the user's own included; so is one for which
    there is no memory after all, because others that share the GPU took it meanwhile.

    Args:
        data: Any dataset.
        device: Where it is trained on.
        share: Of the device, what is for this process.
    """
    # A subclass may read its batches in a way of its own, which need not work on a GPU.
    if device.type != "cuda" or type(data) is not ImageData or not fits(_bytes(data), _usable_bytes(device, share)):
        return data
    try:
        return _moved(data, device)
    except torch.OutOfMemoryError:
        return data


def fits(needed: int, free: int) -> bool:
    """Whether a dataset of ``needed`` bytes is to be held on a device with ``free`` bytes."""
    return needed <= RESIDENT_SHARE * free


def _moved(data: ImageData, device: torch.device) -> ImageData:
    return replace(
        data,
        train_images=data.train_images.to(device),
        train_labels=data.train_labels.to(device),
        eval_images=data.eval_images.to(device),
        eval_labels=data.eval_labels.to(device),
    )


def _bytes(data: ImageData) -> int:
    return sum(tensor.nbytes for tensor in (data.train_images, data.train_labels, data.eval_images, data.eval_labels))


def _usable_bytes(device: torch.device, share: float) -> int:
    free, total = torch.cuda.mem_get_info(device)
    # What torch keeps of tensors that are gone is as good as free.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    # The first of several workers finds all of it free, also what the others will need.
    return min(int(free) + kept, int(share * total))
