"""``stablesweep doctor`` as a small job, so that what is wrong on the cluster is said before a study starts there."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.terminal import text_table
from stablesweep.errors import StablesweepError
from stablesweep.findings import JSON_PREFIX, Finding
from stablesweep.node_view import node_versions
from stablesweep.submission.client import JobServer
from stablesweep.submission.follow import POLL_S, describe_end

LIMIT_S = 600.0
"""How long the checks may take; most of it is Ray's preparing the job's environment."""


class ChecksFailed(StablesweepError):
    """Something on the cluster is not as the study needs it; nothing was submitted."""


def check_cluster(
    server: JobServer, submission_id: str, entrypoint: str, runtime_env: Mapping[str, Any]
) -> list[Finding]:
    """Run the checks as a job and wait for what they find.

    Raises:
        ChecksFailed: If the job says nothing that can be read.
        JobServerError: If the server cannot be asked.
    """
    server.submit(submission_id, entrypoint, runtime_env, {})
    ended = False
    try:
        give_up = time.monotonic() + LIMIT_S
        while not (job := server.job(submission_id)).ended:
            if time.monotonic() > give_up:
                raise ChecksFailed(
                    f"the checks on the cluster did not end within {LIMIT_S:.0f} s (the job {submission_id} is "
                    f"{job.status}); see `ray job logs {submission_id}`, or submit with --no-check."
                )
            time.sleep(POLL_S)
        ended = True
    finally:
        if not ended:
            server.kill(submission_id)
    log = server.logs(submission_id)
    findings = parse_findings(log)
    if findings is None:
        raise ChecksFailed(_unreadable(describe_end(job), log))
    return findings


def parse_findings(log: str) -> list[Finding] | None:
    """The findings in a log of ``stablesweep doctor --json``; None if it holds none."""
    lines = [line.removeprefix(JSON_PREFIX) for line in log.splitlines() if line.startswith(JSON_PREFIX)]
    if not lines:
        return None
    try:
        return [_finding(entry) for entry in json.loads(lines[-1])]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _finding(entry: Mapping[str, Any]) -> Finding:
    ok = entry["ok"]
    return Finding(
        name=str(entry["name"]),
        ok=None if ok is None else bool(ok),
        found=str(entry.get("found") or ""),
        way_out=str(entry.get("way_out") or ""),
    )


def _unreadable(end: str, log: str) -> str:
    if "No module named" in log and "stablesweep" in log:
        return (
            "stablesweep is not installed on the cluster, or not for the `python` on the PATH with which its head was started; "
            "install it on all nodes, start Ray from that environment, or submit from a clone of it with --working-dir CLONE."
        )
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "nothing was printed")
    return f"the checks did not run on the cluster ({end} {last[:200]}); --no-check submits without them."


def render_findings(findings: Sequence[Finding], here: Mapping[str, str] | None = None) -> str:
    """A table of what was found, one line a check, and below it what could be better.

    Args:
        findings: What was found on the cluster.
        here: The versions on this machine, by the name of the check that finds the cluster's; by default this machine's own.
    """
    here = node_versions() if here is None else here
    rows = [[one.name, _word(one), here.get(one.name, ""), one.found] for one in findings]
    hints = [f"{one.name}: {one.way_out}" for one in findings if one.ok is None and one.way_out]
    return "\n".join([text_table(["check", "", "here", "on the cluster"], rows, left=4), *hints])


def _word(finding: Finding) -> str:
    if finding.ok is None:
        return "note" if finding.found else "not checked"
    return "ok" if finding.ok else "wrong"


def refuse_if_wrong(findings: Sequence[Finding], *, waits_for_nodes: bool = False) -> None:
    """Raises ChecksFailed, with the way out of each, if a finding is wrong that does not pass by itself."""
    wrong = [one for one in findings if one.ok is False and not (waits_for_nodes and one.name == "resources")]
    if wrong:
        told = "; ".join(f"{one.name}: {one.way_out or one.found}".rstrip(".") for one in wrong)
        raise ChecksFailed(f"nothing was submitted: {told}. --no-check submits all the same.")
