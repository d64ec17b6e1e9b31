"""What must fit together in a study, checked when it is made. Each error begins with the key that it is about."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dashboards.selection import STABILITY
from dashboards.tables import trials_schema
from search_spaces import Conditional, SearchSpace, SpaceError, distribution_kinds, grid_size
from search_spaces.values import shown
from stablesweep.arms import Arm, check_places
from trainables.hyperparameters import SHARED_FIELDS, require_trial_hyperparameters
from trainables.recipes.recipe import Recipe
from trainables.registry import require_model, require_optimizer

if TYPE_CHECKING:
    from stablesweep.study import Study

# In the arms of a study with its own trainable: what can stand in a key, a folder and a tag.
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,79}")
RESERVED_NAMES = frozenset({*trials_schema([]).names, "round"})
"""Columns of the ledger and the trials table that are no hyperparameters."""


def check_study(study: "Study") -> None:
    """Nothing, if the parts of a study fit together.

    Raises:
        ValueError: Otherwise, beginning with the key.
    """
    _check_what_trains(study)
    _check_arms(study)
    _check_families(study)
    kinds = ", ".join(distribution_kinds())
    check_places("space", study.space, Mapping, study.arms, hint=f"; a dimension is one of {kinds} with its arguments")
    check_places("centre", study.centre, dict, study.arms)
    for name, phase in study.phases.fixed().items():
        if isinstance(phase.at, dict):
            check_places(f"phases.{name}.at", phase.at, dict, study.arms)
    _check_spaces(study)
    _check_feeds(study)
    _check_settings(study)
    _check_kinds(study)
    _check_points(study)
    _check_around(study)
    _check_search(study)


def _check_what_trains(study: "Study") -> None:
    if study.trainable is None:
        if study.dataset is None:
            raise ValueError("dataset: this key is missing; add it")
        return
    unused = {"dataset": study.dataset is not None, "models": bool(study.models), "recipe": study.recipe != Recipe()}
    for key, given in unused.items():
        if given:
            raise ValueError(
                f"{key}: the trainable {study.trainable.name!r} does not use it; give what it needs as its options under trainable"
            )
    if study.pack.workers > 1:
        raise ValueError("pack.workers: a trainable of the user's own trains on one worker; remove it")


def _check_arms(study: "Study") -> None:
    for arm in study.arms:
        if study.trainable is not None:
            for part in (arm.model, arm.optimizer):
                if not PART.fullmatch(part):
                    raise ValueError(f"arms: {part!r} in {arm.name!r} must be letters, digits and _ . : + - only")
            continue
        try:
            require_optimizer(arm.optimizer)
            if arm.model not in study.models:
                require_model(arm.model)
        except ValueError as error:
            raise ValueError(f"arms: {error}") from error


def _check_families(study: "Study") -> None:
    models = {arm.model for arm in study.arms}
    seen: dict[str, str] = {}
    for family, members in study.families.items():
        for model in members:
            if model not in models:
                raise ValueError(
                    f"families.{family}: no arm has the model {model!r}; the models are {', '.join(sorted(models))}"
                )
            if seen.setdefault(model, family) != family:
                raise ValueError(f"families: {model!r} stands in {seen[model]} and in {family}; keep it in one")


def _check_spaces(study: "Study") -> None:
    stability = study.phases.stability
    drawing = {
        "search": study.phases.search is not None,
        STABILITY: stability is not None and study.draws_around == "space",
    }
    for phase_name, draws in drawing.items():
        if draws and not study.space:
            raise ValueError(f"space: this key is missing; add it, the phase {phase_name} draws from it")
    if any(drawing.values()) or (stability is not None and study.space):
        for arm in study.arms:
            _check_space(study, arm)


def _check_space(study: "Study", arm: Arm) -> None:
    try:
        space = study.space_of(arm)
    except SpaceError as error:
        raise ValueError(f"space: for the arm {arm.name}: {error}") from error
    always = [name for name in space if not isinstance(space[name], Conditional)]
    check_names(study, "space", arm, space)
    check_names(study, "space", arm, always)


def check_names(study: "Study", key: str, arm: Arm, names: Iterable[str]) -> None:
    """Nothing, if a trial of an arm can have hyperparameters of these names, and lacks none.

    Raises:
        ValueError: Otherwise.
    """
    names = list(names)
    for name in names:
        if name in RESERVED_NAMES or name.startswith("unit_"):
            raise ValueError(f"{key}.{name}: a column of the trials table has this name; rename it")
    if study.trainable is not None:
        return
    try:
        require_trial_hyperparameters(study.model_of(arm).base, arm.optimizer, names)
    except ValueError as error:
        raise ValueError(f"{key}: for the arm {arm.name}: {error}") from error


def _check_points(study: "Study") -> None:
    phase = study.phases.stability
    if phase is None or phase.points is None:
        return
    known = {name for arm in study.arms for name in grid_space(study, arm)}
    for name in phase.points if isinstance(phase.points, dict) else ():
        if name not in known:
            raise ValueError(
                f"phases.stability.points.{name}: no arm has this dimension; known: {', '.join(sorted(known))}"
            )
    for arm in study.arms:
        try:
            grid_size(grid_space(study, arm), points_of(study, arm))
        except SpaceError as error:
            raise ValueError(f"phases.stability.points: for the arm {arm.name}: {error}") from error


def grid_space(study: "Study", arm: Arm) -> SearchSpace:
    """The dimensions of a grid; where a centre is still to be found, the intervals are those of the study's space."""
    dimensions = study.dimensions_of(arm)
    return SearchSpace(dimensions) if dimensions else study.stability_space(arm, study.given_centre(arm, STABILITY))


def points_of(study: "Study", arm: Arm) -> int | dict[str, int]:
    """The grid's points per dimension, as far as an arm has the dimensions."""
    phase = study.phases.stability
    assert phase is not None
    assert phase.points is not None
    if isinstance(phase.points, int):
        return phase.points
    own = grid_space(study, arm)
    return {name: number for name, number in phase.points.items() if name in own}


def _check_feeds(study: "Study") -> None:
    """Every phase finds what it takes from those before it."""
    stability = study.phases.stability
    if study.phases.search is not None and study.centre:
        raise ValueError("centre: the phase search finds it; remove one of the two")
    if stability is not None and stability.around is None and _lacks_space_and_centre(study):
        raise ValueError(
            "space: this key is missing; add it, the phase stability draws from it (or give a centre to draw around)"
        )
    if stability is not None and study.draws_around != "space":
        _require_centres(study, "phases.stability.around", STABILITY)
    if stability is not None and study.references:
        _require_centres(study, "phases.stability.reference", STABILITY)
    for name in study.phases.fixed():
        kind = study.setting_kind(name)
        if kind == "best" and study.phases.search is None and stability is None:
            raise ValueError(
                f"phases.{name}.at: there is no phase search or stability to find the best setting; give one"
            )
        if kind == "centre":
            _require_centres(study, f"phases.{name}.at", name)


def _lacks_space_and_centre(study: "Study") -> bool:
    if study.space or study.phases.search is not None:
        return False
    return any(study.given_centre(arm, STABILITY) is None for arm in study.arms)


def _require_centres(study: "Study", key: str, phase: str) -> None:
    if study.phases.search is not None:
        return
    for arm in study.arms:
        if study.given_centre(arm, phase) is None:
            raise ValueError(
                f"{key}: no centre is known for the arm {arm.name}; add the phase search, or the key centre, or write values"
            )


def _check_settings(study: "Study") -> None:
    for name, phase in study.phases.fixed().items():
        if isinstance(phase.at, dict):
            for arm in study.arms:
                setting = study.setting(phase.at, arm)
                if not setting:
                    raise ValueError(f"phases.{name}.at: it has no value for the arm {arm.name}; add some")
                check_names(study, f"phases.{name}.at", arm, setting)
    for arm in study.arms:
        centre = study.setting(study.centre, arm)
        if centre:
            check_names(study, "centre", arm, centre)


def _check_kinds(study: "Study") -> None:
    """One hyperparameter is one column of the trials table: a number, a text or a truth value in every arm."""
    words: dict[type, str] = {float: "a number", int: "a number", str: "a text", bool: "a truth value"}
    first: dict[str, tuple[str, str]] = {}
    for key, arm, name, example in study.examples():
        if type(example) not in words:
            raise ValueError(
                f"{key}.{name}: for {arm.name} it gives {shown(example)}, a {type(example).__name__}; it must give floats, whole "
                "numbers, texts or truth values"
            )
        kind, where = words[type(example)], f"{arm.name} in {key}"
        before, there = first.setdefault(name, (kind, where))
        if before != kind:
            raise ValueError(f"{key}.{name}: it is {kind} for {where} and {before} for {there}; use one kind")


def _check_around(study: "Study") -> None:
    """The space around a centre that is given can be drawn from."""
    if study.phases.stability is None or study.draws_around == "space":
        return
    for arm in study.arms:
        centre = study.given_centre(arm, STABILITY)
        try:
            study.stability_space(arm, centre)
        except SpaceError as error:
            raise ValueError(f"centre: for the arm {arm.name}: {error}") from error


def _check_search(study: "Study") -> None:
    search = study.phases.search
    if search is not None and search.pruning is not None and search.at_once > study.pack.size:
        raise ValueError(
            f"phases.search.at_once: {search.at_once} trials do not fit a pack of {study.pack.size}, and pruning compares the trials "
            "of a pack; lower it, or raise pack.size"
        )
    if search is not None and search.pruning is not None and study.trainable is None:
        for name in sorted(SHARED_FIELDS & {name for arm in study.arms for name in study.dimensions_of(arm)}):
            raise ValueError(
                f"phases.search.pruning: trials that differ in {name} train in different packs, and pruning compares those of one; take "
                f"{name} out of the space, or pruning out of the search"
            )
