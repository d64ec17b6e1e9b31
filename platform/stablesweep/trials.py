"""The trials of a study: every one that it will run, worked out before anything runs."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dashboards.selection import FIXED, REFERENCE, SEARCH, STABILITY
from search_spaces import HyperparameterValue, SearchSpace, grid_points, unit_points
from stablesweep.arms import Arm
from stablesweep.centres import known_centre
from stablesweep.phases import FixedPhase, SearchPhase, StabilityPhase
from stablesweep.study import Study
from stablesweep.study_checks import points_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One row of the ledger."""

    key: str
    """``phase/arm/draw/replicate``; sorts as the draws do."""
    phase: str
    arm: str
    model: str
    optimizer: str
    draw: int
    seed: int
    """Seeds the trial's own generator; the same for draw *i* in every arm, so that arms are compared pairwise."""
    sampler: str
    epochs: int
    hyperparameters: Mapping[str, HyperparameterValue]
    """Empty until it is settled: what an earlier phase, or earlier rounds of a search, still have to find."""
    unit: Mapping[str, float]
    """The draw as a point of the unit cube; empty where the setting is no draw."""
    round: int | None = None
    """In a search: trials of one round are suggested together, before the results of any of them."""

    @property
    def replicate(self) -> int:
        """Counts the seeds of one setting, from 0."""
        return int(self.key.rpartition("/")[2])

    @property
    def settled(self) -> bool:
        """Whether its hyperparameters are known."""
        return bool(self.hyperparameters)


def trial_seed(study_seed: int, draw: int, replicate: int) -> int:
    """The seed of a trial: 31 bits of a digest of (study seed, draw, replicate). Source: own."""
    text = f"stablesweep trial seed\0{study_seed}\0{draw}\0{replicate}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def trial_key(phase: str, arm: str, draw: int, replicate: int = 0) -> str:
    """``phase/arm/draw/replicate``, the draw with leading zeros."""
    return f"{phase}/{arm}/{draw:06d}/{replicate}"


def _trial(arm: Arm, phase: str, draw: int, replicate: int = 0, **values: Any) -> Trial:
    named: dict[str, Any] = {
        "phase": phase,
        "arm": arm.name,
        "model": arm.model,
        "optimizer": arm.optimizer,
        "draw": draw,
    }
    return Trial(key=trial_key(phase, arm.name, draw, replicate), **named, **values)


def _searched_trials(study: Study, arm: Arm, phase: SearchPhase) -> Iterator[Trial]:
    for draw in range(phase.draws):
        yield _trial(
            arm,
            SEARCH,
            draw,
            seed=trial_seed(study.seed, draw, 0),
            sampler=phase.sampler_name,
            epochs=phase.epochs,
            hyperparameters={},
            unit={},
            round=draw // phase.at_once,
        )


def _drawn_trials(study: Study, phase: StabilityPhase) -> Iterator[Trial]:
    names = {arm.name: _drawn_names(study, arm) for arm in study.arms}
    # One order for all arms: a dimension's place decides its coordinates in a Sobol or Halton sequence.
    every = list(dict.fromkeys(name for own in names.values() for name in own))
    shared = [] if phase.draws is None else unit_points(phase.sampler, every, seed=study.seed, draws=phase.draws)
    for arm in study.arms:
        points = shared if phase.points is None else grid_points(_drawn_space(study, arm), points_of(study, arm))
        space = _known_space(study, arm)
        for draw, point in enumerate(points):
            unit = {name: point[name] for name in names[arm.name]}
            yield _trial(
                arm,
                STABILITY,
                draw,
                seed=trial_seed(study.seed, draw, 0),
                sampler=phase.sampler,
                epochs=phase.epochs,
                hyperparameters={} if space is None else space.from_unit(unit),
                unit=unit,
            )


def _drawn_space(study: Study, arm: Arm) -> SearchSpace:
    """The arm's space, or where its centre is still to be found one with the same dimensions."""
    return _known_space(study, arm) or study.space_of(arm)


def _drawn_names(study: Study, arm: Arm) -> list[str]:
    return list(_drawn_space(study, arm))


def _known_space(study: Study, arm: Arm) -> SearchSpace | None:
    """What the draws are mapped into, if that is known before anything runs."""
    if study.draws_around == "space":
        return study.stability_space(arm, None)
    centre = known_centre(study, arm, STABILITY, study.draws_around)
    return None if centre is None else study.stability_space(arm, centre)


def _reference_trials(study: Study, arm: Arm, phase: StabilityPhase) -> Iterator[Trial]:
    around = "family" if study.draws_around == "family" else "arm"
    centre = known_centre(study, arm, STABILITY, around)
    for replicate in range(study.references):
        yield _fixed_trial(study, arm, REFERENCE, phase.epochs, replicate, centre)


def _fixed_trials(study: Study, arm: Arm, phase_name: str, phase: FixedPhase) -> Iterator[Trial]:
    for epochs, replicate in itertools.product(phase.epochs, range(phase.seeds)):
        kind = study.setting_kind(phase_name)
        setting: Mapping[str, HyperparameterValue] | None = None
        if isinstance(phase.at, dict):
            setting = study.setting(phase.at, arm)
        elif kind == "centre":
            setting = known_centre(study, arm, phase_name, "arm")
        yield _fixed_trial(study, arm, phase_name, epochs, replicate, setting)


def _fixed_trial(
    study: Study,
    arm: Arm,
    phase_name: str,
    epochs: int,
    replicate: int,
    setting: Mapping[str, HyperparameterValue] | None,
) -> Trial:
    """One setting: the length takes the place of the draw, so that a length more or less moves no other trial."""
    return _trial(
        arm,
        phase_name,
        epochs,
        replicate,
        seed=trial_seed(study.seed, 0, replicate),
        sampler=FIXED,
        epochs=epochs,
        hyperparameters=setting or {},
        unit={},
    )


def plan_trials(study: Study) -> list[Trial]:
    """All trials of a study, sorted by key; those that wait for a phase before them are not settled.

    Draw *i* is the same unit point in every arm. More draws, lengths or seeds change no earlier trial, and neither do more arms
    that are listed after the others (a dimension that only a new arm has would else take the place of another in a sequence,
    and a family's given centre is the mean over its arms).
    """
    trials: list[Trial] = []
    search, stability = study.phases.search, study.phases.stability
    if stability is not None:
        trials.extend(_drawn_trials(study, stability))
    for arm in study.arms:
        if search is not None:
            trials.extend(_searched_trials(study, arm, search))
        if stability is not None:
            trials.extend(_reference_trials(study, arm, stability))
        for name, phase in study.phases.fixed().items():
            trials.extend(_fixed_trials(study, arm, name, phase))
    return with_one_type(study, sorted(trials, key=lambda trial: trial.key))


def with_one_type(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """The trials with floats where a hyperparameter is a whole number in one and a float in another: it is one column."""
    mixed = {name for name, kinds in value_kinds(study, trials).items() if kinds == {int, float}}
    if not mixed:
        return list(trials)
    return [
        replace(
            trial,
            hyperparameters={
                name: float(value) if name in mixed else value for name, value in trial.hyperparameters.items()
            },
        )
        for trial in trials
    ]


def with_settings(trials: Sequence[Trial], settled: Iterable[Trial]) -> list[Trial]:
    """The trials, those not settled with the hyperparameters that ``settled`` has for their keys."""
    known = {trial.key: trial.hyperparameters for trial in settled if trial.settled}
    return [trial if trial.settled else replace(trial, hyperparameters=known.get(trial.key, {})) for trial in trials]


def value_kinds(study: Study, trials: Sequence[Trial]) -> dict[str, set[type]]:
    """Every hyperparameter that a trial has or may still get, in order, and the types of its values."""
    kinds: dict[str, set[type]] = {}
    for _, _, name, value in sorted(study.examples(), key=lambda example: example[1].name):
        kinds.setdefault(name, set()).add(type(value))
    for trial in trials:
        for name, value in trial.hyperparameters.items():
            kinds.setdefault(name, set()).add(type(value))
    return kinds
