"""What is worth knowing about a study before it runs: one sentence each, with what to do."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboards.selection import SEARCH, STABILITY
from dashboards.statistics.edf import dkw_half_width
from search_spaces import IntUniform, LogIntUniform, LogUniform, Uniform
from stablesweep.pack_remarks import batch_shaping, listed, size_warnings, splitting_warnings
from stablesweep.packs import TrialPack
from stablesweep.phases import SearchPhase
from stablesweep.study import Study
from stablesweep.trials import Trial

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from trainables import Dataset

PAPER_FACTOR = 32
"""Upper over lower end of the paper's intervals, arXiv:2106.14881 section 5.3: 4 times the centre over an eighth of it."""
PAPER_NARROWEST = 25
"""A smaller factor is narrower than any interval of the paper: rounded as in its Table 4, they span factors of 27 to 40."""
NARROW_FACTOR = 8
"""An interval of a smaller factor hardly asks how carefully a value must be chosen. Own."""
WIDE_UNIFORM_FACTOR = 100
"""Over as many decades or more, uniform draws hardly ever fall into the lower ones: nine in ten lie in the highest. Own."""
WIDE_BAND = 0.2
"""Half width of an EDF's band above which two curves that look different may well be the same. Own."""
STARTUP_TRIALS = {"tpe": 10, "gp": 10}
"""So many first trials these samplers of Optuna draw at random, unless ``n_startup_trials`` says otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """One sentence."""

    text: str
    is_warning: bool
    """Whether the study should rather be changed; otherwise it is good to know."""


def remarks(
    study: Study, trials: Sequence[Trial], packs: Sequence[TrialPack], *, at_once: int, data: "Dataset | None"
) -> list[Remark]:
    """Warnings, then notes.

    Args:
        study: The study.
        trials: All its trials.
        packs: Those that still have something to train.
        at_once: How many packs this machine could train at the same time.
        data: The study's dataset, where it is here.
    """
    warnings = [
        *_batch_warnings(study, data),
        *_interval_warnings(study),
        *_draws_warnings(study, trials),
        *_search_warnings(study.phases.search),
        *splitting_warnings(study, trials, packs),
        *(size_warnings(study, packs, at_once) if sum(len(pack.trials) for pack in packs) == len(trials) else ()),
    ]
    notes = [
        *_band_notes(study, trials),
        *_interval_notes(study),
        *_phase_notes(study, trials),
        *_machine_notes(study, at_once),
    ]
    return [
        *(Remark(text=text, is_warning=True) for text in warnings),
        *(Remark(text=text, is_warning=False) for text in notes),
    ]


def _batch_warnings(study: Study, data: "Dataset | None") -> Iterator[str]:
    batch = study.recipe.batch_size
    drawn = any("batch_size" in batch_shaping(study, arm) for arm in study.arms)
    if data is not None and batch > data.num_train and not drawn:
        yield (
            f"recipe.batch_size: {batch} is more than the {data.num_train} training images, and `run` refuses it; "
            "lower it"
        )


def _drawn_spaces(study: Study) -> dict[str, "SearchSpace"]:
    """The space of each arm that draws from the study's own."""
    around = study.phases.stability is not None and study.draws_around == "space"
    if not study.space or not (around or study.phases.search is not None):
        return {}
    return {arm.name: study.space_of(arm) for arm in study.arms}


def _factors(study: Study) -> dict[tuple[str, str, float], list[str]]:
    """The arms by each interval on a log scale: its name, how it is written, its upper over its lower end."""
    found: dict[tuple[str, str, float], list[str]] = {}
    for arm, space in _drawn_spaces(study).items():
        for name in space:
            node = space.distribution(name)
            if isinstance(node, LogUniform | LogIntUniform):
                key = (name, _interval(node), node.high / node.low)
                found.setdefault(key, []).append(arm)
    return found


def _interval(node: Uniform | LogUniform | IntUniform | LogIntUniform) -> str:
    return f"[{node.low:g}, {node.high:g}]"


def _interval_warnings(study: Study) -> Iterator[str]:
    for (name, interval, factor), arms in _factors(study).items():
        if factor < NARROW_FACTOR:
            yield (
                f"space: {name} of {_named(arms)} spans a factor of {factor:.2g} only, {interval}: a good EDF over it says little "
                f"about how carefully {name} must be chosen; widen it, the paper's intervals span a factor of {PAPER_FACTOR}"
            )
    for (name, interval), arms in _wide_uniforms(study).items():
        yield (
            f"space: {name} of {_named(arms)} is drawn uniformly from {interval}, so that nine in ten draws lie in the highest "
            "decade; use log_uniform with a lower end above 0"
        )


def _wide_uniforms(study: Study) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for arm, space in _drawn_spaces(study).items():
        for name in space:
            node = space.distribution(name)
            if isinstance(node, Uniform) and node.low >= 0 and _is_wide(name, node):
                found.setdefault((name, _interval(node)), []).append(arm)
    return found


def _is_wide(name: str, node: Uniform) -> bool:
    # A rate of 0 trains nothing; of another hyperparameter 0 may be one good value among many.
    return name in ("lr", "weight_decay") if node.low == 0 else node.high / node.low >= WIDE_UNIFORM_FACTOR


def _interval_notes(study: Study) -> Iterator[str]:
    if study.phases.stability is None or study.draws_around != "space":
        return
    narrow = {name for name, _, factor in _factors(study) if NARROW_FACTOR <= factor < PAPER_NARROWEST}
    narrow &= {"lr", "weight_decay"}
    if narrow:
        yield (
            f"Intervals of {listed(sorted(narrow))} are narrower than the paper's factor of {PAPER_FACTOR}: shares within a margin cannot be "
            "compared with its figures"
        )


def _draws_warnings(study: Study, trials: Sequence[Trial]) -> Iterator[str]:
    phase = study.phases.stability
    if phase is None:
        return
    fewest = _fewest_draws(trials)
    width, key = dkw_half_width(fewest, 0.95), "draws" if phase.points is None else "points"
    if width > WIDE_BAND:
        yield (
            f"phases.stability.{key}: {_known_to(fewest)}; {_draws_for(WIDE_BAND)} draws give ± {100 * WIDE_BAND:.0f}, "
            f"{_draws_for(WIDE_BAND / 2)} give ± {50 * WIDE_BAND:.0f}"
        )
    if phase.sampler == "sobol" and fewest & (fewest - 1):
        below = 1 << (fewest.bit_length() - 1)
        yield (
            f"phases.stability.draws: {fewest} is no power of two, for which a Sobol sequence is most even; "
            f"use {below} or {2 * below}"
        )


def _draws_for(half_width: float) -> int:
    """The fewest draws with a 95 % DKW band of at most this half width."""
    return math.ceil(math.log(2 / 0.05) / (2 * half_width**2))


def _fewest_draws(trials: Sequence[Trial]) -> int:
    return min(Counter(trial.arm for trial in trials if trial.phase == STABILITY).values())


def _known_to(draws: int) -> str:
    return f"with {draws} draws an EDF is known to ± {100 * dkw_half_width(draws, 0.95):.0f} points (DKW band, 95 %)"


def _band_notes(study: Study, trials: Sequence[Trial]) -> Iterator[str]:
    phase = study.phases.stability
    if phase is None:
        return
    fewest = _fewest_draws(trials)
    if dkw_half_width(fewest, 0.95) <= WIDE_BAND:
        yield _capital(_known_to(fewest))
    if phase.sampler != "random":
        wider = "can be too narrow over three or more dimensions" if phase.sampler == "grid" else "is usually too wide"
        yield (
            f"The band around an EDF is proven for independent draws; for the sampler {phase.sampler} it {wider}, see "
            "docs/samplers.md"
        )


def _search_warnings(phase: SearchPhase | None) -> Iterator[str]:
    if phase is None or phase.sampler_name == "random":
        return
    if phase.draws <= phase.at_once:
        yield (
            f"phases.search.at_once: all {phase.draws} draws are suggested before any result, which is a random search; "
            "lower at_once, or raise draws"
        )
    elif (startup := _startup_trials(phase)) >= phase.draws:
        yield (
            f"phases.search.draws: the sampler {phase.sampler_name} draws its first {startup} trials at random and the search "
            f"has {phase.draws}; raise draws, or give it n_startup_trials"
        )


def _startup_trials(phase: SearchPhase) -> int:
    given = phase.sampler.get("n_startup_trials") if isinstance(phase.sampler, Mapping) else None
    if isinstance(given, int):
        return given
    # What an object of Optuna's was made with is its own affair.
    return STARTUP_TRIALS.get(phase.sampler_name, 0)


def _phase_notes(study: Study, trials: Sequence[Trial]) -> Iterator[str]:
    searched = sum(trial.phase == SEARCH for trial in trials)
    if searched and study.phases.search is not None:
        add = "" if study.phases.stability is not None else "; add the phase stability to have one"
        yield f"The {searched} trials of the search follow results, and so never enter an EDF{add}"
    if study.phases.stability is not None and not study.references:
        yield (
            "There is no reference run: errors above the reference are then counted from the best draw, which is optimistic; a centre and "
            "phases.stability.reference give one"
        )


def _machine_notes(study: Study, at_once: int) -> Iterator[str]:
    if not at_once:
        pack = study.pack
        each = f"{pack.workers} times " if pack.workers > 1 else ""
        gpus = f" and {pack.gpus:g} GPU{'s' if pack.gpus > 1 else ''}" if pack.gpus else ""
        yield f"This machine cannot train one of these packs, each asks for {each}{pack.cpus:g} CPU{'s' if pack.cpus > 1 else ''}{gpus}: run on a Ray cluster that can"


def _named(arms: Sequence[str]) -> str:
    return arms[0] if len(arms) == 1 else f"{arms[0]} and {len(arms) - 1} more"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
