"""From plain values, as a study file has them, to distributions; the kinds by name, built in and the user's own."""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from search_spaces.conditions import Conditional
from search_spaces.distributions import (
    Choice,
    Constant,
    Distribution,
    IntUniform,
    LogIntUniform,
    LogUniform,
    Uniform,
    around,
)
from search_spaces.values import SpaceError, is_plain, shown

_KIND = re.compile(r"[a-z][a-z0-9_]*")
_STEP, _WHEN = "step", "when"

Parser = Callable[[Any], Distribution]

_STEPPED: dict[str, Callable[..., Distribution]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "int_uniform": IntUniform,
    "log_int_uniform": LogIntUniform,
}


def _parse_around(arguments: object) -> Distribution:
    if not isinstance(arguments, Mapping):
        return around(arguments)  # type: ignore[arg-type]  # around checks it
    if "centre" not in arguments or not set(arguments) <= {"centre", "low", "high"}:
        raise SpaceError(f"around: give a number, or centre and if need be low and high, got {shown(dict(arguments))}")
    return around(**arguments)


PARSERS: dict[str, Parser] = {"choice": Choice, "constant": Constant, "around": _parse_around}
"""The kinds that take no step; :func:`register_distribution` adds the user's."""


def register_distribution(kind: str, parse: Parser) -> None:
    """Make a kind of the user's known to study files: ``{kind: arguments}``.

    Args:
        kind: Lower-case letters, digits and ``_``; must be new.
        parse: Called with the arguments as YAML gives them; returns the distribution or raises ``ValueError`` or
            ``TypeError`` with a sentence that says what to change.

    Raises:
        SpaceError: If the kind is taken or malformed, or ``parse`` cannot be called.
    """
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise SpaceError(
            f"distribution {shown(kind)}: use lower-case letters, digits and _ only, starting with a letter"
        )
    if kind in (*distribution_kinds(), _STEP, _WHEN):
        raise SpaceError(f"distribution {kind!r} is known already; choose another name")
    if not callable(parse):
        raise SpaceError(f"distribution {kind!r}: parse must be callable, got {type(parse).__name__}")
    PARSERS[kind] = parse


def distribution_kinds() -> tuple[str, ...]:
    """The kinds that :func:`parse_distribution` reads."""
    return (*_STEPPED, *PARSERS)


def is_distribution(config: object) -> bool:
    """Whether a value of a study file is one dimension, and not several by name.

    That is a plain value, a distribution, or a mapping that names a kind.
    """
    if isinstance(config, Mapping):
        return any(kind in config for kind in distribution_kinds())
    return is_plain(config) or isinstance(config, Distribution)


def parse_distribution(config: object) -> Distribution:
    """The distribution that a study file writes, e.g. ``{"log_uniform": [1e-4, 1e-2]}``.

    Args:
        config: A mapping of one of :func:`distribution_kinds` to its arguments, if need be with ``step`` and ``when``; a
            number, a text or a truth value, which is a :class:`Constant`; or a distribution, which is returned as it is.

    Raises:
        SpaceError: If it is anything else, or its arguments make no distribution.
    """
    if isinstance(config, type):
        raise SpaceError(f"{config.__name__} is a class; give its arguments, e.g. {config.__name__}(...)")
    if isinstance(config, Mapping):
        return _parse_mapping(config)
    if isinstance(config, Distribution):
        return config
    if not is_plain(config):
        raise SpaceError(
            f"write a value or one of {', '.join(distribution_kinds())} with its arguments, e.g. {{around: 0.001}}, "
            f"got {shown(config)}"
        )
    if isinstance(config, str):
        _check_no_number(config)
    return Constant(config)


def _check_no_number(text: str) -> None:
    # YAML 1.1 reads 1e-3 as a text, because it has no point.
    try:
        float(text)
    except ValueError:
        return
    raise SpaceError(
        f"{shown(text)} is a text; write a number without quotes and with a point (1.0e-3), a text as {{constant: {shown(text)}}}"
    )


def _parse_mapping(config: Mapping[Any, object]) -> Distribution:
    kinds = [key for key in config if key not in (_STEP, _WHEN)]
    if len(kinds) != 1:
        raise SpaceError(
            f"write one of {', '.join(distribution_kinds())} with its arguments, e.g. {{around: 0.001}}, "
            f"got {shown(dict(config))}"
        )
    distribution = _parse_kind(kinds[0], config)
    return distribution if _WHEN not in config else _conditional(distribution, config[_WHEN])


def _conditional(distribution: Distribution, when: object) -> Conditional:
    if not isinstance(when, Mapping) or not all(isinstance(name, str) for name in when):
        raise SpaceError(f"when: give dimensions and their values, e.g. when: {{solver: sgd}}, got {shown(when)}")
    return Conditional(distribution, **when)


def _parse_kind(kind: object, config: Mapping[Any, object]) -> Distribution:
    if kind in _STEPPED:
        step = {_STEP: config[_STEP]} if _STEP in config else {}
        return _STEPPED[kind](*_interval(kind, config[kind]), **step)
    if kind not in PARSERS:
        close = get_close_matches(str(kind), distribution_kinds(), n=1) if isinstance(kind, str) else []
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise SpaceError(f"{shown(kind)} is not a distribution; {hint}known are {', '.join(distribution_kinds())}")
    if _STEP in config:
        raise SpaceError(f"step: {kind} takes none; it belongs to {', '.join(_STEPPED)}")
    return _parse_own(str(kind), config[kind])


def _parse_own(kind: str, arguments: object) -> Distribution:
    try:
        distribution = PARSERS[kind](arguments)
    except SpaceError:
        raise
    except (ValueError, TypeError) as error:
        raise SpaceError(f"{kind}: {error}") from error
    if not isinstance(distribution, Distribution):
        raise SpaceError(
            f"{kind}: its parse function must return a distribution with from_unit and to_config, got {shown(distribution)}"
        )
    return distribution


def _interval(kind: str, arguments: object) -> tuple[Any, Any]:
    if not isinstance(arguments, Sequence) or isinstance(arguments, str) or len(arguments) != 2:
        raise SpaceError(f"{kind}: give [low, high], got {shown(arguments)}")
    return arguments[0], arguments[1]
