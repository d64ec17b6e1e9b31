import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables import (
    ImageData,
    LockstepPack,
    Member,
    Recipe,
    UnknownName,
    create_optimizer,
    optimizer_hyperparameters,
    optimizer_names,
    register_optimizer,
)
from trainables.optimizers import optimizer_spec
from trainables.registry import require_optimizer, user_optimizer

ROOT = Path(__file__).parents[3]


class SignSgd(torch.optim.Optimizer):
    """A step of lr along the sign of the gradient."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0, *, power: int = 1) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "power": power})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(parameter.grad.sign() ** group["power"], alpha=-group["lr"])


def small_model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def test_a_class_is_called_with_its_hyperparameters_and_the_groups_of_all_others() -> None:
    assert register_optimizer("sign", SignSgd) is SignSgd
    assert user_optimizer("sign") is SignSgd
    assert optimizer_names() == ("adamw", "sgd", "sign")
    require_optimizer("sign")
    spec = optimizer_spec("sign")
    assert spec.required == {"lr"}
    assert spec.optional == {"weight_decay": 0.0, "power": 1}
    model = small_model()
    optimizer = create_optimizer("sign", model, {"lr": 0.5, "weight_decay": 0.1, "power": 3.0})
    assert isinstance(optimizer, SignSgd)
    reference = create_optimizer("sgd", small_model(), {"lr": 0.5, "weight_decay": 0.1})
    for group, expected in zip(optimizer.param_groups, reference.param_groups, strict=True):
        assert [parameter.shape for parameter in group["params"]] == [one.shape for one in expected["params"]]
        assert (group["lr"], group["weight_decay"], group["power"]) == (0.5, expected["weight_decay"], 3)
    parameter = model.get_parameter("0.weight")
    weight = parameter.detach().clone()
    (model(torch.ones(1, 3)) ** 2).sum().backward()
    assert parameter.grad is not None
    sign = parameter.grad.sign()
    assert sign.any()
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), weight * 0.95 - 0.5 * sign)


def test_a_function_takes_what_it_names() -> None:
    @register_optimizer("quasi.hyperbolic")
    def build(groups: Any, *, lr: Any, nu: float, betas: tuple[float, float] = (0.9, 0.99), table: Any = ()) -> Any:
        return torch.optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1] * nu))

    spec = optimizer_spec("quasi.hyperbolic")
    assert spec.required == {"lr", "nu"}
    assert spec.optional == {"beta1": 0.9, "beta2": 0.99}
    assert optimizer_hyperparameters("quasi.hyperbolic") == {"lr", "nu", "beta1", "beta2"}
    optimizer = create_optimizer("quasi.hyperbolic", small_model(), {"lr": 1, "nu": 0.5, "beta1": 0.8})
    (group,) = optimizer.param_groups[:1]
    assert (group["lr"], group["betas"]) == (1.0, (0.8, 0.495))
    # Without a weight decay of its own it gets groups without any, and AdamW fills in its default.
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.01]
    assert callable(build)
    with pytest.raises(ValueError, match=r"optimizer 'quasi\.hyperbolic': hyperparameter 'nu' is missing"):
        create_optimizer("quasi.hyperbolic", small_model(), {"lr": 0.1})
    with pytest.raises(
        UnknownName, match=r"hyperparameter of optimizer 'quasi\.hyperbolic' 'mu'; known: beta1, beta2, lr, nu"
    ):
        create_optimizer("quasi.hyperbolic", small_model(), {"lr": 0.1, "mu": 0.1})


def test_weight_decay_may_be_required_or_none() -> None:
    register_optimizer("required", lambda groups, lr, weight_decay: torch.optim.SGD(groups, lr=lr))
    assert optimizer_spec("required").required == {"lr", "weight_decay"}
    optimizer = create_optimizer("required", small_model(), {"lr": 0.1, "weight_decay": 0.3})
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]

    def build(groups: Any, lr: float, weight_decay: float | None = None) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=lr, weight_decay=0.5 if weight_decay is None else weight_decay)

    register_optimizer("none", build)
    without = create_optimizer("none", small_model(), {"lr": 0.1})
    assert [group["weight_decay"] for group in without.param_groups] == [0.5, 0.5]
    with_it = create_optimizer("none", small_model(), {"lr": 0.1, "weight_decay": 0.2})
    assert [group["weight_decay"] for group in with_it.param_groups] == [0.2, 0.0]


def test_torchs_own_classes_and_partials_are_factories_too() -> None:
    register_optimizer("adam", torch.optim.Adam)
    assert optimizer_spec("adam").optional == optimizer_spec("torch:Adam").optional
    register_optimizer("heavy", partial(torch.optim.SGD, momentum=0.99))
    assert create_optimizer("heavy", small_model(), {"lr": 0.1}).param_groups[0]["momentum"] == 0.99


def test_postponed_annotations_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_postponed.py").write_text(
        "from __future__ import annotations\n"
        "import torch\n"
        "def build(groups, lr: float, steps: int | None = None, *, flag: bool) -> torch.optim.Optimizer: ...\n"
        "def unresolved(groups, lr: Missing, k: Missing) -> Missing: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("users_postponed")
    register_optimizer("postponed", module.build)
    assert optimizer_spec("postponed").required == {"lr", "flag"}
    assert optimizer_spec("postponed").optional == {"steps": None}
    register_optimizer("unresolved", module.unresolved)
    assert optimizer_spec("unresolved").required == {"lr", "k"}


class NeedsClosure(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any) -> None:  # type: ignore[override]
        closure()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda groups, **hyperparameters: None, "'bad': its factory takes no keyword argument named 'lr'"),
        (lambda groups, rate: None, "takes no keyword argument named 'lr'"),
        (lambda groups, lr, /: None, "takes no keyword argument named 'lr'"),
        (lambda: None, "does not take the parameter groups as its first argument"),
        (lambda *, lr: None, "does not take the parameter groups as its first argument"),
        (lambda lr=0.1: None, "does not take the parameter groups as its first argument"),
        (lambda groups, other, /, lr: None, "argument 'other' of its factory has no default and cannot be a hyperp"),
        (lambda groups, lr, fused: None, "argument 'fused' of its factory has no default"),
        (NeedsClosure, "needs a closure"),
        (dict.fromkeys, "argument"),
    ],
)
def test_a_factory_that_cannot_be_one_is_refused_when_it_is_registered(factory: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        register_optimizer("bad", factory)
    assert str(caught.value).startswith("optimizer 'bad'")
    assert "\n" not in str(caught.value)
    assert "bad" not in optimizer_names()


def test_an_argument_that_no_hyperparameter_can_be_needs_a_default() -> None:
    def build(groups: Any, lr: float, table: dict[str, float]) -> Any:
        return None

    with pytest.raises(ValueError, match="argument 'table' of its factory has no default"):
        register_optimizer("bad", build)


@pytest.mark.parametrize(
    ("name", "message"), [("sgd", "registered already"), ("a/b", "use letters, digits"), ("", "use letters, digits")]
)
def test_names_follow_the_same_rules_as_models(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register_optimizer(name, SignSgd)
    not_callable: Any = "text"
    with pytest.raises(TypeError, match="must be callable, got str"):
        register_optimizer("text", not_callable)


def test_a_name_cannot_be_taken_twice() -> None:
    register_optimizer("twice", SignSgd)
    with pytest.raises(ValueError, match="optimizer 'twice' is registered already"):
        register_optimizer("twice", SignSgd)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (float, "high", "'k' is 'high', expected a number"),
        (int, 2.5, r"'k' is 2\.5, expected a whole number"),
        (bool, 1, "'k' is 1, expected true or false"),
        (str, 1.0, r"'k' is 1\.0, expected a word"),
    ],
)
def test_values_without_a_default_are_checked_by_their_annotation(annotation: Any, value: Any, message: str) -> None:
    def build(groups: Any, lr: float, k: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=lr)

    build.__annotations__["k"] = annotation
    register_optimizer("typed", build)
    with pytest.raises(ValueError, match=message):
        create_optimizer("typed", small_model(), {"lr": 0.1, "k": value})


def test_something_other_than_an_optimizer_is_named() -> None:
    register_optimizer("nothing", lambda groups, lr: None)
    with pytest.raises(TypeError, match=r"optimizer 'nothing': its factory returned NoneType, expected a torch\.optim"):
        create_optimizer("nothing", small_model(), {"lr": 0.1})
    register_optimizer("closure", lambda groups, lr: NeedsClosure(groups, lr))
    with pytest.raises(ValueError, match="optimizer 'closure' needs a closure"):
        create_optimizer("closure", small_model(), {"lr": 0.1})


def test_a_value_that_it_refuses_is_one_sentence() -> None:
    register_optimizer("mine", torch.optim.Adam)
    with pytest.raises(ValueError, match=r"optimizer 'mine' refuses .*: Invalid beta parameter"):
        create_optimizer("mine", small_model(), {"lr": 0.1, "beta1": 2.0})


def test_the_schedule_sets_its_learning_rate(small_data: ImageData, make_pack: Callable[..., LockstepPack]) -> None:
    rates: list[float] = []

    @register_optimizer("noted")
    class Noted(torch.optim.SGD):
        def __init__(self, params: Any, lr: float, momentum: float = 0.9) -> None:
            super().__init__(params, lr=lr, momentum=momentum, nesterov=True)

        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            rates.append(self.param_groups[0]["lr"])
            super().step()

    assert Noted.__name__ == "Noted"
    recipe = Recipe(batch_size=32, warmup_epochs=1)
    pack = make_pack([Member(key="a", seed=1, hyperparameters={"lr": 0.1})], optimizer="noted", recipe=recipe)
    reference_values = {"lr": 0.1, "weight_decay": 0.0}
    reference = make_pack([Member(key="a", seed=1, hyperparameters=reference_values)], recipe=recipe)
    while not pack.finished:
        pack.run_epoch()
        reference.run_epoch()
    assert len(rates) == 10
    assert rates[4::5] == [row.lr for row in pack.results()[0].history]
    assert rates[:6] == sorted(set(rates[:6]))
    assert rates[5:] == sorted(set(rates[5:]), reverse=True)
    errors = [[row.train_loss for row in one.results()[0].history] for one in (pack, reference)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_a_function_is_looked_at_without_torch() -> None:
    code = """
import sys, trainables
trainables.register_optimizer("mine", lambda groups, *, lr, momentum=0.9: None)
print(sorted(trainables.optimizer_hyperparameters("mine")), trainables.optimizer_names())
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['lr', 'momentum'] ('adamw', 'mine', 'sgd')", "False"]
