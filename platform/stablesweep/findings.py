"""What a check found, and what to do about it."""

from dataclasses import dataclass

from stablesweep.errors import short

JSON_PREFIX = "STABLESWEEP-DOCTOR "
"""Begins the line with all findings as JSON that ``stablesweep doctor --json`` prints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    """What was looked at, in a word or three."""
    ok: bool | None
    """False: a study cannot run so. None: it can, but less well, or nothing was looked at."""
    found: str
    """What is there."""
    way_out: str = ""
    """What to do; never empty where ``ok`` is False."""


def from_error(name: str, error: Exception, way_out: str) -> Finding:
    """An error's sentence as a finding: what follows its last semicolon is its way out.

    Args:
        name: What was looked at.
        error: What was raised.
        way_out: For a sentence that names none.
    """
    sentence = short(error, None)
    found, semicolon, rest = sentence.rpartition("; ")
    return Finding(
        name=name,
        ok=False,
        found=found if semicolon else sentence,
        way_out=rest if semicolon else way_out,
    )
