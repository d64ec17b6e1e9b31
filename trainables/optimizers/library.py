"""Optimizers of torch and timm by name, with their hyperparameters read from the constructor."""

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch

from trainables.optimizers.specs import OptimizerSpec
from trainables.registry import require_known
from trainables.training.records import Hyperparameter

# How a step is computed, not what it computes, and the two arguments that are given apart.
_NOT_HYPERPARAMETERS = {"params", "lr", "foreach", "fused", "capturable", "differentiable", "maximize", "verbose"}
_SCALARS = (bool, int, float, str)
_REFUSED = {
    "torch:SparseAdam": "is for sparse gradients only; choose one for dense gradients",
    "torch:Muon": "takes matrices only, and every model here has other parameters; choose 'timm:muon'",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Argument:
    """One argument of a constructor, or one place of an argument that is a tuple."""

    keyword: str
    place: int | None
    default: bool | int | float | str | None
    whole: bool
    """Whether only whole numbers are meant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryOptimizer:
    """A class of optimizers and what its hyperparameters are called here."""

    name: str
    build: Callable[..., torch.optim.Optimizer]
    arguments: Mapping[str, _Argument]
    """By the hyperparameter's name."""
    constants: Mapping[str, Any]
    """Arguments that the registry fixes and that are no hyperparameters, by keyword."""

    @property
    def spec(self) -> OptimizerSpec:
        """What the optimizer takes: ``lr`` always, all else with the library's default."""
        optional = {name: argument.default for name, argument in self.arguments.items()}
        return OptimizerSpec(required=frozenset({"lr"}), optional=optional)

    @property
    def has_weight_decay(self) -> bool:
        """Whether weight decay is one of its hyperparameters."""
        return "weight_decay" in self.arguments

    def create(
        self, groups: Iterable[dict[str, Any]], hyperparameters: Mapping[str, Hyperparameter]
    ) -> torch.optim.Optimizer:
        """The optimizer over these parameter groups.

        Args:
            groups: Parameter groups, in torch's form.
            hyperparameters: Values by name, checked for their names already.

        Raises:
            ValueError: If the optimizer refuses a value, or parameters of these shapes.
        """
        keywords = self._keywords(hyperparameters)
        try:
            return self.build(list(groups), **keywords)
        except (ValueError, TypeError, AssertionError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"optimizer {self.name!r} refuses this model or these hyperparameters: {reason}"
            ) from error

    def _keywords(self, hyperparameters: Mapping[str, Hyperparameter]) -> dict[str, Any]:
        keywords: dict[str, Any] = {**self.constants, "lr": float(hyperparameters["lr"])}
        tuples: dict[str, list[Any]] = {}
        for name, argument in self.arguments.items():
            value = argument.default
            if name in hyperparameters:
                value = _checked(self.name, name, hyperparameters[name], argument)
            if argument.place is None:
                keywords[argument.keyword] = value
            else:
                tuples.setdefault(argument.keyword, []).append(value)
        return {**keywords, **{keyword: tuple(values) for keyword, values in tuples.items()}}


@cache
def library_optimizer(name: str) -> LibraryOptimizer:
    """The optimizer called ``torch:NAME`` or ``timm:NAME``.

    Raises:
        UnknownName: If the library has no such optimizer.
        ValueError: If it needs a closure, second derivatives, sparse gradients or a package that is not installed.
    """
    library, _, short = name.partition(":")
    build, registry_defaults = (_from_torch if library == "torch" else _from_timm)(name, short)
    parameters = inspect.signature(build).parameters
    if inspect.signature(build.step).parameters["closure"].default is inspect.Parameter.empty:
        raise ValueError(f"optimizer {name!r} needs a closure that computes the loss again; choose one that does not")
    if name in _REFUSED:
        raise ValueError(f"optimizer {name!r} {_REFUSED[name]}")
    arguments: dict[str, _Argument] = {}
    for keyword, parameter in parameters.items():
        if keyword not in _NOT_HYPERPARAMETERS:
            default = registry_defaults.get(keyword, parameter.default)
            arguments.update(_arguments(keyword, default, parameter.annotation))
    used = {argument.keyword for argument in arguments.values()}
    constants = {keyword: value for keyword, value in registry_defaults.items() if keyword not in used}
    return LibraryOptimizer(name=name, build=build, arguments=arguments, constants=constants)


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


def _arguments(keyword: str, default: Any, annotation: Any) -> dict[str, _Argument]:
    """The hyperparameters of one argument: none if its values are no numbers, words or truth values."""
    if isinstance(default, tuple):
        if not all(value is None or isinstance(value, _SCALARS) for value in default):
            return {}
        # betas -> beta1, beta2: the names that papers use, and the built-in AdamW.
        stem = keyword.removesuffix("s") if keyword == "betas" else f"{keyword}_"
        return {
            f"{stem}{place}": _Argument(keyword=keyword, place=place, default=value, whole=False)
            for place, value in enumerate(default, start=1)
        }
    meant = set(typing.get_args(annotation)) or {annotation}
    # None alone does not say what else could stand there; the annotation does.
    if not (isinstance(default, _SCALARS) or (default is None and meant & set(_SCALARS))):
        return {}
    return {keyword: _Argument(keyword=keyword, place=None, default=default, whole=int in meant and float not in meant)}


def _checked(optimizer: str, name: str, value: Hyperparameter, argument: _Argument) -> Hyperparameter:
    default = argument.default
    if isinstance(default, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        fits, expected = isinstance(value, str), "a word"
    elif argument.whole:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
        value, expected = (int(value) if fits else value), "a whole number"
    elif default is None:
        fits, expected = True, ""
    else:
        fits, expected = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    if not fits:
        raise ValueError(f"optimizer {optimizer!r}: hyperparameter {name!r} is {value!r}, expected {expected}")
    return value
