"""This machine: its folders, its memory, its GPUs, its browser."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stablesweep.findings import Finding
from stablesweep.home import Home

GB = 1e9
LEAST_FREE_GB = 1.0
"""With less, a study's first checkpoints may not fit."""
LITTLE_FREE_GB = 10.0
LITTLE_SHARED_GB = 1.0
WRITTEN = 2**20
"""Bytes that are written to see whether they can be."""
SHARED = Path("/dev/shm")


def folders(home: Home) -> Iterator[Finding]:
    """The home and the folder for temporary files: whether they can be written, and how much is free."""
    yield folder_finding("home", home.path, "choose another --home")
    yield folder_finding("temporary", Path(os.environ.get("TMPDIR") or "/tmp"), "set TMPDIR to another folder")


def folder_finding(name: str, folder: Path, otherwise: str) -> Finding:
    """Whether a folder can be written, or made, and what is free there; leaves nothing behind.

    Args:
        name: Of the finding.
        folder: The folder; it need not exist.
        otherwise: What to do if it cannot be used.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(WRITTEN))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(existing).free / GB
    except OSError as error:
        found = f"{folder}: cannot be written ({error.strerror or error})"
        return Finding(name=name, ok=False, found=found, way_out=f"free some space, make it writable, or {otherwise}")
    found = f"{folder}: {'writable' if existing == folder else 'will be made'}, {free:,.1f} GB free"
    if free < LEAST_FREE_GB:
        return Finding(name=name, ok=False, found=found, way_out=f"free some space, or {otherwise}")
    if free < LITTLE_FREE_GB:
        return Finding(name=name, ok=None, found=found, way_out=f"checkpoints of large models need more: {otherwise}")
    return Finding(name=name, ok=True, found=found)


def shared_memory(*, decodes: bool, folder: Path = SHARED) -> Finding:
    """The size of the memory that processes share.

    Args:
        decodes: Whether processes that decode images hand them over there.
        folder: Where it is mounted.
    """
    if not folder.is_dir():
        return Finding(name="shared memory", ok=None, found=f"there is no {folder}")
    size = shutil.disk_usage(folder).total / GB
    found = f"{folder}: {size:,.1f} GB"
    if size >= LITTLE_SHARED_GB:
        return Finding(name="shared memory", ok=True, found=found)
    way_out = "give a container more with --shm-size=8g" + (", or set pack.decode_workers to 0" if decodes else "")
    return Finding(name="shared memory", ok=False if decodes else None, found=found, way_out=way_out)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU."""

    model: str
    free_gb: float
    total_gb: float
    bfloat16: bool


def gpu() -> Finding:
    """The GPUs that torch can use; each does a small sum."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if not usable:
        said = " ".join(str(caught[0].message).split()[:30]) if caught else ""
        there = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
        built_for = torch.version.cuda or torch.version.hip
        return without_gpu(there=there, built_for=built_for, visible=os.environ.get("CUDA_VISIBLE_DEVICES"), said=said)
    try:
        found = [_one_gpu(number) for number in range(torch.cuda.device_count())]
    except RuntimeError as error:
        way_out = "see with nvidia-smi who uses it, or install a torch that was built for it"
        return Finding(
            name="gpu", ok=False, found=f"torch finds a GPU and cannot use it ({_short(error)})", way_out=way_out
        )
    return with_gpus(found)


def _one_gpu(number: int) -> Gpu:
    import torch

    # A torch that was not built for this GPU finds it all the same, and only a computation fails.
    torch.ones(8, device=f"cuda:{number}").sum().item()
    free, total = torch.cuda.mem_get_info(number)
    with torch.cuda.device(number):
        bfloat16 = torch.cuda.is_bf16_supported()
    model = torch.cuda.get_device_name(number)
    return Gpu(model=model, free_gb=free / GB, total_gb=total / GB, bfloat16=bfloat16)


def with_gpus(gpus: Sequence[Gpu]) -> Finding:
    """What is there, and what of it is used by others or lacks bfloat16."""
    words = ", ".join(
        f"{gpu.model} ({gpu.free_gb:.0f} of {gpu.total_gb:.0f} GB free{'' if gpu.bfloat16 else ', no bfloat16'})"
        for gpu in gpus
    )
    hints = ["see with nvidia-smi who uses it"] if any(gpu.free_gb < gpu.total_gb / 2 for gpu in gpus) else []
    hints += ["set recipe.precision to float32"] if not all(gpu.bfloat16 for gpu in gpus) else []
    return Finding(name="gpu", ok=None if hints else True, found=words, way_out="; ".join(hints))


def without_gpu(*, there: bool, built_for: str | None, visible: str | None, said: str) -> Finding:
    """Why torch can use no GPU.

    Args:
        there: Whether the machine shows one.
        built_for: The version of CUDA or ROCm that torch was built for; None: for none.
        visible: ``$CUDA_VISIBLE_DEVICES``; None if it is not set.
        said: What torch warned of.
    """
    if not there:
        return Finding(name="gpu", ok=None, found="none: training on CPU")
    if visible is not None and visible.strip() in ("", "-1"):
        found = f"hidden by CUDA_VISIBLE_DEVICES={visible!r}: training on CPU"
        return Finding(name="gpu", ok=None, found=found, way_out="unset it to train on the GPU")
    if built_for is None:
        way_out = "install a torch that is built for the GPU"
        return Finding(name="gpu", ok=False, found="there is one, but this torch was built without", way_out=way_out)
    found = f"there is one, but torch for CUDA {built_for} cannot use it" + (f" ({said})" if said else "")
    way_out = "update the GPU's driver, or install a torch for the driver's version of CUDA (nvidia-smi shows it)"
    return Finding(name="gpu", ok=False, found=found, way_out=way_out)


def pictures() -> Finding:
    """The browser that draws pictures; without one all works but `figures`."""
    from dashboards.figures.export import NoBrowser, find_browser

    try:
        return Finding(name="pictures", ok=True, found=f"drawn by {find_browser()}")
    except NoBrowser as error:
        way_out = "install it for `stablesweep figures` (Debian: apt-get install chromium)"
        return Finding(name="pictures", ok=None, found=str(error).partition(";")[0], way_out=way_out)


def _short(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200].rstrip(".")
