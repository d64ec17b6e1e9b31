"""Names of models, datasets and optimizers: what is built in and what the user registered. Imports no torch."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, overload

from trainables.optimizers import OPTIMIZERS
from trainables.vit_specs import VIT_SPECS

if TYPE_CHECKING:
    import torch

    from trainables.data import ImageData

ModelFactory = Callable[..., "torch.nn.Module"]
"""``factory(*, num_classes, image_size, in_channels) -> Module`` from images (B, C, H, W) float32 to logits
(B, num_classes)."""
DatasetFactory = Callable[..., "ImageData"]
"""``factory(**options) -> ImageData``."""

_Factory = TypeVar("_Factory", bound=Callable[..., Any])

BUILTIN_DATASETS: dict[str, str] = {"digits": "trainables.digits:load_digits_images"}
"""Where each built-in dataset's factory lives, ``module:function``: imported when it is first loaded."""

_user_models: dict[str, ModelFactory] = {}
_user_datasets: dict[str, DatasetFactory] = {}
# A name is part of a trial's key (phase/model/optimizer/...): no slash, no blank.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*")


class UnknownName(ValueError):
    """A model, dataset, optimizer or option was asked for by a name that nothing has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserEntries:
    """What the user registered in one process, to be installed in another; pickles if the factories do."""

    models: dict[str, ModelFactory] = field(default_factory=dict)
    datasets: dict[str, DatasetFactory] = field(default_factory=dict)


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
        factory: Called as ``factory(**options)`` with the study's options; returns a :class:`trainables.ImageData`.

    Raises:
        ValueError: If the name is taken or malformed.
        TypeError: If the factory cannot be called.
    """
    return _register("dataset", _user_datasets, dataset_names(), name, factory)


def _register(
    kind: str, table: dict[str, Callable[..., Any]], taken: tuple[str, ...], name: str, factory: _Factory | None
) -> _Factory | Callable[[_Factory], _Factory]:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{kind} name {name!r}: use letters, digits and _ . : + - only, starting with a letter or digit"
        )
    if name in taken:
        raise ValueError(f"{kind} {name!r} is registered already; choose another name")

    def add(function: _Factory) -> _Factory:
        if not callable(function):
            raise TypeError(f"{kind} {name!r}: the factory must be callable, got {type(function).__name__}")
        table[name] = function
        return function

    return add if factory is None else add(factory)


def model_names() -> tuple[str, ...]:
    """Names that :func:`trainables.create_model` takes, sorted."""
    return tuple(sorted({*VIT_SPECS, *_user_models}))


def dataset_names() -> tuple[str, ...]:
    """Names that :func:`trainables.load_dataset` takes, sorted."""
    return tuple(sorted({*BUILTIN_DATASETS, *_user_datasets}))


def optimizer_names() -> tuple[str, ...]:
    """Names that :func:`trainables.create_optimizer` takes, sorted."""
    return tuple(sorted(OPTIMIZERS))


def user_model(name: str) -> ModelFactory | None:
    """The factory that the user registered under this name, if any."""
    return _user_models.get(name)


def user_dataset(name: str) -> DatasetFactory | None:
    """The factory that the user registered under this name, if any."""
    return _user_datasets.get(name)


def user_entries() -> UserEntries:
    """What the user registered in this process: send it to another and :func:`install` it there."""
    return UserEntries(models=dict(_user_models), datasets=dict(_user_datasets))


def install(entries: UserEntries) -> None:
    """Registers what another process registered; installing twice is the same as once."""
    # A factory that was pickled by value is a new object each time, so an equal name replaces and never raises.
    _user_models.update(entries.models)
    _user_datasets.update(entries.datasets)


def require_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Nothing, if ``name`` is one of ``known``.

    Raises:
        UnknownName: Otherwise, with the closest match and the list.
    """
    if name not in known:
        close = get_close_matches(str(name), known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownName(f"unknown {kind} {name!r}; {hint}known: {', '.join(known) or 'none'}")
