"""The MLflow experiment of a study: finding it, making it, and refusing another study's."""

import contextlib
import fcntl
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards import tags
from dashboards.formats import without_password
from dashboards.tracking.connection import connect
from stablesweep.errors import LedgerError, TrackingError
from stablesweep.ledger import check_extension, read_ledger, to_table
from stablesweep.study import Study
from stablesweep.trials import Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

EXPERIMENT_KIND = "mlflow.experimentKind"
"""MLflow's own: without it, its pages may take an experiment for one of prompts and traces."""


def open_client(uri: str) -> "MlflowClient":
    """A client of the tracking store; an SQLite file that does not exist is made."""
    # Reading refuses an SQLite file that does not exist; writing makes it.
    if not uri.startswith("sqlite"):
        return connect(uri)
    from mlflow import MlflowClient

    return MlflowClient(uri)


@contextlib.contextmanager
def alone_at_first(uri: str) -> Iterator[None]:
    """Let one process at a time into the block where the store is an SQLite file: two that make MLflow's tables at once fail.

    A file that is not there is made before the block, whole or not at all: MLflow cannot use one whose tables are half made.
    """
    path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    if not uri.startswith("sqlite:///") or not path.parent.is_dir():
        yield
        return
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists():
            _make_store(path)
        yield


def _make_store(path: Path) -> None:
    """Make an SQLite file with MLflow's tables, which takes seconds, under another name first."""
    from mlflow import MlflowClient

    new = path.with_name(f"{path.name}.new")
    # An earlier process may have been killed here.
    for left in (new, new.with_name(f"{new.name}-journal")):
        left.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
    new.replace(path)


def experiment_of(client: "MlflowClient", study: Study, artifact_root: Path | None) -> str:
    """The id of the study's experiment, which is made if it is not there.

    Raises:
        TrackingError: If it was deleted, or is MLflow's own.
    """
    found = client.get_experiment_by_name(study.name)
    if found is None:
        return _create(client, study, artifact_root)
    check_usable(found)
    return str(found.experiment_id)


def check_usable(found: "Experiment") -> None:
    """Nothing, if a study can be recorded in this experiment.

    Raises:
        TrackingError: If it was deleted, or is MLflow's own.
    """
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"the MLflow experiment {found.name!r} was deleted; restore it there, or give the study another name."
        )
    if str(found.experiment_id) == "0":
        raise TrackingError(f"{found.name!r} is MLflow's own default experiment; give the study another name.")


def _create(client: "MlflowClient", study: Study, artifact_root: Path | None) -> str:
    from mlflow.exceptions import MlflowException

    location = None if artifact_root is None else str(artifact_root / study.name)
    note = {tags.NOTE: study.description} if study.description else {}
    kind = {EXPERIMENT_KIND: "custom_model_development"}
    try:
        return str(client.create_experiment(study.name, artifact_location=location, tags=kind | note))
    except MlflowException:
        # Another process may have made it just now; which of the two goes on, their claims decide.
        found = client.get_experiment_by_name(study.name)
        if found is None:
            raise
        return str(found.experiment_id)


def check_same_study(
    client: "MlflowClient", uri: str, study_run: str, study: Study, trials: Sequence[Trial], *, known: bool
) -> None:
    """Refuse to write into an experiment that another study of this name made, in another home, say.

    Args:
        client: Of the tracking store.
        uri: The store's.
        study_run: The study's run there.
        study: The study.
        trials: Its ledger's rows.
        known: Whether the home's record says that this is the study's own run.

    Raises:
        LedgerError: If the ledger there is not one that this study's ledger continues.
        TrackingError: If it is damaged, and this home has never published there.
    """
    if tags.LEDGER_ARTIFACT not in {item.path for item in client.list_artifacts(study_run)}:
        return
    where = f"{tags.LEDGER_ARTIFACT} of the MLflow experiment {study.name!r} at {without_password(uri)}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(client.download_artifacts(study_run, tags.LEDGER_ARTIFACT, folder))
        try:
            theirs = read_ledger(file)
        except LedgerError as error:
            if known:
                # It is about to be written again.
                return
            raise TrackingError(
                f"{where} is damaged; give the study another name, or delete that experiment."
            ) from error
    check_extension(where, theirs, to_table(study, list(trials)))
