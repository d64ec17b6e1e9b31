"""Random numbers of augmentation: a function of (study seed, epoch, step, stage) alone."""

import numpy as np

STAGES = ("crop", "flip", "auto_augment", "pca_jitter", "random_erasing", "mixing")


def stage_generator(stage: str, *, study_seed: int, epoch: int, step: int) -> np.random.Generator:
    """The generator of one stage of one batch; switching another stage on or off changes nothing in this one.

    Draw an array with one row for each image of the global batch, so that a rank finds its own images' numbers in the
    rows that are its own.

    Args:
        stage: One of :data:`STAGES`.
        study_seed: 0 or more.
        epoch: Counted from 1.
        step: Any count that tells the steps of an epoch apart, 0 or more.

    Raises:
        ValueError: If a number is negative.

    Source: own.
    """
    for name, value in {"study seed": study_seed, "epoch": epoch, "step": step}.items():
        if value < 0:
            raise ValueError(f"{name}: got {value}, expected 0 or more")
    # The spawn key keeps these apart from the order of the images, which is drawn from (study seed, epoch).
    seeds = np.random.SeedSequence([study_seed, epoch, step], spawn_key=(STAGES.index(stage),))
    return np.random.Generator(np.random.PCG64(seeds))
