"""How to get a damaged ledger back: the study's run in MLflow has it as an artifact."""

import contextlib
import shlex
import sqlite3
from pathlib import Path

from dashboards.formats import without_password
from dashboards.tags import LEDGER_ARTIFACT
from stablesweep.home import TRACKING_VARIABLE, Home, StudyFolder


def restoring(ledger: Path) -> str:
    """What to do about a damaged ledger: the command that restores it, where the record beside it knows the study's run."""
    folder = StudyFolder(ledger.absolute().parent)
    run_id = _study_run(folder.record)
    if run_id is None:
        return f"restore it from the artifact {LEDGER_ARTIFACT} of the study's run in MLflow"
    command = ["mlflow", "artifacts", "download", "--run-id", run_id]
    command += ["--artifact-path", LEDGER_ARTIFACT, "--dst-path", str(folder.path)]
    return f"restore it with `{_tracking(Home(folder.path.parent.parent))}{shlex.join(command)}`"


def _tracking(home: Home) -> str:
    """What the command needs to find the tracking store; a password is left to the shell's environment."""
    uri = home.tracking_uri
    return f"{TRACKING_VARIABLE}={shlex.quote(uri)} " if without_password(uri) == uri else ""


def _study_run(record: Path) -> str | None:
    """The study's run in MLflow as the record has it; None if there is no such record, or it is damaged too."""
    try:
        # Read only: asking must not make the file.
        with contextlib.closing(sqlite3.connect(f"{record.as_uri()}?mode=ro", uri=True)) as file:
            row = file.execute("SELECT study_run FROM target").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])
