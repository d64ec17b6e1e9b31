"""What can be known to be wrong with a pack before anything is trained."""

from collections.abc import Sequence

from trainables.data.dataset import Dataset
from trainables.hyperparameters import SHARED_FIELDS, recipe_for, require_trial_hyperparameters, shared_values
from trainables.recipes.augmentation import Augmentation
from trainables.recipes.recipe import Recipe
from trainables.registry import require_model
from trainables.training.records import Member


def check_members(members: Sequence[Member], *, model: str, optimizer: str) -> None:
    """Nothing, if these trials can be a pack of this model and optimizer.

    Raises:
        UnknownName: If the model, the optimizer or a hyperparameter is unknown.
        ValueError: If a key occurs twice, a seed is negative or a hyperparameter is missing.
    """
    require_model(model)
    check_trials(members)
    for member in members:
        require_trial_hyperparameters(model, optimizer, member.hyperparameters)


def check_trials(members: Sequence[Member]) -> None:
    """Nothing, if these trials can be a pack, whatever trains it.

    Raises:
        ValueError: If there is none, a key occurs twice or a seed is negative.
    """
    if not members:
        raise ValueError("members: got none, expected at least one")
    keys = [member.key for member in members]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"members: key {twice!r} occurs twice; give each member its own key")
    for member in members:
        if member.seed < 0:
            raise ValueError(f"member {member.key!r}: seed is {member.seed}, expected 0 or more")


def check_length(*, epochs: int, study_seed: int) -> None:
    """Nothing, if there are epochs to train, and the study's seed is none below 0. Raises ValueError otherwise."""
    if epochs < 1:
        raise ValueError(f"epochs: got {epochs}, expected 1 or more")
    if study_seed < 0:
        raise ValueError(f"study seed: got {study_seed}, expected 0 or more")


def shared_recipe(members: Sequence[Member], *, recipe: Recipe, optimizer: str) -> Recipe:
    """The recipe with the values that all these trials have of the fields that make a pack's batches.

    Args:
        members: At least one.
        recipe: What holds for the fields that are not among a trial's hyperparameters.
        optimizer: A name that :func:`trainables.create_optimizer` takes.

    Raises:
        ValueError: If two trials differ in such a field, or a value does not suit its field.
    """
    first, *others = members
    shared = _with_shared_values(first, recipe, optimizer)
    for member in others:
        own = _with_shared_values(member, recipe, optimizer)
        for name in sorted(SHARED_FIELDS):
            if getattr(own, name) != getattr(shared, name):
                raise ValueError(
                    f"members {first.key!r} and {member.key!r} have {name} {getattr(shared, name)!r} and "
                    f"{getattr(own, name)!r}, but a pack's members share their batches; give them packs of their own"
                )
    return shared


def _with_shared_values(member: Member, recipe: Recipe, optimizer: str) -> Recipe:
    return recipe_for(recipe, optimizer, dict(shared_values(optimizer, member.hyperparameters)))


def augmentation_of(data: Dataset, recipe: Recipe) -> Augmentation:
    """The augmentation that the recipe asks for on this dataset.

    Raises:
        ValueError: If they do not suit each other.
    """
    return Augmentation(
        recipe,
        num_classes=data.num_classes,
        image_size=data.image_size,
        mean=data.mean,
        std=data.std,
        crop_here=not data.crops_on_read,
    )


def check_sizes(data: Dataset, recipe: Recipe, *, epochs: int, study_seed: int, world: int) -> None:
    """Nothing, if a pack of this length can be trained on the data by ``world`` workers.

    Raises:
        ValueError: Otherwise.
    """
    check_length(epochs=epochs, study_seed=study_seed)
    if recipe.batch_size > data.num_train:
        raise ValueError(
            f"batch_size: got {recipe.batch_size}, expected 1 to {data.num_train}, the number of training images"
        )
    if recipe.batch_size % world:
        raise ValueError(f"batch_size: {recipe.batch_size} cannot be shared evenly by {world} workers; use a multiple")
    if world > 1 and (recipe.mixup or recipe.cutmix) and recipe.batch_size // world % 2:
        raise ValueError(
            f"batch_size: {recipe.batch_size} images over {world} workers is an odd number each, and mixing pairs the images "
            f"of a worker; use a multiple of {2 * world}"
        )
    augmentation_of(data, recipe)
