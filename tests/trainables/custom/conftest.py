"""Packs of small trainables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainables import CustomPack, Member, MemberResult, Metrics, TrainingContext, registry

Row = tuple[Any, ...]


@pytest.fixture
def member() -> Callable[..., Member]:
    def make(index: int, **hyperparameters: Any) -> Member:
        return Member(key=f"m{index}", seed=100 + index, hyperparameters={"lr": 0.1 * (index + 1), **hyperparameters})

    return make


@pytest.fixture
def pack_of() -> Callable[..., CustomPack]:
    """A pack of any trainable, which is registered for it."""

    def make(trainable: Callable[..., Any], members: Sequence[Member], /, **changes: Any) -> CustomPack:
        registry._user_trainables["mine"] = trainable
        asked: dict[str, Any] = {
            "trainable": "mine",
            "model": "net",
            "optimizer": "sgd",
            "options": {},
            "epochs": 3,
            "study_seed": 5,
        }
        return CustomPack(members, **{**asked, **changes})

    return make


@pytest.fixture
def finish() -> Callable[..., dict[str, list[Row]]]:
    """Runs a pack to its end; everything but the times, by key, as texts so that NaN equals NaN."""

    def rows(result: MemberResult) -> list[Row]:
        epochs: list[Row] = [
            (row.epoch, row.error, repr(row.train_loss), repr(row.eval_loss), repr(row.lr), sorted(row.more.items()))
            for row in result.history
        ]
        return [*epochs, (result.status, result.error, result.best_error, result.epochs_done, result.reason)]

    def run(pack: CustomPack) -> dict[str, list[Row]]:
        while not pack.finished:
            pack.run_epoch()
        return {result.key: rows(result) for result in pack.results()}

    return run


@pytest.fixture
def descend() -> Callable[[Sequence[Member], TrainingContext], Iterator[Mapping[str, Metrics]]]:
    """Gradient descent on x² from 1, all members at once: after e epochs x is (1 - 2 lr)^e."""

    def train(members: Sequence[Member], context: TrainingContext) -> Iterator[Mapping[str, Metrics]]:
        lr = np.array([member.hyperparameters["lr"] for member in members], dtype=float)
        x = np.array([(context.state or {}).get(member.key, 1.0) for member in members])
        context.keep_state(lambda: {member.key: float(value) for member, value in zip(members, x, strict=True)})
        for _ in range(context.first_epoch, context.epochs + 1):
            x = x - lr * 2 * x
            yield {
                member.key: {"error": 100 * value**2, "gap": abs(value)}
                for member, value in zip(members, x, strict=True)
            }

    return train


@pytest.fixture
def fit_mlp() -> Callable[[Member, TrainingContext], Iterator[Metrics]]:
    """A regression with dropout, momentum and three kinds of noise, all drawn from global generators."""
    import random

    def train_one(member: Member, context: TrainingContext) -> Iterator[Metrics]:
        lr = float(member.hyperparameters["lr"])
        model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * lr, momentum=0.9)
        if context.state is not None:
            model.load_state_dict(context.state["model"])
            optimizer.load_state_dict(context.state["optimizer"])
        context.keep_state(lambda: {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
        for _ in range(context.first_epoch, context.epochs + 1):
            for _ in range(5):
                inputs = torch.randn(32, 4) + random.random() + float(np.random.normal())
                loss = ((model(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield {"error": float(loss.detach()), "train_loss": loss.item(), "lr": 0.1 * lr}

    return train_one
