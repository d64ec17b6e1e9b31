"""The paper's spaces and settings by name, carried with the package."""

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from search_spaces.distributions import HIGH_FACTOR, LogUniform
from search_spaces.space import SearchSpace
from search_spaces.values import SpaceError, shown

PAPER_BATCH_SIZE = 2048
"""Images per step that the paper's learning rates are stated for."""
PAPER_SOURCE = "arXiv:2106.14881, Table 4"
_PEAK_EPOCHS = 400

_FAMILIES = {"vit": re.compile(r"vit_[pc]_.+"), "regnety": re.compile(r"regnety_.+")}
_PAPER_VIT = re.compile(r"vit_[pc]_(1|4|18|36)gf")
_PAPER_CNN = re.compile(r"(regnety|resnet)_?[0-9].*")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedSpace:
    """A space that is built in."""

    name: str
    """``paper/FAMILY/OPTIMIZER``."""
    space: SearchSpace
    centres: dict[str, float]
    """For each dimension the value that the interval was made around: a quarter of its upper end."""


@cache
def _paper() -> dict[str, Any]:
    text = files("search_spaces").joinpath("paper.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


@cache
def named_spaces() -> dict[str, NamedSpace]:
    """Every space that is built in, by name.

    Source: arXiv:2106.14881v3, Table 4 (intervals; log-uniform is our choice) and section 5.3 (the factor 4).
    """
    spaces = {}
    for family, optimizers in _paper()["intervals"].items():
        for optimizer, intervals in optimizers.items():
            name = f"paper/{family}/{optimizer}"
            spaces[name] = NamedSpace(
                name=name,
                space=SearchSpace({dimension: LogUniform(*interval) for dimension, interval in intervals.items()}),
                # The lower ends are rounded further than the upper ones: 0.02 for an eighth of 0.2.
                centres={dimension: interval[1] / HIGH_FACTOR for dimension, interval in intervals.items()},
            )
    return spaces


def space_names() -> tuple[str, ...]:
    """Names that :func:`named_space` takes."""
    return tuple(named_spaces())


def named_space(name: str) -> SearchSpace:
    """A space that is built in, e.g. ``paper/vit/adamw``: learning rate and weight decay of a family with an optimizer.

    Args:
        name: One of :func:`space_names`. Learning rates are for :data:`PAPER_BATCH_SIZE` images per step.

    Raises:
        SpaceError: If no space has this name, with the closest match.

    Source: arXiv:2106.14881v3, Table 4.
    """
    if name not in space_names():
        close = get_close_matches(str(name), space_names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise SpaceError(f"no space is called {shown(name)}; {hint}known are {', '.join(space_names())}")
    return named_spaces()[name].space


def family_of(model: str) -> str | None:
    """The family that a model shares its interval with in the paper: ``vit``, ``regnety`` or None.

    Args:
        model: A built-in model's name; the paper's architectures made small (``vit_c_micro``) are of the family.

    Source: arXiv:2106.14881v3, Table 4: one interval for ViT_P and ViT_C of all sizes, one for RegNetY.
    """
    return next((family for family, pattern in _FAMILIES.items() if pattern.fullmatch(model)), None)


def paper_centre(model: str, optimizer: str, epochs: int) -> dict[str, float] | None:
    """The paper's own setting of a model, learning rate (for :data:`PAPER_BATCH_SIZE` images per step) and weight decay.

    Args:
        model: A built-in model's name.
        optimizer: ``adamw`` or ``sgd``.
        epochs: Length of the training. From 400 on the settings of the final comparison where there is one: AdamW for
            ViT, SGD for RegNetY and ResNet. Otherwise, and below, what was best at 50 epochs.

    Returns:
        ``{"lr": ..., "weight_decay": ...}``, or None where the paper gives none: other models and sizes, other
        optimizers, the 36GF models below 400 epochs.

    Source: arXiv:2106.14881v3, section 6 and Table 4.
    """
    best = _paper()["best_at_50_epochs"].get("regnety" if family_of(model) == "regnety" else model, {})
    peak = _paper()["peak_400_epochs"].get(_peak_row(model), {}) if epochs >= _PEAK_EPOCHS else {}
    setting = peak.get(optimizer) or best.get(optimizer)
    return None if setting is None else dict(zip(("lr", "weight_decay"), setting, strict=True))


def _peak_row(model: str) -> str:
    vit = _PAPER_VIT.fullmatch(model)
    if vit:
        return "vit_36gf" if vit[1] == "36" else "vit"
    return "cnn" if _PAPER_CNN.fullmatch(model) else ""
