"""Settling trials: the hyperparameters of those that wait for the phases before them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dashboards.selection import REFERENCE, SEARCH, STABILITY
from search_spaces import HyperparameterValue, SpaceError
from stablesweep.arms import Arm
from stablesweep.centres import Setting, common_centre, family_arms, within_own_intervals
from stablesweep.outcomes import Outcomes
from stablesweep.sources import group_name
from stablesweep.study import Study
from stablesweep.trials import Trial


@dataclass(kw_only=True, slots=True)
class Settled:
    """What could be settled now."""

    trials: list[Trial] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)
    """The centre or best setting that they were settled with, by :func:`stablesweep.sources.group_name`."""
    hopeless: dict[str, str] = field(default_factory=dict)
    """Keys of trials that cannot be settled as things are, and why."""


class NoCentre(Exception):
    """No trial that a setting would come from has completed; the message says which."""


def settle(study: Study, trials: Sequence[Trial], outcomes: Outcomes, settings: Mapping[str, Setting]) -> Settled:
    """The trials of ``stability``, ``reference``, ``length`` and ``peak`` whose settings have become known.

    Args:
        study: The study.
        trials: The whole ledger.
        outcomes: What is known of results.
        settings: What groups of trials were settled with before, by :func:`stablesweep.sources.group_name`: it stays, whatever
            results have come since, so that all draws of an EDF are from one space.

    Returns:
        Those trials with hyperparameters, in their order, and those that cannot have any.
    """
    settled = Settled()
    by_arm = _by_arm(trials)
    for (phase, arm_name), group in _waiting(trials).items():
        arm = next(one for one in study.arms if one.name == arm_name)
        try:
            used = {**settings, **settled.settings}
            setting = _used(study, arm, phase, used)
            if setting is None:
                setting = _with_familys(study, arm, phase, used, _found(study, arm, phase, by_arm, outcomes))
            if setting is not None:
                settled.trials.extend(_settled(study, arm, group, setting))
                settled.settings[group_name(phase, arm_name)] = setting
        except (NoCentre, SpaceError) as error:
            settled.hopeless |= {trial.key: str(error) for trial in group if outcomes.final(trial.key) is None}
    return settled


def _waiting(trials: Sequence[Trial]) -> dict[tuple[str, str], list[Trial]]:
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if not trial.settled and trial.phase != SEARCH:
            groups.setdefault((trial.phase, trial.arm), []).append(trial)
    return groups


def _by_arm(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.arm, []).append(trial)
    return groups


def _settled(study: Study, arm: Arm, group: Sequence[Trial], setting: Setting) -> list[Trial]:
    if group[0].phase != STABILITY:
        return [replace(trial, hyperparameters=dict(setting)) for trial in group]
    space = study.stability_space(arm, setting)
    return [replace(trial, hyperparameters=space.from_unit(trial.unit)) for trial in group]


def _used(study: Study, arm: Arm, phase: str, settings: Mapping[str, Setting]) -> Setting | None:
    """What trials of this group, or others at the same centre, were settled with."""
    phases = [phase]
    if phase in (STABILITY, REFERENCE) and study.draws_around != "space":
        phases = [phase, STABILITY, REFERENCE]
    for name in phases:
        if group_name(name, arm.name) in settings:
            return settings[group_name(name, arm.name)]
    return None


def _with_familys(
    study: Study, arm: Arm, phase: str, settings: Mapping[str, Setting], found: Setting | None
) -> Setting | None:
    """A centre that was found, as far as the arm's family has used another one already: an arm that joins it later follows."""
    if found is None or phase not in (STABILITY, REFERENCE) or study.draws_around != "family":
        return found
    names = [group_name(name, one.name) for one in family_arms(study, arm) for name in (STABILITY, REFERENCE)]
    familys = {key: value for name in names for key, value in settings.get(name, {}).items()}
    return within_own_intervals(study, arm, {name: familys.get(name, value) for name, value in found.items()})


def _found(study: Study, arm: Arm, phase: str, by_arm: Mapping[str, list[Trial]], outcomes: Outcomes) -> Setting | None:
    """The centre or the best setting that a phase of an arm waits for; None if it is not known yet."""
    if phase in (STABILITY, REFERENCE):
        return searched_centre(study, arm, study.draws_around, by_arm, outcomes)
    if study.setting_kind(phase) == "best":
        return best_setting(study, arm, by_arm, outcomes)
    return searched_centre(study, arm, "arm", by_arm, outcomes)


def searched_centre(
    study: Study, arm: Arm, around: str, by_arm: Mapping[str, list[Trial]], outcomes: Outcomes
) -> Setting | None:
    """The best setting of the arm's search, or what the searches of its family have in common; None until they have ended.

    Raises:
        NoCentre: If none of a search's trials completed.
    """
    arms = family_arms(study, arm) if around == "family" else [arm]
    searches = [[trial for trial in by_arm[one.name] if trial.phase == SEARCH] for one in arms]
    if not all(outcomes.all_final(trial.key for trial in search) for search in searches):
        return None
    found = {one.name: _lowest(one, search, outcomes) for one, search in zip(arms, searches, strict=True)}
    return common_centre(study, arm, found)


def best_setting(study: Study, arm: Arm, by_arm: Mapping[str, list[Trial]], outcomes: Outcomes) -> Setting | None:
    """The setting with the lowest final error among the arm's longest trials of ``search``, ``stability`` and ``reference``.

    Errors after trainings of different lengths cannot be compared, so that only the longest count. None until all have ended.

    Raises:
        NoCentre: If none of the trials completed.
    """
    candidates = [trial for trial in by_arm[arm.name] if trial.phase in (SEARCH, STABILITY, REFERENCE)]
    if not outcomes.all_final(trial.key for trial in candidates):
        return None
    completed = [trial for trial in candidates if _error(trial, outcomes) is not None]
    longest = max((trial.epochs for trial in completed), default=0)
    return _lowest(arm, [trial for trial in completed if trial.epochs == longest], outcomes)


def _lowest(arm: Arm, trials: Sequence[Trial], outcomes: Outcomes) -> dict[str, HyperparameterValue]:
    found = [(error, trial.key, trial) for trial in trials if (error := _error(trial, outcomes)) is not None]
    if not found:
        raise NoCentre(f"no trial of {arm.name} that it takes its setting from has completed")
    return dict(min(found, key=lambda one: one[:2])[2].hyperparameters)


def _error(trial: Trial, outcomes: Outcomes) -> float | None:
    outcome = outcomes.final(trial.key)
    return None if outcome is None else outcome.error
