"""Optimizers by name, with the paper's weight-decay groups. Torch is imported when an optimizer is built."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from trainables.records import Hyperparameter


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSpec:
    """Which hyperparameters an optimizer takes."""

    required: frozenset[str]
    optional: Mapping[str, float | bool]
    """Name to default."""


OPTIMIZERS: dict[str, OptimizerSpec] = {
    "adamw": OptimizerSpec(
        required=frozenset({"lr", "weight_decay"}), optional={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    ),
    "sgd": OptimizerSpec(required=frozenset({"lr", "weight_decay"}), optional={"momentum": 0.9, "nesterov": True}),
}
"""Built-in optimizers by name.

Source: arXiv:2106.14881v3, section 6: AdamW with betas 0.9 and 0.999, SGD with momentum 0.9. The paper does not say
whether the momentum is Nesterov's; its public code uses Nesterov by default, and so do we. AdamW's weight decay is
decoupled from the gradient and multiplied by the learning rate; SGD's is added to the gradient.
"""

# The whole name: BatchNorm2d, SyncBatchNorm, RmsNorm are norms, a fused LayerNormLinear is not.
_NORM_TYPE = re.compile(r"\w*(batch|layer|group|instance|rms)_?norm(act)?([123]d)?", re.IGNORECASE)


def optimizer_hyperparameters(name: str) -> frozenset[str]:
    """All hyperparameters that the optimizer takes, required and optional.

    Raises:
        UnknownName: If no optimizer has this name.
    """
    spec = _spec(name)
    return spec.required | frozenset(spec.optional)


def require_hyperparameters(name: str, hyperparameters: Mapping[str, "Hyperparameter"]) -> None:
    """Nothing, if the optimizer takes exactly hyperparameters of these names.

    Raises:
        ValueError: If one is missing or is not the optimizer's (then an ``UnknownName``).
    """
    from trainables.registry import require_known

    known = tuple(sorted(optimizer_hyperparameters(name)))
    for given in hyperparameters:
        require_known(f"hyperparameter of optimizer {name!r}", given, known)
    missing = sorted(_spec(name).required - set(hyperparameters))
    if missing:
        raise ValueError(f"optimizer {name!r}: hyperparameter {missing[0]!r} is missing; add it to the search space")


def create_optimizer(
    name: str, model: "torch.nn.Module", hyperparameters: Mapping[str, "Hyperparameter"]
) -> "torch.optim.Optimizer":
    """The optimizer over the model's trainable parameters, in two groups: decayed and not.

    Args:
        name: One of :func:`trainables.optimizer_names`.
        model: The model to train.
        hyperparameters: Values by name; see :data:`OPTIMIZERS`.

    Raises:
        UnknownName: If no optimizer, or none of its hyperparameters, has a given name.
        ValueError: If a required hyperparameter is missing or a value is out of range.
    """
    import torch

    require_hyperparameters(name, hyperparameters)
    values = {**_spec(name).optional, **hyperparameters}
    decayed, plain = weight_decay_groups(model)
    groups = [
        {"params": decayed, "weight_decay": float(values["weight_decay"])},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    lr = float(values["lr"])
    if name == "adamw":
        betas = (float(values["beta1"]), float(values["beta2"]))
        return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=float(values["eps"]), fused=True)
    momentum = float(values["momentum"])
    # Nesterov is the default but has no meaning without momentum, where torch would refuse it.
    nesterov = bool(values["nesterov"]) and (momentum > 0 or "nesterov" in hyperparameters)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)


def weight_decay_groups(
    model: "torch.nn.Module",
) -> tuple[list["torch.nn.Parameter"], list["torch.nn.Parameter"]]:
    """The model's trainable parameters as (decayed, not decayed), each once, in the model's order.

    Not decayed are the parameters of normalisation layers and every bias. Class token and position embedding are
    decayed.

    Raises:
        ValueError: If the model has nothing to train.

    Source: arXiv:2106.14881v3, section 5.4 (no decay on norm gains and biases). That the two embeddings are decayed
    follows the paper's public code, where the choice is made by the words ``bn``, ``ln`` and ``bias`` in a name; we look
    at the layer's type instead, which gives the same groups for these models and holds for a user's model as well.
    """
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    seen: set[int] = set()
    for module in model.modules():
        is_norm = any(_NORM_TYPE.fullmatch(cls.__name__) for cls in type(module).__mro__)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                (plain if is_norm or name.endswith("bias") else decayed).append(parameter)
    if not seen:
        raise ValueError("the model has no trainable parameter; give it at least one with requires_grad")
    return decayed, plain


def _spec(name: str) -> OptimizerSpec:
    from trainables.registry import require_known

    require_known("optimizer", name, tuple(sorted(OPTIMIZERS)))
    return OPTIMIZERS[name]
