"""One undisturbed run that all faults are compared with, and a fresh study for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import FaultyStudy, Results


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the study gives when nothing happens to it."""
    study = FaultyStudy(tmp_path_factory.mktemp("reference"))
    try:
        study.run()
        return study.exported()
    finally:
        study.end_all()


@pytest.fixture
def study(tmp_path: Path) -> Iterator[FaultyStudy]:
    """The study, of which nothing has run yet; what is left of it is killed in the end."""
    faulty = FaultyStudy(tmp_path / "study")
    yield faulty
    faulty.end_all()
