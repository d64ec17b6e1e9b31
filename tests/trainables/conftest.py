"""A small piece of the digits, and a registry that is as it was after each test."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch

from trainables import ImageData, LockstepPack, Member, MemberResult, Recipe, load_dataset, registry

Numbers = list[tuple[Any, ...]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_user_models", "_user_datasets", "_user_optimizers", "_user_trainables"):
        monkeypatch.setattr(registry, table, {})


@pytest.fixture(scope="session")
def small_data() -> ImageData:
    """160 training and 80 evaluation images of the digits, 16 px."""
    digits = load_dataset("digits", image_size=16)
    assert isinstance(digits, ImageData)
    return ImageData(
        name="small",
        train_images=digits.train_images[:160],
        train_labels=digits.train_labels[:160],
        eval_images=digits.eval_images[:80],
        eval_labels=digits.eval_labels[:80],
        num_classes=10,
        mean=digits.mean,
        std=digits.std,
    )


@pytest.fixture
def make_pack(small_data: ImageData) -> Callable[..., LockstepPack]:
    def make(members: list[Member], **changes: Any) -> LockstepPack:
        asked: dict[str, Any] = {
            "model": "vit_c_micro",
            "optimizer": "sgd",
            "data": small_data,
            "recipe": Recipe(batch_size=32, warmup_epochs=0.5),
            "epochs": 2,
            "study_seed": 5,
        }
        return LockstepPack(members, **{**asked, **changes})

    return make


@pytest.fixture
def member() -> Callable[..., Member]:
    def make(index: int, **hyperparameters: float) -> Member:
        values: Mapping[str, float] = {"lr": 0.02 * (index + 1), "weight_decay": 1e-4, **hyperparameters}
        return Member(key=f"stability/arm/{index:06d}/0", seed=100 + index, hyperparameters=values)

    return make


@pytest.fixture
def numbers() -> Callable[[LockstepPack], dict[str, Numbers]]:
    """Runs a pack to its end; everything but the times, by key."""

    def without_times(result: MemberResult) -> Numbers:
        rows: Numbers = [(row.epoch, row.train_loss, row.error, row.eval_loss, row.lr) for row in result.history]
        return [*rows, (result.status, result.error, result.best_error, result.epochs_done, result.reason)]

    def run(pack: LockstepPack) -> dict[str, Numbers]:
        while not pack.finished:
            pack.run_epoch()
        return {result.key: without_times(result) for result in pack.results()}

    return run
