"""A pack as a worker begins with it: anew, or as its furthest checkpoint has it."""

from typing import TypeAlias

import ray
import torch

from stablesweep.checkpoints import CheckpointStore, in_storage, progress, shown
from stablesweep.errors import StablesweepError
from stablesweep.job import PackJob
from stablesweep.messages import Remark
from stablesweep.outbox import Outbox
from trainables import CustomPack, Dataset, LockstepPack, Ranks, create_pack
from trainables.text import one_line
from trainables.training.failures import is_the_processes

AnyPack: TypeAlias = LockstepPack | CustomPack


def build(job: PackJob, ranks: Ranks, data: Dataset | None) -> AnyPack:
    """A pack that has trained nothing; without ``data`` that of the user's own trainable."""
    if job.trainable is not None or data is None:
        return CustomPack(
            job.members,
            trainable=job.trainable or "",
            model=job.model,
            optimizer=job.optimizer,
            options=job.trainable_options,
            epochs=job.epochs,
            study_seed=job.study_seed,
            device=device(),
        )
    return create_pack(
        job.members,
        mode=job.mode,
        model=job.model,
        model_options=job.model_options,
        optimizer=job.optimizer,
        data=data,
        recipe=job.recipe,
        epochs=job.epochs,
        study_seed=job.study_seed,
        device=device(),
        ranks=ranks,
        decode_workers=job.decode_workers,
        device_share=min(job.gpus, 1.0) or 1.0,
    )


def device() -> str:
    """The device that Ray gave this worker."""
    # Where it gave none, Ray Train takes the first GPU that torch sees.
    if not ray.get_gpu_ids():
        return "cpu"
    from ray.train.torch import get_device

    return str(get_device())


def restored(job: PackJob, ranks: Ranks, data: Dataset | None, outbox: Outbox) -> AnyPack | None:
    """The pack as its furthest usable checkpoint has it; None without one. Every worker takes the same one."""
    for folder, checkpoint in ranks.gather(_checkpoints(job, outbox))[0]:
        pack, problem = _loaded(job, ranks, data, folder, checkpoint)
        problems = [found for found in ranks.gather(problem) if found]
        if not problems:
            return pack
        # Results do not depend on the checkpoint, only the time does: a bad one costs its epochs and no more.
        outbox.send([Remark(text=f"{problems[0]}; the pack goes on from an earlier checkpoint, or starts over.")])
    return None


def _checkpoints(job: PackJob, outbox: Outbox) -> list[tuple[str, str]]:
    """Folder and name of the checkpoints that hold all members: those of the pack that was furthest first."""
    folders = [in_storage(job.storage, name) for name in (job.name, *job.earlier_packs)]
    found = [(folder, _names(folder, outbox)) for folder in folders]
    found.sort(key=lambda one: progress(one[1][0]) if one[1] else "", reverse=True)
    return [(folder, name) for folder, names in found for name in names]


def _names(folder: str, outbox: Outbox) -> list[str]:
    try:
        return CheckpointStore(folder).names()
    except (OSError, StablesweepError) as error:
        why = f"checkpoints cannot be read ({one_line(error)}); the pack starts over, or goes on from another's"
        outbox.send([Remark(text=f"{shown(folder)}: {why}.")])
        return []


def _loaded(
    job: PackJob, ranks: Ranks, data: Dataset | None, folder: str, checkpoint: str
) -> tuple[AnyPack | None, str | None]:
    """The pack with the state of a checkpoint, or why it cannot be used."""
    try:
        read = CheckpointStore(folder).read
        state = read(checkpoint, lambda file: torch.load(file, map_location="cpu", weights_only=True))
        pack = build(job, ranks, data)
        pack.load_state_dict(state)
    except Exception as error:  # whatever a state of another version makes torch raise
        if is_the_processes(error):
            raise
        return None, f"{shown(folder)}: the checkpoint {checkpoint} cannot be used ({one_line(error)})"
    return pack, None
