"""Before any compute is spent: whether the study's data is there, and its arms can be built and trained on it."""

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dashboards.selection import STABILITY
from search_spaces import HyperparameterValue, SearchSpace, num_values
from stablesweep.arms import Arm
from stablesweep.centres import known_centre
from stablesweep.errors import StudyError, short
from stablesweep.study import ModelDefinition, Study

if TYPE_CHECKING:
    from trainables import Dataset

CORNERS = (0.0, 0.5, 1 - 2**-53)
"""Unit coordinates at which a space is tried out."""
MANY_VALUES = 16
"""Of a dimension with more values than this, not every one is tried out."""


def check_data(study: Study, source: str) -> "Dataset | None":
    """Load the study's data and build each arm once, here. What a trainable of the user's own needs is its own affair.

    Returns:
        The data; None where a trainable of the user's own has its own.

    Raises:
        StudyError: If the data cannot be loaded, an epoch would have no batch, or an arm cannot be built for it.
    """
    data = load_data(study, source)
    if data is not None:
        check_arms(study, data, source)
    return data


def load_data(study: Study, source: str) -> "Dataset | None":
    """The study's data; None where a trainable of the user's own has its own.

    Raises:
        StudyError: If it cannot be loaded.
    """
    if study.dataset is None:
        return None
    from trainables import load_dataset

    with _one_sentence(source):
        return load_dataset(study.dataset.name, **dataset_options(study))


def check_arms(study: Study, data: "Dataset", source: str) -> None:
    """Build each arm once, and take one step with settings that stand for all of its own.

    Raises:
        StudyError: If an epoch would have no batch, or an arm cannot be built for the data.
    """
    with _one_sentence(source):
        for model in {arm.model: study.model_of(arm) for arm in study.arms}.values():
            _check_model(model, data)
        for arm in study.arms:
            spaces = [values for space in _spaces(study, arm) for values in _with_every_value(space)]
            for values in itertools.chain(settings_to_try(study, arm), spaces):
                _check_setting(study, arm, data, values)


@contextlib.contextmanager
def _one_sentence(source: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        raise StudyError(f"{source}: {short(error, None)}.") from error


def dataset_options(study: Study) -> dict[str, Any]:
    """The options of the study's dataset, as they mean the same in every process; none without a dataset."""
    from trainables.data.loading import absolute_options

    return {} if study.dataset is None else absolute_options(study.dataset.name, study.dataset.options)


def dataset_path(study: Study) -> str | None:
    """The path or URI that a built-in dataset is read from; None if it is read from none.

    What a dataset of the user's own does with its options, e.g. load what is missing from elsewhere, is not known here.
    """
    from trainables.registry import user_dataset

    if study.dataset is None or user_dataset(study.dataset.name) is not None:
        return None
    path = dataset_options(study).get("path")
    return path if isinstance(path, str) else None


def settings_to_try(study: Study, arm: Arm) -> Iterator[dict[str, HyperparameterValue]]:
    """Settings that stand for all that the arm may be trained with: given ones, and corners of its spaces."""
    for name, phase in study.phases.fixed().items():
        centre = known_centre(study, arm, name, "arm") if study.setting_kind(name) == "centre" else None
        if isinstance(phase.at, dict) or centre is not None:
            yield dict(centre or study.setting(phase.at, arm))
    for space in _spaces(study, arm):
        yield from corners(space)


def corners(space: SearchSpace) -> Iterator[dict[str, HyperparameterValue]]:
    """The lower ends of all dimensions, their middles, and their upper ends."""
    return (space.from_unit(dict.fromkeys(space, unit)) for unit in CORNERS)


def _with_every_value(space: SearchSpace) -> Iterator[dict[str, HyperparameterValue]]:
    """Each value of a dimension that has few, the others in their middle."""
    middle = space.from_unit(dict.fromkeys(space, 0.5))
    for name in space:
        values = num_values(space.distribution(name))
        if name in middle and values is not None and 1 < values <= MANY_VALUES:
            # Cells may be of different widths: so many points meet each of them.
            units = (place / (16 * values) for place in range(16 * values))
            for value in dict.fromkeys(space.distribution(name).from_unit(unit) for unit in units):
                yield {**middle, name: value}


def _spaces(study: Study, arm: Arm) -> Iterator[SearchSpace]:
    stability = study.phases.stability
    if study.space and (study.phases.search is not None or stability is not None):
        yield study.space_of(arm)
    if stability is not None and study.draws_around != "space":
        centre = known_centre(study, arm, STABILITY, study.draws_around)
        if centre is not None:
            yield study.stability_space(arm, centre)


def _check_model(model: ModelDefinition, data: "Dataset") -> None:
    from trainables.models.create import check_model
    from trainables.registry import user_model

    # A user's model that raises makes its trials failed, which is a finding; a built-in one does not fit the images.
    factory = user_model(model.base)
    if factory is not None:
        _check_call(model, factory)
    else:
        check_model(
            model.base,
            num_classes=data.num_classes,
            image_size=data.image_size,
            in_channels=data.channels,
            overrides=model.options,
        )


def _check_call(model: ModelDefinition, factory: Callable[..., Any]) -> None:
    sizes = dict.fromkeys(("num_classes", "image_size", "in_channels"), 1)
    try:
        inspect.signature(factory).bind(**{**sizes, **model.options})
    except TypeError as error:
        given = ", ".join(model.options) or "none"
        raise ValueError(
            f"models: the factory of {model.base!r} cannot be called with its sizes and the options given ({given}): {error}"
        ) from error


def _check_setting(study: Study, arm: Arm, data: "Dataset", values: Mapping[str, HyperparameterValue]) -> None:
    import torch

    from trainables import create_optimizer
    from trainables.hyperparameters import recipe_for, split_hyperparameters
    from trainables.training.checks import check_sizes

    model = study.model_of(arm)
    try:
        own = split_hyperparameters(model.base, arm.optimizer, values)
        # The length of the training is the study's own and was checked with it.
        recipe = recipe_for(study.recipe, arm.optimizer, values)
        check_sizes(data, recipe, epochs=1, study_seed=study.seed, world=study.pack.workers)
        if own.model:
            _check_model(model.model_copy(update=own.model), data)
        layer = torch.nn.Linear(2, 2)
        layer(torch.ones(1, 2)).sum().backward()
        create_optimizer(arm.optimizer, layer, own.optimizer).step()
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"the arm {arm.name} cannot train with {dict(values)}: {error}") from error
