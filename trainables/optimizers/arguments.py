"""An optimizer's hyperparameters, read from the signature of what builds it. Imports no torch."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainables.optimizers.specs import OptimizerSpec

if TYPE_CHECKING:
    from trainables.training.records import Hyperparameter

# How a step is computed, not what it computes, and the two arguments that are given apart.
NOT_HYPERPARAMETERS = {"params", "lr", "foreach", "fused", "capturable", "differentiable", "maximize", "verbose"}
_SCALARS = (bool, int, float, str)
_NO_DEFAULT = inspect.Parameter.empty
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One argument, or one place of an argument that is a tuple."""

    keyword: str
    place: int | None
    required: bool
    """Whether it has no default."""
    default: bool | int | float | str | None
    expected: str
    """Which values are meant, in words; empty if any."""


def arguments_of(keyword: str, default: Any, annotation: Any) -> dict[str, Argument]:
    """The hyperparameters of one argument, by name: none if its values are no numbers, words or truth values.

    Args:
        keyword: The argument's name.
        default: Its default, or ``inspect.Parameter.empty``.
        annotation: Its type, or ``inspect.Parameter.empty``.
    """
    if isinstance(default, tuple):
        if not all(value is None or isinstance(value, _SCALARS) for value in default):
            return {}
        # betas -> beta1, beta2: the names that papers use, and the built-in AdamW.
        stem = keyword.removesuffix("s") if keyword == "betas" else f"{keyword}_"
        return {
            f"{stem}{place}": Argument(
                keyword=keyword, place=place, required=False, default=value, expected=_expected(value, set())
            )
            for place, value in enumerate(default, start=1)
        }
    meant = _meant(annotation)
    if default is _NO_DEFAULT:
        if meant and not meant & set(_SCALARS):
            return {}
        return {
            keyword: Argument(
                keyword=keyword, place=None, required=True, default=None, expected=_expected_without_default(meant)
            )
        }
    # None alone does not say what else could stand there; the annotation does.
    if not (isinstance(default, _SCALARS) or (default is None and meant & set(_SCALARS))):
        return {}
    return {
        keyword: Argument(
            keyword=keyword, place=None, required=False, default=default, expected=_expected(default, meant)
        )
    }


def factory_arguments(name: str, factory: Callable[..., Any]) -> dict[str, Argument]:
    """The hyperparameters of the user's own optimizer, ``lr`` apart, by name.

    Args:
        name: What it is called in messages.
        factory: ``factory(parameter_groups, **hyperparameters)``, a class or another callable.

    Raises:
        ValueError: If it does not take parameter groups and ``lr``, or needs something that no hyperparameter can be, or a
            closure.
    """
    require_no_closure(name, factory)
    parameters = _parameters(name, factory)
    by_keyword = {key: value for key, value in parameters.items() if value.kind in _BY_KEYWORD}
    if "lr" not in by_keyword:
        raise ValueError(
            f"optimizer {name!r}: its factory takes no keyword argument named 'lr'; add one, for the learning rate"
        )
    found: dict[str, Argument] = {}
    for keyword, parameter in parameters.items():
        own: dict[str, Argument] = {}
        if keyword in by_keyword and keyword not in NOT_HYPERPARAMETERS:
            own = arguments_of(keyword, parameter.default, parameter.annotation)
        variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not (own or variable or keyword == "lr") and parameter.default is _NO_DEFAULT:
            raise ValueError(
                f"optimizer {name!r}: argument {keyword!r} of its factory has no default and cannot be a hyperparameter; "
                "give it a default"
            )
        found.update(own)
    return found


def spec_of(arguments: Mapping[str, Argument]) -> OptimizerSpec:
    """What an optimizer with these arguments takes: ``lr`` always, and all else unless it has a default."""
    required = {name for name, argument in arguments.items() if argument.required}
    optional = {name: argument.default for name, argument in arguments.items() if not argument.required}
    return OptimizerSpec(required=frozenset({"lr", *required}), optional=optional)


def keyword_arguments(
    optimizer: str, arguments: Mapping[str, Argument], hyperparameters: Mapping[str, "Hyperparameter"]
) -> dict[str, Any]:
    """What the optimizer is called with: the given hyperparameters, and the defaults of the others.

    Args:
        optimizer: Its name, for messages.
        arguments: Its arguments by the hyperparameter's name.
        hyperparameters: Values by name, checked for their names already.

    Raises:
        ValueError: If a value is of another kind than its argument takes.
    """
    keywords: dict[str, Any] = {"lr": float(hyperparameters["lr"])}
    tuples: dict[str, list[Any]] = {}
    for name, argument in arguments.items():
        value = argument.default
        if name in hyperparameters:
            value = _checked(optimizer, name, hyperparameters[name], argument.expected)
        if argument.place is None:
            keywords[argument.keyword] = value
        else:
            tuples.setdefault(argument.keyword, []).append(value)
    return {**keywords, **{keyword: tuple(values) for keyword, values in tuples.items()}}


def require_no_closure(name: str, kind: Any) -> None:
    """Nothing, if this class of optimizers steps along gradients that are there.

    Raises:
        ValueError: If it needs a closure.
    """
    step = getattr(kind, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if callable(step) else None
    if closure is not None and closure.default is closure.empty:
        raise ValueError(f"optimizer {name!r} needs a closure that computes the loss again; choose one that does not")


def _parameters(name: str, factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The factory's parameters but the first, which takes the parameter groups."""
    try:
        parameters = dict(_signature(factory).parameters)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"optimizer {name!r}: the arguments of its factory cannot be read; wrap it in a function that names them"
        ) from error
    first = next(iter(parameters.values()), None)
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD) or first.name == "lr":
        raise ValueError(
            f"optimizer {name!r}: its factory does not take the parameter groups as its first argument; "
            "write it as factory(parameter_groups, *, lr, ...)"
        )
    if first.kind is not first.VAR_POSITIONAL:
        del parameters[first.name]
    return parameters


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    try:
        # Annotations are texts in a module that postpones them.
        return inspect.signature(factory, eval_str=True)
    except (NameError, AttributeError, SyntaxError, TypeError):
        return inspect.signature(factory)


def _meant(annotation: Any) -> set[Any]:
    """The types that an annotation allows; empty if it does not say."""
    if annotation in (_NO_DEFAULT, Any) or isinstance(annotation, str):
        return set()
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return set(typing.get_args(annotation)) if is_union else {annotation}


def _expected(default: Any, meant: set[Any]) -> str:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, str):
        return "a word"
    if int in meant and float not in meant:
        return "a whole number"
    return "" if default is None else "a number"


def _expected_without_default(meant: set[Any]) -> str:
    kinds = meant & set(_SCALARS)
    if kinds == {bool}:
        return "true or false"
    if kinds == {str}:
        return "a word"
    if kinds == {int}:
        return "a whole number"
    return "a number" if kinds and kinds <= {int, float} else ""


def _checked(optimizer: str, name: str, value: "Hyperparameter", expected: str) -> "Hyperparameter":
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "": True,
        "true or false": isinstance(value, bool),
        "a word": isinstance(value, str),
        "a whole number": is_number and float(value).is_integer(),
        "a number": is_number,
    }
    if not fits[expected]:
        raise ValueError(f"optimizer {optimizer!r}: hyperparameter {name!r} is {value!r}, expected {expected}")
    return int(value) if expected == "a whole number" else value
