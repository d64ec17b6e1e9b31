"""Optimizers of torch, of timm and of the user, with their hyperparameters read from the constructor."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch

from trainables.optimizers.arguments import (
    NOT_HYPERPARAMETERS,
    Argument,
    arguments_of,
    factory_arguments,
    keyword_arguments,
    require_no_closure,
    spec_of,
)
from trainables.optimizers.specs import OptimizerSpec
from trainables.registry import require_known, user_optimizer
from trainables.training.records import Hyperparameter

_REFUSED = {
    "torch:SparseAdam": "is for sparse gradients only; choose one for dense gradients",
    "torch:Muon": "takes matrices only, and every model here has other parameters; choose 'timm:muon'",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerFactory:
    """What builds an optimizer, and what its hyperparameters are called here."""

    name: str
    build: Callable[..., torch.optim.Optimizer]
    arguments: Mapping[str, Argument]
    """By the hyperparameter's name."""
    constants: Mapping[str, Any]
    """Arguments that the registry fixes and that are no hyperparameters, by keyword."""

    @property
    def spec(self) -> OptimizerSpec:
        """What the optimizer takes: ``lr`` always, and all else unless it has a default."""
        return spec_of(self.arguments)

    def create(
        self, groups: Iterable[dict[str, Any]], hyperparameters: Mapping[str, Hyperparameter]
    ) -> torch.optim.Optimizer:
        """The optimizer over these parameter groups.

        Args:
            groups: Parameter groups, in torch's form.
            hyperparameters: Values by name, checked for their names already.

        Raises:
            ValueError: If the optimizer refuses a value, or parameters of these shapes, or cannot be trained with here.
            TypeError: If what was built is no optimizer.
        """
        keywords = {**self.constants, **keyword_arguments(self.name, self.arguments, hyperparameters)}
        try:
            optimizer = self.build(list(groups), **keywords)
        except (ValueError, TypeError, AssertionError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"optimizer {self.name!r} refuses this model or these hyperparameters: {reason}"
            ) from error
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(
                f"optimizer {self.name!r}: its factory returned {type(optimizer).__name__}, expected a torch.optim.Optimizer"
            )
        require_no_closure(self.name, type(optimizer))
        return optimizer


def optimizer_factory(name: str) -> OptimizerFactory:
    """What builds the optimizer called so: the user's own, ``torch:NAME`` or ``timm:NAME``.

    Raises:
        UnknownName: If the library has no such optimizer.
        ValueError: If it needs a closure, second derivatives, sparse gradients or a package that is not installed.
    """
    own = user_optimizer(name)
    if own is None:
        return library_optimizer(name)
    return OptimizerFactory(name=name, build=own, arguments=factory_arguments(name, own), constants={})


@cache
def library_optimizer(name: str) -> OptimizerFactory:
    """The optimizer called ``torch:NAME`` or ``timm:NAME``.

    Raises:
        UnknownName: If the library has no such optimizer.
        ValueError: If it needs a closure, second derivatives, sparse gradients or a package that is not installed.
    """
    library, _, short = name.partition(":")
    build, registry_defaults = (_from_torch if library == "torch" else _from_timm)(name, short)
    parameters = inspect.signature(build).parameters
    require_no_closure(name, build)
    if name in _REFUSED:
        raise ValueError(f"optimizer {name!r} {_REFUSED[name]}")
    arguments: dict[str, Argument] = {}
    for keyword, parameter in parameters.items():
        default = registry_defaults.get(keyword, parameter.default)
        if keyword not in NOT_HYPERPARAMETERS and default is not parameter.empty:
            arguments.update(arguments_of(keyword, default, parameter.annotation))
    used = {argument.keyword for argument in arguments.values()}
    constants = {keyword: value for keyword, value in registry_defaults.items() if keyword not in used}
    return OptimizerFactory(name=name, build=build, arguments=arguments, constants=constants)


def _from_torch(name: str, short: str) -> tuple[type[torch.optim.Optimizer], Mapping[str, Any]]:
    classes = {
        key: value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    require_known("optimizer", name, tuple(f"torch:{key}" for key in sorted(classes)))
    return classes[short], {}


def _from_timm(name: str, short: str) -> tuple[type[torch.optim.Optimizer], Mapping[str, Any]]:
    timm_optim: Any = import_module("timm.optim")
    require_known("optimizer", name, tuple(f"timm:{key}" for key in timm_optim.list_optimizers()))
    info = timm_optim.get_optimizer_info(short)
    # timm names the class, as text, where it is another package's.
    package = str(info.opt_class).partition(".")[0]
    if package in ("apex", "bitsandbytes"):
        raise ValueError(f"optimizer {name!r} needs the package {package!r} and a GPU; choose one of timm's own")
    if info.second_order:
        raise ValueError(f"optimizer {name!r} needs second derivatives; choose one that takes gradients only")
    # timm's own factory gives every optimizer with momentum 0.9, whatever the class says.
    momentum = {"momentum": 0.9} if info.has_momentum else {}
    return info.opt_class, {**momentum, **(info.defaults or {})}
