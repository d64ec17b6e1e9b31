"""The order in which an epoch reads the images: a function of (study seed, epoch) alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trainables.data.dataset import Reading

Rows = npt.NDArray[np.int64]


def batch_order(num_train: int, batch_size: int, *, study_seed: int, epoch: int) -> torch.Tensor:
    """Which images each step of an epoch reads: a function of (study seed, epoch) alone, the same for every trial.

    Args:
        num_train: Number of training images.
        batch_size: Images a step; the images that do not fill a last batch are left out of this epoch.
        study_seed: 0 or more.
        epoch: Counted from 1.

    Returns:
        Indices, int64, shape (num_train // batch_size, batch_size); no index occurs twice.

    Raises:
        ValueError: If there are fewer images than one batch holds, or the seed is negative.
    """
    _check(num_train, batch_size, study_seed)
    order = torch.randperm(num_train, generator=_epoch_generator(study_seed, epoch))
    steps = num_train // batch_size
    return order[: steps * batch_size].view(steps, batch_size)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WindowedOrder:
    """An order that reads a grouped file window by window."""

    rows: Rows
    """All rows in the order in which the epoch reads them, shape (N,)."""
    ends: Rows
    """Where each window ends in ``rows``, increasing; the last is N."""


def windowed_order(group_sizes: Rows, window_rows: int, *, study_seed: int, epoch: int) -> WindowedOrder:
    """Row groups permuted, cut into windows of whole groups, and the rows of each window permuted.

    Rows that lie far apart on the disk meet in a window, and only one window need be held to deal them out.

    Args:
        group_sizes: Rows of each group in the order of the files, shape (G,); each 1 or more.
        window_rows: Fewest rows of a window, 1 or more; a rest that is smaller joins the window before it.
        study_seed: 0 or more.
        epoch: Counted from 1.

    Raises:
        ValueError: If the seed is negative.
    """
    _check(int(group_sizes.sum()), 1, study_seed)
    generator = _epoch_generator(study_seed, epoch)
    starts = np.concatenate([[0], np.cumsum(group_sizes)[:-1]])
    groups = torch.randperm(len(group_sizes), generator=generator).numpy()
    ends = _window_ends(group_sizes[groups], window_rows)
    rows = np.concatenate([np.arange(starts[group], starts[group] + group_sizes[group]) for group in groups])
    windows = np.split(rows, ends[:-1])
    shuffled = [window[torch.randperm(len(window), generator=generator).numpy()] for window in windows]
    return WindowedOrder(rows=np.concatenate(shuffled), ends=ends)


def share(reading: Reading, num_samples: int) -> tuple[Rows, Rows]:
    """What one rank reads of an order of ``num_samples`` places.

    Returns:
        The places, int64, increasing, from ``reading.first_step`` on; and how many of them each step has, one number
        for each step that is left, 0 where a last short step has none for this rank.

    Raises:
        ValueError: If the batch size is not a positive multiple of ``reading.world``, or the rank is not below it.
    """
    batch_size, world = reading.batch_size, reading.world
    if world < 1 or batch_size < 1 or batch_size % world:
        raise ValueError(f"batch_size: got {batch_size} for {world} ranks, expected a positive multiple of {world}")
    if not 0 <= reading.rank < world:
        raise ValueError(f"rank: got {reading.rank}, expected 0 to {world - 1}")
    places = np.arange(reading.first_step * batch_size, num_samples, dtype=np.int64)
    places = places[places % batch_size // (batch_size // world) == reading.rank]
    steps = max(0, -(-num_samples // batch_size) - reading.first_step)
    return places, np.bincount(places // batch_size - reading.first_step, minlength=steps).astype(np.int64)


def crop_key(study_seed: int, epoch: int) -> tuple[int, int]:
    """Key of the counter-based generator that draws an epoch's crops; a sample's counter is its row."""
    # A spawn key, because SeedSequence pads with zeros: [seed, epoch, 0] would be the order's own seed.
    words = np.random.SeedSequence([study_seed, epoch], spawn_key=(1,)).generate_state(2, np.uint64)
    return int(words[0]), int(words[1])


def _check(num_train: int, batch_size: int, study_seed: int) -> None:
    if not 1 <= batch_size <= num_train:
        raise ValueError(f"batch_size: got {batch_size}, expected 1 to {num_train}, the number of training images")
    if study_seed < 0:
        raise ValueError(f"study seed: got {study_seed}, expected 0 or more")


def _epoch_generator(study_seed: int, epoch: int) -> torch.Generator:
    # SeedSequence mixes the pair, so that epoch 2 of seed 0 is not epoch 1 of seed 1.
    seed = int(np.random.SeedSequence([study_seed, epoch]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed >> 1)


def _window_ends(sizes: Rows, window_rows: int) -> Rows:
    ends, filled = [], 0
    total = np.cumsum(sizes)
    for size, end in zip(sizes.tolist(), total.tolist(), strict=True):
        filled += size
        if filled >= window_rows:
            ends.append(end)
            filled = 0
    # A small rest would be a window of few groups, hardly mixed.
    ends = [*(ends[:-1] if filled else ends), int(total[-1])] if ends else [int(total[-1])]
    return np.unique(np.array(ends, dtype=np.int64))
