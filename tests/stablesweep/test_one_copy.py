"""A clone that Python finds before the installed packages, as the working directory of a Ray job is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEIGHBOURS = ("search_spaces", "trainables", "dashboards")
CODE = """
import pickle, stablesweep, stablesweep.study, search_spaces
assert pickle.loads(pickle.dumps(stablesweep.Study)) is stablesweep.study.Study
print(stablesweep.__file__, stablesweep.study.__file__, search_spaces.__file__, sep="\\n")
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    for package in (*NEIGHBOURS, "platform/stablesweep"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def call(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python as a worker of a Ray job runs it: the clone first, then what is installed."""
    path = os.pathsep.join(map(str, (clone, ROOT / "platform", ROOT)))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=clone.parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_all_packages_are_those_of_the_clone(clone: Path) -> None:
    files = call(clone, "-c", CODE).stdout.split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(clone) for file in files)


def test_the_command_and_spawned_processes_are_those_of_the_clone(clone: Path) -> None:
    with (clone / "platform/stablesweep/__init__.py").open("a") as file:
        file.write('\n__version__ = "0.1.0+clone"\n')
    assert call(clone, "-m", "stablesweep", "--version").stdout.split()[-1] == "0.1.0+clone"
    script = clone.parent / "script.py"
    script.write_text(
        "import multiprocessing, stablesweep\n\n"
        "def version(_):\n    return stablesweep.__version__\n\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n        print(pool.map(version, [0]))\n"
    )
    assert call(clone, str(script)).stdout.strip() == "['0.1.0+clone']"


def test_half_a_clone_is_refused(clone: Path) -> None:
    shutil.rmtree(clone / "dashboards")
    child = call(clone, "-c", "import stablesweep")
    assert child.returncode != 0
    assert "needs its own package 'search_spaces'" in child.stderr.strip().splitlines()[-1]
