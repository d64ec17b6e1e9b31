"""What one pack changes in its process is set back for the next."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stablesweep.process_state import left_as_found

CHANGES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "grad mode": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(torch.get_num_threads() + 1)),
    "determinism": (torch.are_deterministic_algorithms_enabled, lambda: torch.use_deterministic_algorithms(True)),
    "precision": (torch.get_float32_matmul_precision, lambda: torch.set_float32_matmul_precision("medium")),
    "cudnn": (lambda: torch.backends.cudnn.benchmark, lambda: setattr(torch.backends.cudnn, "benchmark", True)),
    "torch's generator": (lambda: torch.get_rng_state().tolist(), lambda: torch.rand(3)),
    "numpy's generator": (lambda: str(np.random.get_state()), lambda: np.random.seed(3)),
    "Python's generator": (random.getstate, random.random),
    "folder": (os.getcwd, lambda: os.chdir("/")),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("fails", [False, True])
def test_it_is_as_it_was(what: str, fails: bool) -> None:
    look, change = CHANGES[what]
    before = look()

    def pack() -> None:
        with left_as_found():
            change()
            assert look() != before
            if fails:
                raise KeyError

    if fails:
        with pytest.raises(KeyError):
            pack()
    else:
        pack()
    assert look() == before


def test_a_folder_that_is_gone_does_not_hide_what_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(PermissionError), left_as_found():
        raise PermissionError


@pytest.mark.parametrize("before", ["the pack", "in the pack"])
def test_precisions_set_by_their_new_names(before: str) -> None:
    """In a process of its own: from then on torch refuses to say what the old names mean."""
    change = "torch.backends.cuda.matmul.fp32_precision = 'tf32'"
    around = f"""
import torch
from stablesweep.process_state import left_as_found
{change if before == "the pack" else ""}
with left_as_found():
    {change}
    torch.set_default_dtype(torch.float64)
assert torch.get_default_dtype() == torch.float32
"""
    subprocess.run([sys.executable, "-c", around], check=True)


def test_a_worker_without_a_gpu_does_not_begin_to_use_one() -> None:
    """In a process of its own: another test may have begun to use a GPU in this one."""
    around = """
import torch
from stablesweep.process_state import left_as_found
torch.cuda.is_available = lambda: True
with left_as_found():
    pass
assert not torch.cuda.is_initialized()
"""
    subprocess.run([sys.executable, "-c", around], check=True)
