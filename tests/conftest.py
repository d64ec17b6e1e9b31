"""What all tests have in common: none is led to the user's own server, home, storage or Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes depends on what else the machine does. The default keeps what hypothesis sets in CI.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Of the whole session: fixtures that serve many tests train and publish before any fixture of a single test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "STABLESWEEP_HOME", "STABLESWEEP_STORAGE", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables, to be copied: making them takes seconds."""
    from mlflow import MlflowClient

    from dashboards import quiet_mlflow

    path = tmp_path_factory.mktemp("empty_mlflow") / "empty.db"
    with quiet_mlflow():
        MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path
