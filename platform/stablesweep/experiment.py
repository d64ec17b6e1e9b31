"""The MLflow experiment of a study: finding it, making it, and refusing another study's."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards import tags
from dashboards.formats import without_password
from dashboards.tracking.connection import connect
from stablesweep.errors import TrackingError
from stablesweep.ledger import check_extension, read_ledger, to_table
from stablesweep.study import Study
from stablesweep.trials import Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_KIND = "mlflow.experimentKind"
"""MLflow's own: without it, its pages may take an experiment for one of prompts and traces."""


def open_client(uri: str) -> "MlflowClient":
    """A client of the tracking store; an SQLite file that does not exist is made."""
    # Reading refuses an SQLite file that does not exist; writing makes it.
    if not uri.startswith("sqlite"):
        return connect(uri)
    from mlflow import MlflowClient

    return MlflowClient(uri)


def experiment_of(client: "MlflowClient", study: Study, artifact_root: Path | None) -> str:
    """The id of the study's experiment, which is made if it is not there.

    Raises:
        TrackingError: If it was deleted, or is MLflow's own.
    """
    found = client.get_experiment_by_name(study.name)
    if found is None:
        return _create(client, study, artifact_root)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"the MLflow experiment {study.name!r} was deleted; restore it there, or give the study another name."
        )
    if str(found.experiment_id) == "0":
        raise TrackingError(f"{study.name!r} is MLflow's own default experiment; give the study another name.")
    return str(found.experiment_id)


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


def check_same_study(client: "MlflowClient", uri: str, study_run: str, study: Study, trials: Sequence[Trial]) -> None:
    """Refuse to write into an experiment that another study of this name made, in another home, say.

    Raises:
        LedgerError: If the ledger there is not one that this study's ledger continues.
    """
    if tags.LEDGER_ARTIFACT not in {item.path for item in client.list_artifacts(study_run)}:
        return
    with tempfile.TemporaryDirectory() as folder:
        theirs = read_ledger(Path(client.download_artifacts(study_run, tags.LEDGER_ARTIFACT, folder)))
    where = f"{tags.LEDGER_ARTIFACT} of the MLflow experiment {study.name!r} at {without_password(uri)}"
    check_extension(where, theirs, to_table(study, list(trials)))
