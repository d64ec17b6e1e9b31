"""Optimizers over a model's parameters. Torch is imported when one is built."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainables.optimizers.groups import weight_decay_groups
from trainables.optimizers.specs import OPTIMIZERS, require_hyperparameters

if TYPE_CHECKING:
    import torch

    from trainables.training.records import Hyperparameter


def create_optimizer(
    name: str,
    model: "torch.nn.Module",
    hyperparameters: Mapping[str, "Hyperparameter"],
    *,
    decay_embeddings: bool = True,
) -> "torch.optim.Optimizer":
    """The optimizer over the model's trainable parameters, in two groups: decayed and not.

    Args:
        name: One of :func:`trainables.optimizer_names`, the user's own among them, ``torch:NAME`` or ``timm:NAME``.
        model: The model to train.
        hyperparameters: Values by name; :func:`trainables.optimizers.optimizer_spec` says which.
        decay_embeddings: As in :func:`trainables.optimizers.weight_decay_groups`.

    Raises:
        UnknownName: If no optimizer, or none of its hyperparameters, has a given name.
        ValueError: If a required hyperparameter is missing, a value is out of range, or the optimizer does not take
            parameters of these shapes.
        TypeError: If the user's factory returns something other than an optimizer.
    """
    require_hyperparameters(name, hyperparameters)
    decayed, plain = weight_decay_groups(model, decay_embeddings)
    groups = [{"params": parameters} for parameters in (decayed, plain)]
    if name in OPTIMIZERS:
        values = {**OPTIMIZERS[name].optional, **hyperparameters}
        return _builtin(name, _decaying(groups, values["weight_decay"]), values, given=hyperparameters)
    from trainables.optimizers.library import optimizer_factory

    factory = optimizer_factory(name)
    if "weight_decay" in factory.arguments:
        decay = hyperparameters.get("weight_decay", factory.arguments["weight_decay"].default)
        groups = groups if decay is None else _decaying(groups, decay)
    return factory.create([group for group in groups if group["params"]], hyperparameters)


def _decaying(groups: list[dict[str, Any]], weight_decay: Any) -> list[dict[str, Any]]:
    decays = (float(weight_decay), 0.0)
    both = [{**group, "weight_decay": decay} for group, decay in zip(groups, decays, strict=True)]
    return [group for group in both if group["params"]]


def _builtin(
    name: str, groups: list[dict[str, Any]], values: Mapping[str, Any], *, given: Mapping[str, "Hyperparameter"]
) -> "torch.optim.Optimizer":
    import torch

    lr = float(values["lr"])
    if name == "adamw":
        betas = (float(values["beta1"]), float(values["beta2"]))
        return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=float(values["eps"]), fused=True)
    momentum = float(values["momentum"])
    # Nesterov is the default but has no meaning without momentum, where torch would refuse it.
    nesterov = bool(values["nesterov"]) and (momentum > 0 or "nesterov" in given)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
