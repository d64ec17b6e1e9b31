"""One trial trained alone in this process: a part of ``benchmarks/overhead.py``. Ray's workers import it by name."""

from collections.abc import Callable
from functools import cache
from typing import Any

import stablesweep as ss
from stablesweep.preflight import dataset_options
from stablesweep.trials import Trial
from trainables import Dataset, LockstepPack, Member, load_dataset

RESULTS = frozenset({"completed", "diverged"})
"""How a trial may end here: one that fails would be cheap."""


@cache
def _data(name: str, options: tuple[tuple[str, Any], ...]) -> Dataset:
    """A dataset, read once in each process."""
    return load_dataset(name, **dict(options))


def train_alone(
    study: ss.Study, trial: Trial, tell: Callable[[dict[str, float]], None] = lambda _metrics: None
) -> float | None:
    """Train one trial in this process; its final error in percent, None if it has none.

    Args:
        study: Whose trial it is.
        trial: The trial.
        tell: Called with the metrics of every epoch.

    Raises:
        RuntimeError: If the trial fails.
    """
    import torch

    torch.set_num_threads(1)
    assert study.dataset is not None
    pack = LockstepPack(
        [Member(key=trial.key, seed=trial.seed, hyperparameters=dict(trial.hyperparameters))],
        model=trial.model,
        optimizer=trial.optimizer,
        data=_data(study.dataset.name, tuple(dataset_options(study).items())),
        recipe=study.recipe,
        epochs=trial.epochs,
        study_seed=study.seed,
    )
    while not pack.finished:
        for epoch in pack.run_epoch():
            tell({"train_loss": epoch.train_loss, "error": epoch.error})
    result = pack.results()[0]
    require_results({result.status})
    return result.error


def require_results(statuses: set[str]) -> None:
    """Raises RuntimeError if trials ended in another way than with a result."""
    if not statuses <= RESULTS:
        raise RuntimeError(f"trials ended as {', '.join(sorted(statuses - RESULTS))}; expected a result of each.")
