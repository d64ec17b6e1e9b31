from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from trainables import UnknownName, create_optimizer, optimizer_hyperparameters
from trainables.training.records import Hyperparameter


def one_weight(start: list[float]) -> nn.Linear:
    model = nn.Linear(len(start), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([start]))
    return model


def run_steps(name: str, hyperparameters: Mapping[str, Hyperparameter], gradients: np.ndarray) -> np.ndarray:
    model = one_weight([0.5, -1.0, 2.0])
    optimizer = create_optimizer(name, model, hyperparameters)
    for gradient in gradients:
        model.weight.grad = torch.tensor(gradient[None], dtype=torch.float32)
        optimizer.step()
    return np.asarray(model.weight.detach()[0])


GRADIENTS = np.array([[0.3, -0.2, 1.0], [-0.1, 0.4, 2.0], [0.2, 0.2, -0.5]])


@pytest.mark.parametrize("name", ["sgd", "torch:SGD", "timm:sgd"])
def test_sgd_follows_its_closed_form_with_nesterov_momentum(name: str) -> None:
    weight, velocity = np.array([0.5, -1.0, 2.0]), np.zeros(3)
    for gradient in GRADIENTS:
        decayed = gradient + 0.01 * weight
        velocity = 0.9 * velocity + decayed
        weight = weight - 0.1 * (decayed + 0.9 * velocity)
    # torch's own default is no momentum; timm's is 0.9 with Nesterov, as ours.
    words: dict[str, Hyperparameter] = {"momentum": 0.9, "nesterov": True} if name == "torch:SGD" else {}
    found = run_steps(name, {"lr": 0.1, "weight_decay": 0.01, **words}, GRADIENTS)
    np.testing.assert_allclose(found, weight, rtol=1e-5)


def test_sgd_without_nesterov() -> None:
    weight, velocity = np.array([0.5, -1.0, 2.0]), np.zeros(3)
    for gradient in GRADIENTS:
        velocity = 0.5 * velocity + gradient
        weight = weight - 0.1 * velocity
    hyperparameters = {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.5, "nesterov": False}
    np.testing.assert_allclose(run_steps("sgd", hyperparameters, GRADIENTS), weight, rtol=1e-5)


def test_sgd_without_momentum_needs_no_word_about_nesterov() -> None:
    weight = np.array([0.5, -1.0, 2.0]) - 0.1 * GRADIENTS.sum(axis=0)
    hyperparameters = {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.0}
    np.testing.assert_allclose(run_steps("sgd", hyperparameters, GRADIENTS), weight, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "torch:AdamW", "timm:adamw"])
def test_adamw_follows_its_closed_form(name: str) -> None:
    lr, decay, beta1, beta2, eps = 0.01, 0.2, 0.9, 0.999, 1e-8
    weight, first, second = np.array([0.5, -1.0, 2.0]), np.zeros(3), np.zeros(3)
    for step, gradient in enumerate(GRADIENTS, start=1):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        update = first / (1 - beta1**step) / (np.sqrt(second / (1 - beta2**step)) + eps)
        weight = weight * (1 - lr * decay) - lr * update
    np.testing.assert_allclose(run_steps(name, {"lr": lr, "weight_decay": decay}, GRADIENTS), weight, rtol=1e-5)


def test_lion_follows_its_closed_form() -> None:
    weight, momentum = np.array([0.5, -1.0, 2.0]), np.zeros(3)
    for gradient in GRADIENTS:
        weight = weight * (1 - 0.01 * 0.5) - 0.01 * np.sign(0.8 * momentum + 0.2 * gradient)
        momentum = 0.7 * momentum + 0.3 * gradient
    values = {"lr": 0.01, "weight_decay": 0.5, "beta1": 0.8, "beta2": 0.7}
    np.testing.assert_allclose(run_steps("timm:lion", values, GRADIENTS), weight, rtol=1e-5)


def test_rmsprop_follows_its_closed_form() -> None:
    weight, square = np.array([0.5, -1.0, 2.0]), np.zeros(3)
    for gradient in GRADIENTS:
        square = 0.95 * square + 0.05 * gradient**2
        weight = weight - 0.01 * gradient / (np.sqrt(square) + 1e-3)
    values = {"lr": 0.01, "alpha": 0.95, "eps": 1e-3}
    np.testing.assert_allclose(run_steps("torch:RMSprop", values, GRADIENTS), weight, rtol=1e-5)


def test_adamw_takes_its_optional_hyperparameters() -> None:
    values = {"lr": 0.1, "weight_decay": 0.0, "beta1": 0.0, "beta2": 0.5, "eps": 1e-3}
    group = create_optimizer("adamw", one_weight([1.0]), values).param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.0, 0.5), 1e-3)
    assert optimizer_hyperparameters("adamw") == set(values)
    assert optimizer_hyperparameters("sgd") == {"lr", "weight_decay", "momentum", "nesterov"}


def test_wrong_hyperparameters_are_named() -> None:
    with pytest.raises(ValueError, match="optimizer 'sgd': hyperparameter 'weight_decay' is missing"):
        create_optimizer("sgd", one_weight([1.0]), {"lr": 0.1})
    with pytest.raises(UnknownName, match="hyperparameter of optimizer 'sgd' 'momentun'; did you mean 'momentum'"):
        create_optimizer("sgd", one_weight([1.0]), {"lr": 0.1, "weight_decay": 0.0, "momentun": 0.9})
