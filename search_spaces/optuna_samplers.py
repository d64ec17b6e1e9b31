"""Optuna's single-objective samplers by name, with their options checked before anything runs."""

import copy
import difflib
import importlib.util
import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from search_spaces.values import SpaceError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SamplerConfig: TypeAlias = "str | Mapping[str, Any] | BaseSampler"

# Not here: GridSampler (the grid of this package needs no results) and PartialFixedSampler (that is a constant).
_CLASSES = {
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler",
    "qmc": "QMCSampler",
    "random": "RandomSampler",
    "brute_force": "BruteForceSampler",
}
# Optuna imports these when it first samples, which is hours into a study.
_PACKAGES = {"gp": ("scipy", "torch"), "cmaes": ("cmaes",), "qmc": ("scipy",)}


def adaptive_sampler_names() -> tuple[str, ...]:
    """The names that :class:`~search_spaces.adaptive.AdaptiveSearch` takes; case, ``_`` and ``-`` do not matter."""
    return tuple(_CLASSES)


def require_sampler(sampler: SamplerConfig) -> None:
    """Check a sampler before a search begins with it.

    Args:
        sampler: A name of :func:`adaptive_sampler_names`, a mapping with such a ``name`` whose other keys are arguments
            of the constructor in Optuna, or a sampler of Optuna.

    Raises:
        SpaceError: If it is none of these, the constructor refuses an argument, or a package is missing.
    """
    make_sampler(sampler, seed=0)


def make_sampler(sampler: SamplerConfig, *, seed: int) -> "BaseSampler":
    """A sampler of Optuna for one search.

    Args:
        sampler: As for :func:`require_sampler`.
        seed: For a name or a mapping without ``seed``; modulo 2**32, which is what numpy's old generators take.

    Returns:
        A new sampler; of a sampler object a deep copy, with its own seed.

    Raises:
        SpaceError: As for :func:`require_sampler`.
    """
    import optuna

    if isinstance(sampler, optuna.samplers.BaseSampler):
        return copy.deepcopy(sampler)
    name, options = _named(sampler)
    _require_packages(name)
    constructor = getattr(optuna.samplers, _CLASSES[name])
    _check_options(name, options, inspect.signature(constructor).parameters)
    given = options if options.get("seed") is not None else {**options, "seed": seed % 2**32}
    try:
        with quiet_optuna():
            made: BaseSampler = constructor(**given)
    except (TypeError, ValueError) as error:
        raise SpaceError(f"sampler {name}: {error}") from error
    return made


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log lines and its warnings about experimental or deprecated parts from the user meanwhile."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _named(sampler: object) -> tuple[str, dict[str, Any]]:
    options = dict(sampler) if isinstance(sampler, Mapping) else {"name": sampler}
    asked = options.pop("name", None)
    known = ", ".join(_CLASSES)
    if not isinstance(asked, str):
        raise SpaceError(f"sampler: give one of {known}, or {{name: tpe, ...}} with its arguments, got {sampler!r}")
    bare = {name.replace("_", ""): name for name in _CLASSES}
    plain = asked.lower().replace("_", "").replace("-", "")
    if plain not in bare:
        nearest = bare[difflib.get_close_matches(plain, bare, n=1, cutoff=0.0)[0]]
        raise SpaceError(f"{asked!r} is no adaptive sampler; did you mean {nearest!r}? Known are {known}")
    return bare[plain], options


def _require_packages(name: str) -> None:
    missing = [package for package in _PACKAGES.get(name, ()) if importlib.util.find_spec(package) is None]
    if missing:
        packages = " ".join(missing)
        raise SpaceError(f"sampler {name} needs {packages}, which is not installed; run: pip install {packages}")


def _check_options(name: str, options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    for key, value in options.items():
        if key not in parameters:
            nearest = difflib.get_close_matches(str(key), parameters, n=1, cutoff=0.0)[0]
            raise SpaceError(f"sampler {name} takes no argument {key!r}; did you mean {nearest!r}?")
        expected = _expected_types(0 if key == "seed" else parameters[key].default)
        # Optuna keeps most arguments unseen until a later trial needs them.
        if expected and type(value) not in expected and not (key == "seed" and value is None):
            kinds = " or ".join(kind.__name__ for kind in expected)
            raise SpaceError(f"sampler {name}: {key} must be {kinds}, got {value!r}")
    if not 0 <= (options.get("seed") or 0) < 2**32:
        raise SpaceError(f"sampler {name}: seed must be from 0 to 2**32 - 1, got {options['seed']}")


def _expected_types(default: object) -> tuple[type, ...]:
    """The types that an argument with this default takes; none where the default does not say."""
    return {bool: (bool,), int: (int,), float: (float, int), str: (str,)}.get(type(default), ())
