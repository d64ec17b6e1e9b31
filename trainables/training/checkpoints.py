"""Reading the checkpoint of a pack, whatever trains it. Imports no torch."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from trainables.text import one_line


def read_checkpoint(
    state: Any, *, version: int, asked: Mapping[str, Any], keys: Collection[str], load: Callable[[dict[str, Any]], None]
) -> None:
    """Has ``load`` take up a checkpoint, if it is one of this pack.

    Args:
        state: What was read; anything.
        version: The format that ``load`` reads.
        asked: What the pack was asked for, by name: plain values.
        keys: Of the pack's members; the checkpoint may hold more.
        load: Called with the checkpoint.

    Raises:
        ValueError: If it is of another format or another study's pack, lacks a member, or is damaged, and what ``load`` raises.
    """
    if not isinstance(state, dict) or state.get("format") != version:
        raise ValueError(f"the checkpoint is not of format {version}; delete it to start these trials anew")
    try:
        _require_asked(state["asked"], asked)
        for key in keys:
            if key not in state["members"]:
                raise ValueError(f"the checkpoint has no member {key!r}; train it in a pack of its own")
        load(state)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the checkpoint is damaged ({one_line(error)}); delete it to start these trials anew"
        ) from error


def _require_asked(found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    for name, value in asked.items():
        if found.get(name) != value:
            raise ValueError(
                f"the checkpoint was made with {name} = {found.get(name)!r}, the study asks for {value!r}; "
                "give the study another name, or restore what it was"
            )
