"""Whose a trial's hyperparameters are: its optimizer's, the recipe's or the model's. Imports no torch for built-in names."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches

from pydantic import ValidationError

from trainables.models.cnn_specs import REGNET_SPECS, TIMM_NOT_OPTIONS, RegnetSpec
from trainables.models.vit_specs import VIT_SPECS, VitSpec
from trainables.optimizers import optimizer_hyperparameters, require_hyperparameters
from trainables.recipes.recipe import Recipe
from trainables.registry import ModelFactory, UnknownName, user_model
from trainables.training.records import Hyperparameter

SHARED_FIELDS = frozenset(
    {
        "batch_size",
        "crop",
        "crop_area",
        "crop_ratio",
        "flip",
        "auto_augment",
        "randaugment_ops",
        "randaugment_magnitude",
        "randaugment_probability",
        "pca_jitter",
        "random_erasing",
        "mixup",
        "cutmix",
        "precise_batch_norm",
    }
)
"""Fields of the recipe that say which batches are made: a pack makes them once, so its members have these in common."""

RECIPE_HYPERPARAMETERS = frozenset(Recipe.model_fields) - {"base"}
"""Fields of the recipe that a trial may have its own value of."""

_NOT_OPTIONS = frozenset({"num_classes", "image_size", "in_channels", "base"})
# So alike, a name that a model would take as it stands is rather another one, misspelt.
_MISSPELT = 0.85


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitHyperparameters:
    """A trial's hyperparameters by what takes them."""

    optimizer: Mapping[str, Hyperparameter]
    """For :func:`trainables.create_optimizer`."""
    recipe: Mapping[str, Hyperparameter]
    """Fields of :class:`trainables.Recipe`, not yet checked."""
    model: Mapping[str, Hyperparameter]
    """Keyword arguments of :func:`trainables.create_model`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Options:
    """What a model can be built with."""

    names: frozenset[str]
    fractions: frozenset[str] = frozenset()
    """Those of the names that are declared as a float."""
    refused: frozenset[str] | None = None
    """It may take any other name but these; None: it takes no other."""


def split_hyperparameters(model: str, optimizer: str, values: Mapping[str, Hyperparameter]) -> SplitHyperparameters:
    """The hyperparameters of one trial by what takes them.

    A name is looked up among the optimizer's hyperparameters, then the recipe's fields, then the model's options; the
    first that has it takes it. A whole number that is stored as a float is passed to the recipe and to the model as an
    int, except to an option that is declared as a float: tables hold every number as a float.

    Args:
        model: A name that :func:`trainables.create_model` takes.
        optimizer: A name that :func:`trainables.create_optimizer` takes.
        values: By name.

    Raises:
        UnknownName: If a name is none of the three, or the optimizer is unknown.
    """
    known, options = optimizer_hyperparameters(optimizer), _options_of(model)
    kinds: dict[str, dict[str, Hyperparameter]] = {"optimizer": {}, "recipe": {}, "model": {}}
    for name, value in values.items():
        kind = _kind(name, known, options)
        if kind is None:
            raise _unknown(name, model, optimizer, options)
        as_given = kind == "optimizer" or name in options.fractions
        kinds[kind][name] = value if as_given else _whole(value)
    return SplitHyperparameters(**kinds)


def require_trial_hyperparameters(model: str, optimizer: str, names: Iterable[str]) -> None:
    """Nothing, if trials of this model and optimizer can have exactly hyperparameters of these names.

    Args:
        model: A name that :func:`trainables.create_model` takes.
        optimizer: A name that :func:`trainables.create_optimizer` takes.
        names: Of the hyperparameters.

    Raises:
        UnknownName: If one is neither the optimizer's nor the recipe's nor the model's, with the closest match.
        ValueError: If one that the optimizer requires is missing.
    """
    split = split_hyperparameters(model, optimizer, dict.fromkeys(names, 0.0))
    require_hyperparameters(optimizer, split.optimizer)


def recipe_for(recipe: Recipe, optimizer: str, values: Mapping[str, Hyperparameter]) -> Recipe:
    """The recipe with a trial's own values of its fields.

    Args:
        recipe: What holds for the fields that are not among the values.
        optimizer: A name that :func:`trainables.create_optimizer` takes; a name that it takes is no field here.
        values: The trial's hyperparameters by name; those of the optimizer and the model are passed over.

    Raises:
        ValueError: If a value does not suit its field, in one sentence with the field and the value.
    """
    own = _recipe_values(optimizer, values)
    if not own:
        return recipe
    try:
        return Recipe.model_validate({**recipe.model_dump(), **own})
    except ValidationError as error:
        raise ValueError(_sentence(error, values)) from error


def shared_values(optimizer: str, values: Mapping[str, Hyperparameter]) -> tuple[tuple[str, Hyperparameter], ...]:
    """Those of a trial's hyperparameters on which all members of its pack must agree, sorted by name.

    Args:
        optimizer: A name that :func:`trainables.create_optimizer` takes; a name that it takes is shared by nothing.
        values: The trial's hyperparameters by name.
    """
    own = _recipe_values(optimizer, values)
    return tuple((name, own[name]) for name in sorted(own.keys() & SHARED_FIELDS))


def _recipe_values(optimizer: str, values: Mapping[str, Hyperparameter]) -> dict[str, Hyperparameter]:
    fields_here = RECIPE_HYPERPARAMETERS - optimizer_hyperparameters(optimizer)
    return {name: _whole(value) for name, value in values.items() if name in fields_here}


def _kind(name: str, of_the_optimizer: frozenset[str], options: _Options) -> str | None:
    if name in of_the_optimizer:
        return "optimizer"
    if name in RECIPE_HYPERPARAMETERS:
        return "recipe"
    if name in options.names:
        return "model"
    if options.refused is None or name in options.refused:
        return None
    known = of_the_optimizer | RECIPE_HYPERPARAMETERS | options.names
    return None if get_close_matches(name, known, n=1, cutoff=_MISSPELT) else "model"


def _options_of(model: str) -> _Options:
    factory = user_model(model)
    if factory is not None:
        return _options_of_factory(factory)
    if model in VIT_SPECS:
        return _options_of_spec(VitSpec)
    if model in REGNET_SPECS:
        return _options_of_spec(RegnetSpec)
    # timm's: which names one takes is known when it is built.
    return _Options(names=frozenset(), refused=_NOT_OPTIONS | TIMM_NOT_OPTIONS)


def _options_of_spec(spec: type[VitSpec] | type[RegnetSpec]) -> _Options:
    return _Options(
        names=frozenset(field.name for field in fields(spec)),
        fractions=frozenset(field.name for field in fields(spec) if field.type is float),
    )


def _options_of_factory(factory: ModelFactory) -> _Options:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # a callable written in C may not say what it takes
        return _Options(names=frozenset(), refused=_NOT_OPTIONS)
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    options = [parameter for parameter in parameters if parameter.kind in named and parameter.name not in _NOT_OPTIONS]
    return _Options(
        names=frozenset(option.name for option in options),
        fractions=frozenset(
            option.name
            for option in options
            # As text, which also finds it in "float | None" and in an annotation that is a text itself.
            if "float" in str(option.annotation) or isinstance(option.default, float)
        ),
        refused=_NOT_OPTIONS if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters) else None,
    )


def _unknown(name: str, model: str, optimizer: str, options: _Options) -> UnknownName:
    of_the_optimizer = optimizer_hyperparameters(optimizer)
    close = get_close_matches(name, sorted(of_the_optimizer | RECIPE_HYPERPARAMETERS | options.names), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    of_the_model = ", ".join(sorted(options.names)) or "no name like it"
    return UnknownName(
        f"unknown hyperparameter {name!r}; {hint}optimizer {optimizer!r} takes {', '.join(sorted(of_the_optimizer))}, "
        f"model {model!r} takes {of_the_model}, and the fields of the recipe are hyperparameters too"
    )


def _whole(value: Hyperparameter) -> Hyperparameter:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sentence(error: ValidationError, values: Mapping[str, Hyperparameter]) -> str:
    first = error.errors()[0]
    name, reason = str(first["loc"][0]), first["msg"].removeprefix("Input ")
    return f"hyperparameter {name!r} is {values[name]!r}, but it {reason}; change it"
