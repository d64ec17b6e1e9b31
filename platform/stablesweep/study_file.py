"""Reading a study from YAML, with errors that name the file and the key."""

import difflib
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stablesweep.errors import StudyError
from stablesweep.imports import search_in
from stablesweep.study import Study

BUILT_IN = ("quickstart",)
MOST_DIGITS = 1_000
"""A number of more characters is none: even the largest float has 309 digits."""
MOST_MERGED = 1_000
"""Merges of merges (``<<``) grow tenfold with each line."""
LONGEST_WORD = 80
"""Of what stands in a file, in a message."""
LONGEST_MESSAGE = 1_200


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as people write it: ``1e-3`` is a number, and a key may stand once."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Fills in what a mapping merges; refuses one that grows too large."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_MERGED:
            raise yaml.constructor.ConstructorError(None, None, f"more than {MOST_MERGED} keys in one mapping")


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    if len(node.value) > MOST_DIGITS:
        raise yaml.constructor.ConstructorError(None, None, f"a number of {len(node.value)} characters")
    read: Any = loader.construct_yaml_int if node.tag.endswith(":int") else loader.construct_yaml_float
    number: int | float = read(node)
    return number


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen:
            line = key.start_mark.line + 1
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} stands twice (line {line})")
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def parse_yaml(text: str) -> Any:
    """The plain values in a YAML text. Raises yaml.YAMLError."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        # What PyYAML's constructors raise for a date that is none, a key that cannot be hashed, endless nesting ...
        raise yaml.YAMLError(f"a value cannot be read ({type(error).__name__}: {str(error)[:100]})") from error


def read_study_file(path: str | Path) -> tuple[str, dict[str, Any]]:
    """The plain values of a study file, or of a built-in study of that name.

    Returns:
        The name to use in messages, and the file's mapping.

    Raises:
        StudyError: If there is no such file, or it holds no YAML mapping.
    """
    source, text = _read_text(path)
    try:
        values = parse_yaml(text)
    except yaml.YAMLError as error:
        raise StudyError(f"{source}: not valid YAML: {_one_line(error)}.") from error
    if not isinstance(values, dict):
        raise StudyError(
            f"{source}: a study is a mapping of keys (name, arms, space, ...), got {type(values).__name__}."
        )
    return source, values


def _read_text(path: str | Path) -> tuple[str, str]:
    file = Path(path)
    if str(path) in BUILT_IN and not file.is_file():
        return f"built-in study {path}", resources.files("stablesweep.studies").joinpath(f"{path}.yaml").read_text()
    try:
        return str(path), file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StudyError(
            f"{path}: no such file; give a study file, or a built-in study: {', '.join(BUILT_IN)}."
        ) from error
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read as text: {_one_line(error)}.") from error


def apply_settings(values: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """``values`` with each ``a.b.c=value`` (the value in YAML) set.

    Raises:
        StudyError: If a setting is not of that form, or a part of its path is not a mapping.
    """
    for setting in settings:
        values = _without_shorthand(values)
        path, equals, text = setting.partition("=")
        if not equals or not all(path.split(".")):
            raise StudyError(f"--set {_one_line(setting)}: write key=value, e.g. --set pack.size=4.")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError as error:
            raise StudyError(f"--set {_one_line(setting)}: the value is not valid YAML: {_one_line(error)}.") from error
        values = _with_value(values, path.split("."), value, setting)
    return values


def _without_shorthand(values: dict[str, Any]) -> dict[str, Any]:
    """``dataset: digits`` and ``recipe: paper`` as the mappings that they stand for, so that a key in them can be set."""
    names = {"dataset": "name", "recipe": "base", "trainable": "name"}
    long = {key: {name: values[key]} for key, name in names.items() if isinstance(values.get(key), str)}
    return {**values, **long}


def _with_value(values: dict[str, Any], path: list[str], value: object, setting: str) -> dict[str, Any]:
    head, *rest = path
    if not rest:
        return {**values, head: value}
    inner = values.get(head, {})
    if not isinstance(inner, Mapping):
        why = f"{head!r} is not a mapping, so {'.'.join(rest)!r} cannot be set in it"
        raise StudyError(f"--set {_one_line(setting)}: {_one_line(why)}.")
    return {**values, head: _with_value(dict(inner), rest, value, setting)}


def load_study(path: str | Path, settings: Iterable[str] = ()) -> Study:
    """The study in a YAML file (or a built-in one), with settings applied.

    Args:
        path: A file, or the name of a built-in study.
        settings: Texts of the form ``pack.size=4`` that override the file.

    Raises:
        StudyError: If the file or a setting makes no study; one sentence with the file and the key.
    """
    source, values = read_study_file(path)
    if Path(path).is_file():
        search_in(Path(path).absolute().parent)
    search_in(Path.cwd())
    return make_study(apply_settings(values, settings), source)


def make_study(values: Mapping[str, Any], source: str) -> Study:
    """A validated study, or :class:`StudyError` in one sentence that begins with ``source`` and the key."""
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise StudyError(f"{source}: {_one_line(_explain(error))}.") from error


def _explain(error: ValidationError) -> str:
    # An unknown key often explains a missing one: say that first.
    first, *others = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    more = f" ({len(others)} more like this)" if others else ""
    return f"{_explain_one(first)}{more}"


def _explain_one(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ").rstrip(".")
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key{_suggestion(detail)}; remove or rename it"
    if detail["type"] == "missing":
        return f"{path}: this key is missing; add it"
    if detail["type"] == "string_pattern_mismatch":
        message = "use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 80"
    if not path or message.startswith(path):
        return message
    got = "" if detail["type"] == "value_error" else f", got {_short(detail['input'])}"
    return f"{path}: {message[0].lower()}{message[1:]}{got}"


def _suggestion(detail: ErrorDetails) -> str:
    known = _keys_at(detail["loc"][:-1])
    close = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known are {', '.join(known)})" if known else ""


def _keys_at(path: tuple[int | str, ...]) -> list[str]:
    model: Any = Study
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        model = _model_in(field.annotation) if field is not None else None
    return list(getattr(model, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    """The model in ``Model | None``, or the annotation itself."""
    return next((kind for kind in get_args(annotation) if hasattr(kind, "model_fields")), annotation)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _one_line(message: object) -> str:
    """A message as one printable line of bounded length, whatever a file had it repeat."""
    words = (f"{word[: LONGEST_WORD - 3]}..." if len(word) > LONGEST_WORD else word for word in str(message).split())
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in " ".join(words))
    return (text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 3]}...").rstrip(".")
