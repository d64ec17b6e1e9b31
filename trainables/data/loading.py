"""Datasets by name."""

import inspect
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from trainables.data.dataset import Dataset
from trainables.registry import BUILTIN_DATASETS, DatasetFactory, require_dataset, require_known, user_dataset


def load_dataset(name: str, **options: Any) -> Dataset:
    """The dataset of this name.

    Args:
        name: One of :func:`trainables.dataset_names`, or ``torchvision:`` and a class of ``torchvision.datasets``.
        options: Keyword arguments of the dataset's factory, e.g. ``image_size`` for ``digits``.

    Raises:
        UnknownName: If no dataset, or none of its options, has a given name.
        ValueError: If an option is missing or its value is not accepted, or the data is damaged.
        TypeError: If the user's factory returns something other than a :class:`Dataset`.
    """
    require_dataset(name)
    if user_dataset(name) is None:
        _check_path(name, options)
    factory = user_dataset(name) or _builtin(name)
    _check_options(name, inspect.signature(factory).parameters, options)
    data = factory(**options)
    if not isinstance(data, Dataset):
        raise TypeError(
            f"dataset {name!r}: its factory returned {type(data).__name__}, expected a trainables.Dataset, such as ImageData"
        )
    return data


def absolute_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a built-in dataset with ``path`` made absolute, so that they mean the same in any process.

    A URI, an option that is no text and the options of the user's own datasets stay as they are.
    """
    path = options.get("path")
    if user_dataset(name) or not isinstance(path, str) or "://" in path:
        return dict(options)
    try:
        return {**options, "path": str(Path(path).expanduser().absolute())}
    except RuntimeError as error:
        raise ValueError(f"dataset {name!r}: path {path!r} names a home that is not there; write it out") from error


def _check_path(name: str, options: Mapping[str, Any]) -> None:
    path = options.get("path", "")
    try:
        path.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise ValueError(f"dataset {name!r}: path is {path!r}, expected the name of a folder or a URI") from error


def _builtin(name: str) -> DatasetFactory:
    if name not in BUILTIN_DATASETS:
        from trainables.data.torchvision_sets import dataset_class, load_torchvision

        dataset_class(name)
        return partial(load_torchvision, name)
    return _imported(BUILTIN_DATASETS[name])


def _imported(place: str) -> DatasetFactory:
    module, function = place.split(":")
    return cast(DatasetFactory, getattr(import_module(module), function))


def _check_options(name: str, parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> None:
    kinds = [parameter.kind for parameter in parameters.values()]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for option in options:
            require_known(f"option of dataset {name!r}", option, tuple(sorted(parameters)))
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and parameter.kind not in variable and option not in options:
            raise ValueError(f"dataset {name!r}: option {option!r} is missing; add it to the dataset's options")
