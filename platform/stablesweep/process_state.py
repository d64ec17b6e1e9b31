"""What training may change in a process for whatever trains in it next: set back, so that results do not depend on what came before."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch

_FLAGS: tuple[tuple[Any, str], ...] = (
    (torch.backends.cudnn, "enabled"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.mkldnn, "enabled"),
)


@contextmanager
def left_as_found() -> Iterator[None]:
    """Set back, after the block, what it may have changed for all that follows in this process.

    That is torch's default dtype, grad mode, number of threads, determinism and the flags of its backends; the global generators of
    torch, numpy and Python; and the working directory. Modules and the environment's variables stay as they are: what is
    imported sets some, and is imported once.
    """
    with ExitStack() as after:
        _keep_torch(after)
        _keep_generators(after)
        _keep_folder(after)
        yield


def _keep_torch(after: ExitStack) -> None:
    after.callback(torch.set_default_dtype, torch.get_default_dtype())
    after.callback(torch.set_grad_enabled, torch.is_grad_enabled())
    after.callback(torch.set_num_threads, torch.get_num_threads())
    after.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
    for backend, name in _FLAGS:
        # Since torch 2.9 the old names of the precisions cannot be read where somebody has set the new ones.
        with suppress(RuntimeError):
            after.callback(setattr, backend, name, getattr(backend, name))
    with suppress(RuntimeError):
        after.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())


def _keep_folder(after: ExitStack) -> None:
    # It may have been removed, before or meanwhile.
    with suppress(OSError):
        after.callback(_change_to, os.getcwd())


def _change_to(folder: str) -> None:
    with suppress(OSError):
        os.chdir(folder)


def _keep_generators(after: ExitStack) -> None:
    after.callback(random.setstate, random.getstate())
    after.callback(np.random.set_state, np.random.get_state())
    after.callback(torch.set_rng_state, torch.get_rng_state())
    # Else to ask for it would take memory of a GPU for a worker that uses none.
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        after.callback(torch.cuda.set_rng_state, torch.cuda.get_rng_state())
