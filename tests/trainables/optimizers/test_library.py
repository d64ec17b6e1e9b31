import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables import UnknownName, create_optimizer, optimizer_hyperparameters, registry
from trainables.optimizers import optimizer_spec, require_hyperparameters
from trainables.training.records import Hyperparameter

ROOT = Path(__file__).parents[3]
timm_optim: Any = import_module("timm.optim")
# kron compiles a function when it is built, which takes longer than all the others together.
TIMM_NAMES: list[str] = [name for name in timm_optim.list_optimizers() if "kron" not in name]
TORCH_CLASSES: dict[str, Any] = {
    name: value
    for name, value in vars(torch.optim).items()
    if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
}


def small_model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))


def some_steps(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    images = torch.randn(6, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), torch.arange(6) % 3).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def usable(names: list[str], prefix: str) -> Iterator[str]:
    for name in names:
        try:
            registry.require_optimizer(f"{prefix}:{name}")
        except UnknownName:
            raise
        except ValueError:
            continue
        yield name


def settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def own_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    decayed: list[torch.Tensor] = []
    plain: list[torch.Tensor] = []
    for name, parameter in model.named_parameters():
        (plain if "bias" in name or name.startswith("1.") else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def test_timms_optimizers_are_what_timms_factory_builds() -> None:
    names = list(usable(TIMM_NAMES, "timm"))
    assert len(names) >= 70
    for name in names:
        ours_model, their_model = small_model(), small_model()
        ours = create_optimizer(f"timm:{name}", ours_model, {"lr": 2e-3, "weight_decay": 0.05})
        groups: Any = own_groups(their_model, 0.05)
        theirs = timm_optim.create_optimizer_v2(groups, opt=name, lr=2e-3)
        assert type(ours) is type(theirs)
        assert settings(ours) == settings(theirs), name
        assert torch.equal(some_steps(ours_model, ours), some_steps(their_model, theirs)), name


def test_torchs_optimizers_are_the_classes_with_their_own_defaults() -> None:
    names = list(usable(list(TORCH_CLASSES), "torch"))
    assert sorted(set(TORCH_CLASSES) - set(names)) == ["LBFGS", "Muon", "SparseAdam"]
    for name in names:
        ours_model, their_model = small_model(), small_model()
        ours = create_optimizer(f"torch:{name}", ours_model, {"lr": 2e-3})
        default = inspect.signature(TORCH_CLASSES[name]).parameters.get("weight_decay")
        groups = own_groups(their_model, 0.0 if default is None else default.default)
        if default is None:
            groups = [{"params": group["params"]} for group in groups]
        theirs = TORCH_CLASSES[name](groups, lr=2e-3)
        assert settings(ours) == settings(theirs), name
        assert torch.equal(some_steps(ours_model, ours), some_steps(their_model, theirs)), name


def test_hyperparameters_are_the_constructors() -> None:
    assert optimizer_hyperparameters("torch:RMSprop") == {
        *("lr", "alpha", "eps", "weight_decay", "momentum", "centered"),
    }
    assert optimizer_hyperparameters("timm:lion") == {
        *("lr", "beta1", "beta2", "weight_decay", "caution", "corrected_weight_decay"),
    }
    assert {"beta1", "beta2", "beta3"} <= optimizer_hyperparameters("timm:adan")
    assert optimizer_hyperparameters("torch:Rprop") == {"lr", "etas_1", "etas_2", "step_sizes_1", "step_sizes_2"}
    spec = optimizer_spec("torch:Adafactor")
    assert spec.required == {"lr"}
    assert (spec.optional["eps_1"], spec.optional["eps_2"]) == (None, 1e-3)
    assert optimizer_spec("timm:lambc").optional["trust_clip"] is True


def test_tuples_and_words_arrive_where_they_belong() -> None:
    values = {"lr": 0.1, "beta1": 0.5, "beta3": 0.7, "no_prox": True}
    group = create_optimizer("timm:adan", small_model(), values).param_groups[0]
    assert (group["betas"], group["no_prox"]) == ((0.5, 0.92, 0.7), True)
    words: dict[str, Hyperparameter] = {"lr": 0.1, "adjust_lr_fn": "original", "ns_steps": 3.0}
    group = create_optimizer("timm:muon", small_model(), words).param_groups[0]
    assert (group["adjust_lr_fn"], group["ns_steps"]) == ("original", 3)
    assert isinstance(group["ns_steps"], int)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch:RMSPorp", r"unknown optimizer 'torch:RMSPorp'; did you mean 'torch:RMSprop'\?"),
        ("timm:lionn", r"unknown optimizer 'timm:lionn'; did you mean 'timm:lion"),
        ("adma", r"unknown optimizer 'adma'; did you mean 'adamw'\? known: adamw, sgd, torch:NAME, timm:NAME"),
        ("jax:adam", "unknown optimizer 'jax:adam'"),
        ("torch:", "unknown optimizer 'torch:'"),
        ("torch:Optimizer", "unknown optimizer 'torch:Optimizer'"),
    ],
)
def test_an_unknown_name_gets_the_closest_match(name: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        registry.require_optimizer(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torch:LBFGS", "closure"),
        ("torch:SparseAdam", "sparse gradients"),
        ("torch:Muon", "choose 'timm:muon'"),
        ("timm:adahessian", "second derivatives"),
        ("timm:fusedadam", "package 'apex'"),
        ("timm:bnbadam8bit", "package 'bitsandbytes'"),
    ],
)
def test_what_cannot_be_trained_with_is_refused_in_one_sentence(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        registry.require_optimizer(name)
    assert not isinstance(caught.value, UnknownName)
    assert str(caught.value).startswith(f"optimizer {name!r}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight_decay": 0.1}, "hyperparameter 'lr' is missing"),
        ({"lr": 0.1, "beta4": 0.1}, "unknown hyperparameter of optimizer 'torch:Adam' 'beta4'"),
        ({"lr": 0.1, "fused": True}, "unknown hyperparameter of optimizer 'torch:Adam' 'fused'"),
    ],
)
def test_names_of_hyperparameters_are_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_hyperparameters("torch:Adam", values)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("amsgrad", 0.5, "'amsgrad' is 0.5, expected true or false"),
        ("eps", "small", "'eps' is 'small', expected a number"),
        ("eps", True, "'eps' is True, expected a number"),
        ("beta1", 1.5, "refuses this model or these hyperparameters: Invalid beta parameter"),
    ],
)
def test_values_are_checked(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_optimizer("torch:Adam", small_model(), {"lr": 0.1, name: value})


def test_a_whole_number_is_asked_for_where_one_is_meant() -> None:
    with pytest.raises(ValueError, match=r"'ns_steps' is 2\.5, expected a whole number"):
        create_optimizer("timm:muon", small_model(), {"lr": 0.1, "ns_steps": 2.5})


def test_builtin_names_need_no_library() -> None:
    code = """
import sys
from trainables import optimizers, registry
registry.require_optimizer("sgd"), optimizers.optimizer_hyperparameters("adamw")
print(sorted({"torch", "timm", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
