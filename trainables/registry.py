"""Names of models, datasets, optimizers and trainables: what is built in and what the user registered. Imports no torch."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, overload

from trainables.models.cnn_specs import REGNET_SPECS, TIMM_BUILTINS, TIMM_PREFIX
from trainables.models.vit_specs import VIT_SPECS
from trainables.optimizers import OPTIMIZERS, optimizer_spec
from trainables.optimizers.arguments import factory_arguments

if TYPE_CHECKING:
    import torch

    from trainables.custom.protocol import Trainable
    from trainables.data.dataset import Dataset

ModelFactory = Callable[..., "torch.nn.Module"]
"""``factory(*, num_classes, image_size, in_channels) -> Module`` from images (B, C, H, W) float32 to logits
(B, num_classes)."""
DatasetFactory = Callable[..., "Dataset"]
"""``factory(**options) -> Dataset``, an :class:`trainables.ImageData` or another class of yours."""
OptimizerFactory = Callable[..., "torch.optim.Optimizer"]
"""``factory(parameter_groups, *, lr, ...) -> Optimizer``: a subclass of ``torch.optim.Optimizer`` or another callable."""

_Factory = TypeVar("_Factory", bound=Callable[..., Any])

BUILTIN_DATASETS: dict[str, str] = {
    "digits": "trainables.data.digits:load_digits_images",
    "imagefolder": "trainables.data.imagefolder:load_image_folder",
    "parquet": "trainables.data.parquet:load_parquet",
    "synthetic": "trainables.data.synthetic:load_synthetic",
}
"""Where each built-in dataset's factory lives, ``module:function``: imported when it is first loaded."""

_user_models: dict[str, ModelFactory] = {}
_user_datasets: dict[str, DatasetFactory] = {}
_user_optimizers: dict[str, OptimizerFactory] = {}
_user_trainables: dict[str, "Trainable"] = {}
# A name is part of a trial's key (phase/model/optimizer/...): no slash, no blank.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*")


class UnknownName(ValueError):
    """A model, dataset, optimizer, trainable or option was asked for by a name that nothing has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserEntries:
    """What the user registered in one process, to be installed in another; pickles if the factories do."""

    models: dict[str, ModelFactory] = field(default_factory=dict)
    datasets: dict[str, DatasetFactory] = field(default_factory=dict)
    optimizers: dict[str, OptimizerFactory] = field(default_factory=dict)
    trainables: dict[str, "Trainable"] = field(default_factory=dict)


@overload
def register_model(name: str) -> Callable[[_Factory], _Factory]: ...
@overload
def register_model(name: str, factory: _Factory) -> _Factory: ...
def register_model(name: str, factory: _Factory | None = None) -> _Factory | Callable[[_Factory], _Factory]:
    """The factory itself, now known as ``name``; without a factory, a decorator that does so.

    Args:
        name: Letters, digits and ``_ . : + -``; must be new.
        factory: Called as ``factory(num_classes=..., image_size=..., in_channels=...)``; returns a ``torch.nn.Module``
            that maps images of shape (B, C, H, W), float32, to logits of shape (B, num_classes).

    Raises:
        ValueError: If the name is taken or malformed.
        TypeError: If the factory cannot be called.
    """
    return _register("model", _user_models, model_names(), name, factory)


@overload
def register_dataset(name: str) -> Callable[[_Factory], _Factory]: ...
@overload
def register_dataset(name: str, factory: _Factory) -> _Factory: ...
def register_dataset(name: str, factory: _Factory | None = None) -> _Factory | Callable[[_Factory], _Factory]:
    """The factory itself, now known as ``name``; without a factory, a decorator that does so.

    Args:
        name: Letters, digits and ``_ . : + -``; must be new.
        factory: Called as ``factory(**options)`` with the study's options; returns a :class:`trainables.Dataset`, such
            as :class:`trainables.ImageData`.

    Raises:
        ValueError: If the name is taken or malformed.
        TypeError: If the factory cannot be called.
    """
    return _register("dataset", _user_datasets, dataset_names(), name, factory)


@overload
def register_optimizer(name: str) -> Callable[[_Factory], _Factory]: ...
@overload
def register_optimizer(name: str, factory: _Factory) -> _Factory: ...
def register_optimizer(name: str, factory: _Factory | None = None) -> _Factory | Callable[[_Factory], _Factory]:
    """The factory itself, now known as ``name``; without a factory, a decorator that does so.

    Args:
        name: Letters, digits and ``_ . : + -``; must be new.
        factory: A subclass of ``torch.optim.Optimizer``, or a function that returns one. Called as
            ``factory(parameter_groups, lr=..., ...)``; the named arguments after the first whose values are numbers,
            words or truth values are its hyperparameters, those without a default required. ``lr`` must be one of them.

    Raises:
        ValueError: If the name is taken or malformed, or the factory does not take parameter groups and ``lr``.
        TypeError: If the factory cannot be called.
    """
    return _register("optimizer", _user_optimizers, optimizer_names(), name, factory, check=factory_arguments)


@overload
def register_trainable(name: str) -> Callable[[_Factory], _Factory]: ...
@overload
def register_trainable(name: str, trainable: _Factory) -> _Factory: ...
def register_trainable(name: str, trainable: _Factory | None = None) -> _Factory | Callable[[_Factory], _Factory]:
    """The trainable itself, now known as ``name``; without one, a decorator that does so.

    Args:
        name: Letters, digits and ``_ . : + -``; must be new.
        trainable: Called as ``trainable(members, context)``; :mod:`trainables.custom.protocol` says what it promises.

    Raises:
        ValueError: If the name is taken or malformed.
        TypeError: If the trainable cannot be called.
    """
    return _register("trainable", _user_trainables, trainable_names(), name, trainable)


def _register(
    kind: str,
    table: dict[str, Callable[..., Any]],
    taken: tuple[str, ...],
    name: str,
    factory: _Factory | None,
    *,
    check: Callable[[str, Callable[..., Any]], object] | None = None,
) -> _Factory | Callable[[_Factory], _Factory]:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{kind} name {name!r}: use letters, digits and _ . : + - only, starting with a letter or digit"
        )
    if name in taken:
        raise ValueError(f"{kind} {name!r} is registered already; choose another name")

    def add(function: _Factory) -> _Factory:
        if not callable(function):
            raise TypeError(f"{kind} {name!r}: what is registered must be callable, got {type(function).__name__}")
        if check is not None:
            check(name, function)
        table[name] = function
        return function

    return add if factory is None else add(factory)


def model_names() -> tuple[str, ...]:
    """Names that :func:`trainables.create_model` takes, sorted; it also takes ``timm:NAME`` for any model of timm."""
    return tuple(sorted({*VIT_SPECS, *REGNET_SPECS, *TIMM_BUILTINS, *_user_models}))


def require_model(name: str) -> None:
    """Nothing, if :func:`trainables.create_model` takes this name; timm is imported for a name of timm's only.

    Raises:
        UnknownName: Otherwise, with the closest match.
    """
    if name.startswith(TIMM_PREFIX) and name not in _user_models:
        from trainables.models.timm_models import require_timm_model

        require_timm_model(name)
    else:
        require_known("model", name, model_names())


def dataset_names() -> tuple[str, ...]:
    """Names that :func:`trainables.load_dataset` takes, sorted."""
    return tuple(sorted({*BUILTIN_DATASETS, *_user_datasets}))


def optimizer_names() -> tuple[str, ...]:
    """Names that :func:`trainables.create_optimizer` takes, sorted; it takes torch's and timm's as well."""
    return tuple(sorted({*OPTIMIZERS, *_user_optimizers}))


def require_optimizer(name: str) -> None:
    """Nothing, if :func:`trainables.create_optimizer` takes ``name``: built in, the user's, torch's or timm's.

    The library is imported only for a name with its prefix.

    Raises:
        UnknownName: If no optimizer has this name, with the closest match.
        ValueError: If the library's optimizer cannot be trained with here, and why.
    """
    optimizer_spec(name)


def user_model(name: str) -> ModelFactory | None:
    """The factory that the user registered under this name, if any."""
    return _user_models.get(name)


def user_dataset(name: str) -> DatasetFactory | None:
    """The factory that the user registered under this name, if any."""
    return _user_datasets.get(name)


def user_optimizer(name: str) -> OptimizerFactory | None:
    """The factory that the user registered under this name, if any."""
    return _user_optimizers.get(name)


def user_trainable(name: str) -> "Trainable | None":
    """The trainable that the user registered under this name, if any."""
    return _user_trainables.get(name)


def user_entries() -> UserEntries:
    """What the user registered in this process: send it to another and :func:`install` it there."""
    return UserEntries(
        models=dict(_user_models),
        datasets=dict(_user_datasets),
        optimizers=dict(_user_optimizers),
        trainables=dict(_user_trainables),
    )


def install(entries: UserEntries) -> None:
    """Registers what another process registered; installing twice is the same as once."""
    # A factory that was pickled by value is a new object each time, so an equal name replaces and never raises.
    _user_models.update(entries.models)
    _user_datasets.update(entries.datasets)
    _user_optimizers.update(entries.optimizers)
    _user_trainables.update(entries.trainables)


def require_dataset(name: str) -> None:
    """Nothing, if :func:`trainables.load_dataset` takes this name.

    ``torchvision:NAME`` passes whatever NAME is: torchvision takes seconds to import, so loading is what asks it.

    Raises:
        UnknownName: Otherwise, with the closest match and the list.
    """
    if not str(name).startswith("torchvision:"):
        require_known("dataset", name, (*dataset_names(), "torchvision:NAME"))


def trainable_names() -> tuple[str, ...]:
    """Names of the user's own trainables, sorted."""
    return tuple(sorted(_user_trainables))


def require_trainable(name: str) -> None:
    """Nothing, if the user has registered a trainable of this name.

    Raises:
        UnknownName: Otherwise, with the closest match and the list.
    """
    require_known("trainable", name, trainable_names())


def require_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Nothing, if ``name`` is one of ``known``.

    Raises:
        UnknownName: Otherwise, with the closest match and the list.
    """
    if name not in known:
        close = get_close_matches(str(name), known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownName(f"unknown {kind} {name!r}; {hint}known: {', '.join(known) or 'none'}")
