"""A pack's job, as the driver hands it to a worker."""

from dataclasses import replace
from typing import Any

from stablesweep.imports import UserModules
from stablesweep.job import PackJob
from trainables import Member, Recipe
from trainables.registry import UserEntries


def pack_job(name: str = "pack", **changes: Any) -> PackJob:
    """Two members for two epochs on digits of 16 px; without a storage that anything could be written to."""
    members = [
        Member(key=key, seed=seed, hyperparameters={"lr": 0.01, "weight_decay": 0.0}) for seed, key in enumerate("ab")
    ]
    job = PackJob(
        name=name,
        members=tuple(members),
        model="vit_p_micro",
        model_options={},
        optimizer="sgd",
        epochs=2,
        recipe=Recipe(batch_size=512),
        dataset="digits",
        dataset_options={"image_size": 16},
        trainable=None,
        trainable_options={},
        study_seed=0,
        storage="",
        earlier_packs=(),
        checkpoint_every_s=0,
        decode_workers=0,
        gpus=0.0,
        mode="loop",
        pruning=None,
        earlier=(),
        modules=UserModules(),
        entries=UserEntries(),
    )
    return replace(job, **changes)
