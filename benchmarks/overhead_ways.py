"""The platform's trials trained in three other ways, each a command: ``python benchmarks/overhead_ways.py WAY STUDY OUT``.

All train with the platform's code, a member of :class:`trainables.LockstepPack`, here one that is alone, so that what differs is
what is around it.
"""

import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware import cores
from train_alone import train_alone

import stablesweep as ss
from stablesweep.trials import Trial, plan_trials

CORES = cores()
Errors = dict[str, float | None]
"""By trial, the final error in percent; None if it diverged."""


def bare(study: ss.Study, folder: Path) -> Errors:
    """A loop over the trials in each of as many processes as there are cores. Nothing is recorded."""
    from multiprocessing import get_context

    with get_context("spawn").Pool(CORES) as pool:
        # One at a time: whoever is free takes the next.
        found = pool.imap_unordered(_bare_trial, [(study, trial) for trial in plan_trials(study)], chunksize=1)
        return dict(found)


def _bare_trial(asked: tuple[ss.Study, Trial]) -> tuple[str, float | None]:
    study, trial = asked
    return trial.key, train_alone(study, trial)


def ray_guide(study: ss.Study, folder: Path) -> Errors:
    """As Ray's guide combines them: a Tune trial for each draw, which starts a TorchTrainer, and Ray's MLflow callback."""
    # What the platform sets for itself would help here as well, so it is left as Ray has it.
    import ray
    import ray.tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    trials = {trial.key: trial for trial in plan_trials(study)}
    # One more than there are: the drivers' shares must not keep the last worker waiting. Concurrent trials bound the workers.
    ray.init(num_cpus=CORES + 1, include_dashboard=False, log_to_driver=False)
    tuner = ray.tune.Tuner(
        # The trial itself waits only: with a CPU of its own, half of the cores would idle.
        ray.tune.with_resources(
            ray.tune.with_parameters(_drive, study=study, trials=trials, folder=str(folder)), {"CPU": 0.01}
        ),
        param_space={"key": ray.tune.grid_search(list(trials))},
        tune_config=ray.tune.TuneConfig(max_concurrent_trials=CORES),
        run_config=ray.tune.RunConfig(
            storage_path=str(folder / "ray"),
            verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name=study.name)],
        ),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    finals: dict[str, float] = {}
    for row in (results[number] for number in range(len(results))):
        if row.config and row.metrics and "final" in row.metrics:
            finals[row.config["key"]] = row.metrics["final"]
    if missing := trials.keys() - finals.keys():
        raise RuntimeError(f"{len(missing)} trials have no result, {min(missing)} for one.")
    return {key: None if math.isnan(final) else final for key, final in finals.items()}


def _drive(config: dict[str, Any], *, study: ss.Study, trials: Mapping[str, Trial], folder: str) -> None:
    import ray.train
    import ray.tune
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    TorchTrainer(
        _train_worker,
        train_loop_config={"study": study, "trial": trials[config["key"]]},
        scaling_config=ray.train.ScalingConfig(num_workers=1),
        run_config=ray.train.RunConfig(
            name=f"train-{ray.tune.get_context().get_trial_id()}",
            storage_path=f"{folder}/train",
            callbacks=[TuneReportCallback()],  # type: ignore[list-item, no-untyped-call]
        ),
    ).fit()


def _train_worker(config: dict[str, Any]) -> None:
    import ray.train

    study, trial = config["study"], config["trial"]
    told: list[dict[str, float]] = []

    def tell(metrics: dict[str, float]) -> None:
        # The last epoch says the result as well: a report of its own would take until the controller looks again.
        told.append(metrics)
        if len(told) < trial.epochs:
            ray.train.report(metrics)

    error = train_alone(study, trial, tell)
    ray.train.report({**(told[-1] if told else {}), "final": float("nan") if error is None else error})


def optuna(study: ss.Study, folder: Path) -> Errors:
    """Optuna with a thread for each core and its MLflow callback, in memory; the draws are enqueued, so that they are the same."""
    import optuna as library
    from optuna_integration import MLflowCallback

    trials = {trial.key: trial for trial in plan_trials(study)}
    library.logging.set_verbosity(library.logging.WARNING)
    asked = library.create_study(study_name=study.name)
    for key, trial in trials.items():
        asked.enqueue_trial(_numbers(trial), user_attrs={"key": key})
    ranges = _ranges([_numbers(trial) for trial in trials.values()])
    errors: Errors = {}

    def objective(of: library.Trial) -> float:
        key = of.user_attrs["key"]
        for name, (low, high) in ranges.items():
            of.suggest_float(name, low, high, log=True)
        errors[key] = train_alone(study, trials[key])
        return 100.0 if errors[key] is None else float(errors[key] or 0.0)

    tell = MLflowCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", metric_name="error")
    asked.optimize(objective, n_trials=len(trials), n_jobs=CORES, callbacks=[tell])
    return errors


def _numbers(trial: Trial) -> dict[str, float]:
    """What was drawn; the quickstart draws nothing but numbers."""
    return {name: float(value) for name, value in trial.hyperparameters.items()}


def _ranges(draws: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """By hyperparameter, its smallest and largest value."""
    return {name: (min(draw[name] for draw in draws), max(draw[name] for draw in draws)) for name in draws[0]}


WAYS: Mapping[str, Callable[[ss.Study, Path], Errors]] = {
    "ray_guide": ray_guide,
    "bare": bare,
    "optuna": optuna,
}


def main() -> None:
    """Train in one way and write the errors."""
    way, study_file, out = sys.argv[1:]
    # Ray by itself writes its token for all to read, and uses it from then on.
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        errors = WAYS[way](ss.load_study(study_file), Path(folder))
    Path(out).write_text(json.dumps(errors))


if __name__ == "__main__":
    main()
