"""Where results go: the tracking server, and the storage of checkpoints."""

import contextlib
import os
import sqlite3
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.formats import without_password
from stablesweep.checkpoints import shown
from stablesweep.errors import StablesweepError, TrackingError
from stablesweep.experiment import check_usable
from stablesweep.findings import Finding, from_error
from stablesweep.home import Home
from stablesweep.probe import probe_file, unseen
from stablesweep.study import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "tracking server"
OTHERWISE = "set MLFLOW_TRACKING_URI to one that answers, or unset it to record in the home"
PATIENCE_S = 5


def tracking(home: Home, study: Study | None) -> Finding:
    """Whether MLflow answers and would take the study; writes nothing there.

    Args:
        home: Where MLflow's file is, if no server is set.
        study: The study, whose experiment is looked for; None: none is.
    """
    uri, name = home.tracking_uri, without_password(home.tracking_uri)
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        return _file_to_make(file, home)
    if file is not None and (reason := _refuses_writing(file)):
        way_out = "make it writable, or wait for who writes there"
        return Finding(name=NAME, ok=False, found=f"{name} cannot be written ({reason})", way_out=way_out)
    from dashboards.tracking.connection import TrackingUnreachable, connect, quiet_mlflow

    try:
        with quiet_mlflow():
            client = connect(uri)
            if study is not None:
                _check_experiment(client, study)
    except (TrackingUnreachable, TrackingError) as error:
        return from_error(NAME, error, OTHERWISE)
    version = _server_version(uri)
    return Finding(name=NAME, ok=True, found=f"{name} answers" + (f", MLflow {version}" if version else ""))


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite tracking URI; None for any other."""
    scheme, _, rest = uri.partition(":///")
    path = rest.partition("?")[0]
    return Path(path) if scheme.partition("+")[0] == "sqlite" and path else None


def _file_to_make(file: Path, home: Home) -> Finding:
    # The home is made for it, no other folder is.
    if file.parent == home.path or os.access(file.parent, os.W_OK):
        return Finding(name=NAME, ok=True, found=f"{file} will be made")
    found = f"{file} cannot be made: {file.parent} {'cannot be written' if file.parent.exists() else 'is not there'}"
    return Finding(name=NAME, ok=False, found=found, way_out=f"make that folder, or {OTHERWISE}")


def _refuses_writing(file: Path) -> str:
    """Why an SQLite file cannot be written; empty if it can. A transaction is begun and taken back."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=PATIENCE_S)
        ) as base:
            base.execute("BEGIN IMMEDIATE")
            base.rollback()
    except sqlite3.Error as error:
        return str(error)
    return ""


def _check_experiment(client: "MlflowClient", study: Study) -> None:
    found = client.get_experiment_by_name(study.name)
    if found is not None:
        check_usable(found)


def _server_version(uri: str) -> str:
    """What a server says of itself; empty if it says nothing, e.g. to somebody without a password."""
    if not uri.startswith("http"):
        return ""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/version", timeout=PATIENCE_S) as answer:
            return str(answer.read(40).decode(errors="replace")).strip()
    except (OSError, ValueError):
        return ""


def storage_finding(storage: str) -> Finding:
    """Whether a file can be written to the storage and seen there; it is removed again.

    Args:
        storage: The folder for checkpoints: a path or a URI.
    """
    try:
        with probe_file(storage) as file:
            reason = unseen(file)
    except StablesweepError as error:
        return from_error("storage", error, "choose another --storage")
    if reason:
        found = f"{shown(storage)}: what was written there is not seen ({reason})"
        return Finding(name="storage", ok=False, found=found, way_out="choose another --storage")
    return Finding(name="storage", ok=True, found=f"{shown(storage)}: writable")
