"""Settling trials: the hyperparameters of those that wait for the phases before them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dashboards.selection import REFERENCE, SEARCH, STABILITY
from search_spaces import HyperparameterValue
from stablesweep.arms import Arm
from stablesweep.centres import Setting, common_centre, family_arms
from stablesweep.ledger import Trial
from stablesweep.outcomes import Outcomes
from stablesweep.study import Study


@dataclass(kw_only=True, slots=True)
class Settled:
    """What could be settled now."""

    trials: list[Trial] = field(default_factory=list)
    hopeless: dict[str, str] = field(default_factory=dict)
    """Keys of trials that can never be settled, and why."""


class NoCentre(Exception):
    """No trial that a setting would come from has completed; the message says which."""


def settle(study: Study, trials: Sequence[Trial], outcomes: Outcomes) -> Settled:
    """The trials of ``stability``, ``reference``, ``length`` and ``peak`` whose settings have become known.

    Args:
        study: The study.
        trials: The whole ledger.
        outcomes: What is known of results.

    Returns:
        Those trials with hyperparameters, in their order, and those that can never have any.
    """
    settled = Settled()
    waiting = _waiting(trials)
    by_arm = _by_arm(trials)
    for (phase, arm_name), group in waiting.items():
        arm = next(one for one in study.arms if one.name == arm_name)
        try:
            setting = _setting(study, arm, phase, by_arm, outcomes)
        except NoCentre as error:
            settled.hopeless |= {trial.key: str(error) for trial in group if outcomes.final(trial.key) is None}
            continue
        if setting is not None:
            settled.trials.extend(_settled(study, arm, group, setting))
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


def _setting(
    study: Study, arm: Arm, phase: str, by_arm: Mapping[str, list[Trial]], outcomes: Outcomes
) -> Setting | None:
    """The centre or the best setting that a phase of an arm waits for; None if it is not known yet."""
    if phase in (STABILITY, REFERENCE):
        # Once the family's centre has been used it stays, whoever joins the family later.
        used = _used_centre(study, arm, by_arm) if study.draws_around == "family" else None
        return used or searched_centre(study, arm, study.draws_around, by_arm, outcomes)
    if study.setting_kind(phase) == "best":
        return best_setting(study, arm, by_arm, outcomes)
    return searched_centre(study, arm, "arm", by_arm, outcomes)


def _used_centre(study: Study, arm: Arm, by_arm: Mapping[str, list[Trial]]) -> Setting | None:
    for one in family_arms(study, arm):
        for trial in by_arm[one.name]:
            if trial.phase == REFERENCE and trial.settled:
                return trial.hyperparameters
    return None


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
    return common_centre(
        study, arms, [_lowest(one, search, outcomes) for one, search in zip(arms, searches, strict=True)]
    )


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
