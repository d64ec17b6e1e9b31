"""The machine in words."""

import importlib.metadata
import sys

import numpy as np
import psutil
import pytest
from hardware import machine


def test_a_machine_is_its_cores_memory_and_versions() -> None:
    words = machine("numpy")
    version = ".".join(str(part) for part in sys.version_info[:3])
    assert words.startswith(f"{psutil.cpu_count()} cores (")
    assert words.endswith(
        f"), {psutil.virtual_memory().total / 2**30:.0f} GiB, Python {version}, numpy {np.__version__}"
    )
    assert machine() == words.removesuffix(f", numpy {np.__version__}")


def test_a_package_that_is_not_there_is_an_error() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        machine("no-such-package")
