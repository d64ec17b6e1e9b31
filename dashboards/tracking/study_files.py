"""The files of the study run: the ledger, the study file, the timing."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from dashboards import tags
from dashboards.cautions import warn_caller
from dashboards.errors import StudyUnreadable
from dashboards.sealed import read_sealed

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StudyFiles:
    """What the artifacts of the study run say."""

    ledger: pa.Table
    """By key."""
    study_yaml: str
    """Empty if it was not recorded."""
    timing: dict[str, float]
    """Seconds by activity."""


def read_study_files(client: "MlflowClient", run_id: str, study: str, folder: Path) -> StudyFiles:
    """Downloads them into ``folder``.

    Raises:
        StudyUnreadable: If the ledger is missing or damaged.
    """
    artifacts = _Artifacts(client, run_id, folder, {item.path for item in client.list_artifacts(run_id)})
    return StudyFiles(
        ledger=_read_ledger(artifacts, study),
        study_yaml=artifacts.text(tags.STUDY_ARTIFACT) or "",
        timing=_read_timing(artifacts, study),
    )


@dataclass(frozen=True, slots=True)
class _Artifacts:
    client: "MlflowClient"
    run_id: str
    folder: Path
    names: set[str]

    def path(self, name: str) -> Path | None:
        """Where the file is now on this machine; ``None`` if the run has none of this name."""
        if name not in self.names:
            return None
        return Path(self.client.download_artifacts(self.run_id, name, str(self.folder)))

    def text(self, name: str) -> str | None:
        path = self.path(name)
        return None if path is None else path.read_text(encoding="utf-8")


def _read_ledger(artifacts: _Artifacts, study: str) -> pa.Table:
    path = artifacts.path(tags.LEDGER_ARTIFACT)
    if path is None:
        raise StudyUnreadable(
            f"Study {study!r}: its MLflow run {artifacts.run_id} has no {tags.LEDGER_ARTIFACT}; "
            "run the study again to record it."
        )
    try:
        return read_sealed(path).sort_by("key").combine_chunks()
    except pa.ArrowException as error:
        raise StudyUnreadable(
            f"Study {study!r}: {tags.LEDGER_ARTIFACT} of MLflow run {artifacts.run_id} is damaged "
            f"({str(error).splitlines()[0]}); run the study again to record it."
        ) from error


def _read_timing(artifacts: _Artifacts, study: str) -> dict[str, float]:
    text = artifacts.text(tags.TIMING_ARTIFACT)
    if text is None:
        return {}
    try:
        return {str(name): float(seconds) for name, seconds in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        warn_caller(f"Study {study!r}: {tags.TIMING_ARTIFACT} is no JSON object of seconds; left out.")
        return {}
