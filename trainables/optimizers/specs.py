"""Which optimizers there are and which hyperparameters they take. Imports no torch until a library's one is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.training.records import Hyperparameter

LIBRARIES = ("torch", "timm")
"""Prefixes of optimizers that a library defines: ``torch:RMSprop``, ``timm:lion``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSpec:
    """Which hyperparameters an optimizer takes."""

    required: frozenset[str]
    optional: Mapping[str, float | bool | str | None]
    """Name to default; None where the optimizer's own default is None."""


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


def optimizer_spec(name: str) -> OptimizerSpec:
    """What the optimizer takes.

    Args:
        name: A name in :data:`OPTIMIZERS`, one that the user registered, ``torch:NAME`` for a class of ``torch.optim``,
            or ``timm:NAME`` for an entry of timm's registry of optimizers.

    Raises:
        UnknownName: If no optimizer has this name.
        ValueError: If it cannot be trained with here: it needs a closure, second derivatives, sparse gradients or a
            package that is not installed.
    """
    from trainables.optimizers.arguments import factory_arguments, spec_of
    from trainables.registry import optimizer_names, require_known, user_optimizer

    own = user_optimizer(name)
    if own is not None:
        return spec_of(factory_arguments(name, own))
    library, colon, _ = str(name).partition(":")
    if colon and library in LIBRARIES:
        from trainables.optimizers.library import library_optimizer

        return library_optimizer(name).spec
    require_known("optimizer", name, (*optimizer_names(), *(f"{library}:NAME" for library in LIBRARIES)))
    return OPTIMIZERS[name]


def optimizer_hyperparameters(name: str) -> frozenset[str]:
    """All hyperparameters that the optimizer takes, required and optional.

    Raises:
        UnknownName: If no optimizer has this name.
        ValueError: As :func:`optimizer_spec`.
    """
    spec = optimizer_spec(name)
    return spec.required | frozenset(spec.optional)


def require_hyperparameters(name: str, hyperparameters: Mapping[str, "Hyperparameter"]) -> None:
    """Nothing, if the optimizer takes exactly hyperparameters of these names.

    Raises:
        ValueError: If one is missing or is not the optimizer's (then an ``UnknownName``), or as :func:`optimizer_spec`.
    """
    from trainables.registry import require_known

    known = tuple(sorted(optimizer_hyperparameters(name)))
    for given in hyperparameters:
        require_known(f"hyperparameter of optimizer {name!r}", given, known)
    missing = sorted(optimizer_spec(name).required - set(hyperparameters))
    if missing:
        raise ValueError(f"optimizer {name!r}: hyperparameter {missing[0]!r} is missing; add it")
