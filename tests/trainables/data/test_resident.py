"""Data that is held on the device, and copies that nothing waits for."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables import Batch, ImageData, Reading, batch_order
from trainables.data import resident as module
from trainables.data.resident import fits, resident
from trainables.data.transfer import to_device

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def all_batches(data: ImageData, reading: Reading) -> list[Batch]:
    train = data.train_batches(reading, study_seed=3, epoch=2, crop=None)
    return [*train, *data.eval_batches(reading)]


@contextmanager
def nothing_waits() -> Iterator[None]:
    """Inside, torch raises where this process would wait for the GPU."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_at_most_a_quarter_of_the_free_memory_is_taken() -> None:
    assert fits(25, 100)
    assert not fits(26, 100)
    assert not fits(1, 0)


@given(needed=st.integers(0, 2**50), free=st.integers(0, 2**50), more=st.integers(0, 2**50))
def test_what_fits_still_fits_with_more_memory_or_less_data(needed: int, free: int, more: int) -> None:
    if fits(needed, free):
        assert fits(needed, free + more)
        assert fits(max(0, needed - more), free)


def test_on_a_cpu_a_dataset_stays_what_it_is(small_data: ImageData) -> None:
    assert resident(small_data, torch.device("cpu")) is small_data
    assert to_device(small_data.train_images, torch.device("cpu")) is small_data.train_images


@pytest.mark.parametrize("world", [1, 2])
def test_batches_are_gathered_where_the_images_are(small_data: ImageData, world: int) -> None:
    order = batch_order(160, 32, study_seed=3, epoch=2)
    for rank in range(world):
        reading = Reading(batch_size=32, rank=rank, world=world, first_step=1)
        found = list(small_data.train_batches(reading, study_seed=3, epoch=2, crop=None))
        assert len(found) == 4
        for batch, rows in zip(found, order[1:].tolist(), strict=True):
            mine = rows[rank * 32 // world : (rank + 1) * 32 // world]
            assert torch.equal(batch.images, torch.stack([small_data.train_images[row] for row in mine]))
            assert batch.labels.tolist() == [int(small_data.train_labels[row]) for row in mine]


def test_a_worker_takes_no_more_than_a_quarter_of_its_share(
    small_data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = module._bytes(small_data)
    held: list[ImageData] = []
    for name, value in {
        "mem_get_info": (16 * needed, 20 * needed),
        "memory_reserved": 3,
        "memory_allocated": 3,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda _device, _value=value: _value)

    def moved(data: ImageData, _device: torch.device) -> ImageData:
        held.append(data)
        return data

    monkeypatch.setattr(module, "_moved", moved)
    for share, times in ((1.0, 1), (0.2, 2), (0.19, 2)):
        resident(small_data, torch.device("cuda"), share)
        assert len(held) == times
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (4 * needed - 1, 20 * needed))
    resident(small_data, torch.device("cuda"))
    assert len(held) == 2


def test_where_memory_does_not_suffice_after_all_it_stays_where_it_is(
    small_data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(module, "_usable_bytes", lambda _device, _share: 2**40)
    monkeypatch.setattr(torch.Tensor, "to", full)
    assert resident(small_data, torch.device("cuda")) is small_data


@needs_gpu
@pytest.mark.parametrize("world", [1, 2])
def test_a_resident_dataset_gives_the_same_batches_without_waiting(small_data: ImageData, world: int) -> None:
    device = torch.device("cuda")
    held = resident(small_data, device)
    assert isinstance(held, ImageData)
    for rank in range(world):
        reading = Reading(batch_size=32, rank=rank, world=world)
        expected = all_batches(small_data, reading)
        with nothing_waits():
            found = all_batches(held, reading)
        assert len(found) == len(expected) == 8
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.images.device.type == ours.labels.device.type == "cuda"
            assert torch.equal(ours.images.cpu(), theirs.images)
            assert torch.equal(ours.labels.cpu(), theirs.labels)


@needs_gpu
def test_what_does_not_fit_is_copied_without_waiting(small_data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda")
    monkeypatch.setattr(module, "RESIDENT_SHARE", 0.0)
    assert resident(small_data, device) is small_data
    to_device(small_data.train_images, device)
    with nothing_waits():
        copied = [to_device(batch.images, device) for batch in all_batches(small_data, Reading(batch_size=32))]
    for ours, theirs in zip(copied, all_batches(small_data, Reading(batch_size=32)), strict=True):
        assert torch.equal(ours.cpu(), theirs.images)


@needs_gpu
def test_a_class_of_the_users_own_is_left_alone(small_data: ImageData) -> None:
    class Own(ImageData):
        pass

    names = ("name", "train_images", "train_labels", "eval_images", "eval_labels", "num_classes", "mean", "std")
    own = Own(**{name: getattr(small_data, name) for name in names})
    assert resident(own, torch.device("cuda")) is own
