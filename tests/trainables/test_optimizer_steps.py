import numpy as np
import pytest
import torch
from torch import nn

from trainables import UnknownName, create_model, create_optimizer, optimizer_hyperparameters
from trainables.optimizers import weight_decay_groups


def one_weight(start: list[float]) -> nn.Linear:
    model = nn.Linear(len(start), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([start]))
    return model


def run_steps(name: str, hyperparameters: dict[str, float | bool], gradients: np.ndarray) -> np.ndarray:
    model = one_weight([0.5, -1.0, 2.0])
    optimizer = create_optimizer(name, model, hyperparameters)
    for gradient in gradients:
        model.weight.grad = torch.tensor(gradient[None], dtype=torch.float32)
        optimizer.step()
    return np.asarray(model.weight.detach()[0])


GRADIENTS = np.array([[0.3, -0.2, 1.0], [-0.1, 0.4, 2.0], [0.2, 0.2, -0.5]])


def test_sgd_follows_its_closed_form_with_nesterov_momentum() -> None:
    weight, velocity = np.array([0.5, -1.0, 2.0]), np.zeros(3)
    for gradient in GRADIENTS:
        decayed = gradient + 0.01 * weight
        velocity = 0.9 * velocity + decayed
        weight = weight - 0.1 * (decayed + 0.9 * velocity)
    np.testing.assert_allclose(run_steps("sgd", {"lr": 0.1, "weight_decay": 0.01}, GRADIENTS), weight, rtol=1e-5)


def test_sgd_without_nesterov() -> None:
    weight, velocity = np.array([0.5, -1.0, 2.0]), np.zeros(3)
    for gradient in GRADIENTS:
        velocity = 0.5 * velocity + gradient
        weight = weight - 0.1 * velocity
    hyperparameters = {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.5, "nesterov": False}
    np.testing.assert_allclose(run_steps("sgd", hyperparameters, GRADIENTS), weight, rtol=1e-5)


def test_sgd_without_momentum_needs_no_word_about_nesterov() -> None:
    weight = np.array([0.5, -1.0, 2.0]) - 0.1 * GRADIENTS.sum(axis=0)
    hyperparameters: dict[str, float | bool] = {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.0}
    np.testing.assert_allclose(run_steps("sgd", hyperparameters, GRADIENTS), weight, rtol=1e-5)


def test_adamw_follows_its_closed_form() -> None:
    lr, decay, beta1, beta2, eps = 0.01, 0.2, 0.9, 0.999, 1e-8
    weight, first, second = np.array([0.5, -1.0, 2.0]), np.zeros(3), np.zeros(3)
    for step, gradient in enumerate(GRADIENTS, start=1):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        update = first / (1 - beta1**step) / (np.sqrt(second / (1 - beta2**step)) + eps)
        weight = weight * (1 - lr * decay) - lr * update
    np.testing.assert_allclose(run_steps("adamw", {"lr": lr, "weight_decay": decay}, GRADIENTS), weight, rtol=1e-5)


def test_adamw_takes_its_optional_hyperparameters() -> None:
    values = {"lr": 0.1, "weight_decay": 0.0, "beta1": 0.0, "beta2": 0.5, "eps": 1e-3}
    group = create_optimizer("adamw", one_weight([1.0]), values).param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.0, 0.5), 1e-3)
    assert optimizer_hyperparameters("adamw") == set(values)
    assert optimizer_hyperparameters("sgd") == {"lr", "weight_decay", "momentum", "nesterov"}


@pytest.mark.parametrize("name", ["vit_p_micro", "vit_c_micro"])
def test_norms_and_biases_are_not_decayed_and_the_embeddings_are(name: str) -> None:
    model = create_model(name, num_classes=10, image_size=32, in_channels=1)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    decayed, plain = ([names[id(parameter)] for parameter in group] for group in weight_decay_groups(model))
    assert sorted(decayed + plain) == sorted(names.values())
    assert {"cls_token", "pos_embed", "head.weight", "patch_embed.proj.weight"} <= set(decayed)
    # The paper's own rule, by words in the name; the stem's batch norms are its layers 1, 4 and 7.
    by_name = [key for key in names.values() if "norm" in key or "bias" in key or key.split(".")[-2:-1] == ["1"]]
    stem_norms = [f"patch_embed.convs.{at}.{part}" for at in (1, 4, 7) for part in ("weight", "bias")]
    expected = {key for key in by_name if "convs" not in key} | (set(stem_norms) if "_c_" in name else set())
    assert set(plain) == expected


def test_groups_carry_the_decay() -> None:
    model = create_model("vit_c_micro", num_classes=10, image_size=32, in_channels=1)
    optimizer = create_optimizer("sgd", model, {"lr": 0.1, "weight_decay": 0.3})
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]


def test_groups_of_a_users_model() -> None:
    class RmsNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

    tied = nn.Linear(3, 3)
    model = nn.ModuleList([tied, RmsNorm(), nn.SyncBatchNorm(3), nn.ModuleList([tied]), nn.Linear(3, 1, bias=False)])
    model[4].weight.requires_grad_(False)
    decayed, plain = weight_decay_groups(model)
    assert [id(parameter) for parameter in decayed] == [id(tied.weight)]
    assert len(plain) == 4


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="no trainable parameter"):
        create_optimizer("sgd", nn.Identity(), {"lr": 0.1, "weight_decay": 0.0})


def test_wrong_hyperparameters_are_named() -> None:
    with pytest.raises(ValueError, match="optimizer 'sgd': hyperparameter 'weight_decay' is missing"):
        create_optimizer("sgd", one_weight([1.0]), {"lr": 0.1})
    with pytest.raises(UnknownName, match="hyperparameter of optimizer 'sgd' 'momentun'; did you mean 'momentum'"):
        create_optimizer("sgd", one_weight([1.0]), {"lr": 0.1, "weight_decay": 0.0, "momentun": 0.9})
