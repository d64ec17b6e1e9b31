"""Real studies on a real Ray, each trained once and looked at by many tests.

Every Ray Train run starts some six processes that import torch, which takes 10 to 20 s on 2 cores: that is what makes
the tests marked ``cluster`` slow.
"""

from collections.abc import Iterator

import pytest

from stablesweep.ray_session import ray_session
from tests.support import Ran, run_here, small_study


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "STABLESWEEP_HOME", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    # What a test registers is gone after it.
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
