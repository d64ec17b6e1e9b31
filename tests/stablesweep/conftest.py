"""Real studies on a real Ray, each trained once and looked at by many tests.

Every Ray Train run starts some six processes that import torch, which takes 10 to 20 s on 2 cores: that is what makes
the tests marked ``cluster`` slow.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stablesweep.home import Home
from stablesweep.ray_session import ray_session
from tests.finished_study import published
from tests.mlflow_server import Server
from tests.stablesweep.claim_store import Store
from tests.support import Ran, run_here, small_study


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    for table in ("models", "datasets", "optimizers", "trainables"):
        monkeypatch.setattr(f"trainables.registry._user_{table}", {})


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """One Ray for all tests that run studies in this process."""
    with ray_session():
        yield


@pytest.fixture(scope="session")
def small(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The small study, run once."""
    return run_here(small_study(), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a finished study that was not trained, only published into its own MLflow."""
    return published(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One MLflow server for all tests of this process that want one; it takes seconds to start."""
    server = Server(tmp_path_factory.mktemp("mlflow_server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def store(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store in which nobody has claimed the study."""
    monkeypatch.setattr("stablesweep.claims.SETTLE_S", 0.1)
    made = Store(tmp_path, f"sqlite:///{shutil.copy(empty_mlflow, tmp_path / 'mlflow.db')}")
    yield made
    made.record.close()
