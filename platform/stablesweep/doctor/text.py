"""Findings as lines for people, and as one line for programs."""

import dataclasses
import json
from collections.abc import Iterator, Sequence

from stablesweep.findings import JSON_PREFIX, Finding

MARKS = {True: "ok", None: "--", False: "FAIL"}
NAME_WIDTH = 17


def finding_lines(finding: Finding) -> Iterator[str]:
    """The finding, and below it the way out where there is one."""
    mark = MARKS[finding.ok]
    yield f"{mark:<4}  {finding.name:<{NAME_WIDTH}}  {finding.found}".rstrip()
    if finding.way_out:
        yield f"{'':<4}  {'':<{NAME_WIDTH}}  {finding.way_out}"


def closing_sentence(findings: Sequence[Finding], command: str) -> str:
    """What follows from all findings.

    Args:
        findings: All of them.
        command: What can be run if none is bad.
    """
    faults = sum(finding.ok is False for finding in findings)
    if not faults:
        return f"Nothing stands in the way of `{command}`."
    which = "One check failed" if faults == 1 else f"{faults} of {len(findings)} checks failed"
    return f"{which}; do what is said below FAIL, and look again."


def json_line(findings: Sequence[Finding]) -> str:
    """All findings in one line that begins with :data:`stablesweep.findings.JSON_PREFIX`."""
    return f"{JSON_PREFIX}{json.dumps([dataclasses.asdict(finding) for finding in findings])}"
