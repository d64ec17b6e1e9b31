"""Packs through Ray Tune and Ray Train: one Tune trial a pack, each of which drives one Ray Train run."""

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import ray
import ray.train
import ray.tune
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from stablesweep.job import PackJob
from stablesweep.mailbox import Mailbox
from stablesweep.orphans import orphans_removed
from stablesweep.reasons import CONTROLLER_DIED, DRIVER_DIED, OUT_OF_MEMORY, is_death_outside_training, reason_of
from stablesweep.study import Pack

LOOK_EVERY_S = 2.0
"""So often, after a stop was asked for, it is looked whether packs still train."""
HEAD = {"node:__internal_head__": 0.0001}
"""The Tune trial only waits for its Train run: it costs no CPU, and sits on the node that is lost last. The smallest share that
Ray knows: 10,000 packs at once."""


class PackSource(Protocol):
    """Where packs come from."""

    def next(self) -> PackJob | None:
        """The next pack; None while none is ready."""
        ...

    def done(self) -> bool:
        """Whether there is none any more, whatever is still to come in."""
        ...

    def ended(self, name: str, reason: str | None, too_large: str | None = None) -> None:
        """Note that a pack has ended; with the reason why, if Ray gave it up; with what ran out, if memory did not suffice."""
        ...


class PackSearcher(Searcher):
    """Asks a source for one pack at a time and hands it to Ray Tune; for none any more once a stop is asked for.

    Args:
        source: The packs. One that depends on results is there when they are.
        concurrent: How many can train at the same time, now. One more is handed out when all of these are training: its
            processes start meanwhile, and it waits for their CPU.
        begun: Names of the packs whose training has begun.
        stop: Set to hand out no more.
        stranded: Says which of some packs wait for a node in place of theirs that has gone.
    """

    def __init__(
        self,
        source: PackSource,
        concurrent: Callable[[], int],
        begun: Callable[[], set[str]],
        stop: threading.Event,
        stranded: Callable[[set[str]], set[str]],
    ) -> None:
        super().__init__(metric="finished", mode="max")
        self._source = source
        self._concurrent, self._begun, self._stop, self._stranded = concurrent, begun, stop, stranded
        self._names: dict[str, str] = {}
        self._active: set[str] = set()
        self._looked_at, self._idle = 0.0, False
        self.failure: Exception | None = None
        """What was raised in here: Tune would swallow it, or show it with a traceback."""

    def suggest(self, trial_id: str) -> dict[str, Any] | Any:
        """The next pack as a Tune configuration; None to be asked again later; ``FINISHED``."""
        try:
            return self._suggest(trial_id)
        except Exception as error:  # noqa: BLE001 - raised again by train_packs
            return self._fail(error)

    def _suggest(self, trial_id: str) -> dict[str, Any] | Any:
        if self._stop.is_set():
            return Searcher.FINISHED
        ahead = len(self._active) - self._concurrent()
        if ahead > 0 or (ahead == 0 and self._active - self._begun()):
            return None
        job = self._source.next()
        if job is None:
            return Searcher.FINISHED if self._source.done() else None
        self._names[trial_id] = job.name
        self._active.add(job.name)
        return {"job": job}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note that a pack has ended, and whether Ray gave it up."""
        name = self._names[trial_id]
        self._active.discard(name)
        result = result or {}
        try:
            self._source.ended(name, DRIVER_DIED if error else result.get("reason"), result.get("too_large"))
        except Exception as caught:  # noqa: BLE001 - raised again by train_packs
            self._fail(caught)

    def _fail(self, error: Exception) -> Any:
        self.failure = self.failure or error
        self._stop.set()
        return Searcher.FINISHED

    def idle(self) -> bool:
        """Whether no pack trains; some may be there that only wait for a CPU, or for a node in place of theirs that has gone."""
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            training = self._active & self._begun()
            self._idle = not training or not training - self._stranded(training)
            self._looked_at = time.monotonic()
        return self._idle

    def __getstate__(self) -> dict[str, Any]:
        # Tune keeps a pickle of its searcher; ours is never restored from it, and a lock cannot be pickled.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger and the record say what is left to do."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see :meth:`save`."""


class StopWhenIdle(Stopper):
    """After a stop was asked for, ends the experiment as soon as no pack trains any more."""

    def __init__(self, queue: PackSearcher, stop: threading.Event) -> None:
        self._queue, self._stop = queue, stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single pack."""
        return False

    def stop_all(self) -> bool:
        """Whether what is left only waits."""
        return self._stop.is_set() and self._queue.idle()

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _work(config: dict[str, Any]) -> None:
    """What a worker runs. Only there is torch imported: the processes that drive it have no use for it."""
    from stablesweep.worker import train_pack

    train_pack(config)


def _trainer_class(workers: int) -> type[Any]:
    """Several workers need torch's process group, and one does not: it starts seconds sooner without."""
    if workers > 1:
        from ray.train.torch import TorchTrainer

        return TorchTrainer
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    return DataParallelTrainer


def _drive(config: dict[str, Any], *, mailbox: Any, pack: Pack, storage: str) -> dict[str, Any]:
    """A Tune trial: train one pack with Ray Train, and say how that ended and how long it took."""
    job: PackJob = config["job"]
    began = time.monotonic()
    reason, too_large = _train(job, mailbox, pack, storage)
    return {"finished": 1, "seconds": time.monotonic() - began, "reason": reason, "too_large": too_large}


def _train(job: PackJob, mailbox: Any, pack: Pack, storage: str) -> tuple[str | None, str | None]:
    """Train a pack; why it was given up, and what memory did not suffice for, if so.

    Workers begin to train ``max_failures + 1`` times at most, whichever process it was that died.
    """
    reason: str | None = DRIVER_DIED
    try:
        for _attempt in range(pack.max_failures + 1):
            left = pack.max_failures - ray.get(mailbox.starts.remote(job.name))
            if left < 0:
                break
            reason, again = _train_once(job, mailbox, pack, storage, left)
            if not again:
                break
        too_large = ray.get(mailbox.too_large.remote(job.name))
    except ray.exceptions.RayActorError:
        # The mailbox is gone, and the run ends: its results are for the next run to find out.
        return None, None
    return reason, reason if too_large is None and reason == OUT_OF_MEMORY else too_large


def _train_once(job: PackJob, mailbox: Any, pack: Pack, storage: str, max_failures: int) -> tuple[str | None, bool]:
    """Train a pack until Ray Train is done with it; the reason if it gave the pack up, and whether that was too early."""
    resources: dict[str, float] = {"CPU": pack.cpus} | ({"GPU": pack.gpus} if pack.gpus else {})
    trainer = _trainer_class(pack.workers)(
        _work,
        train_loop_config={"job": job, "mailbox": mailbox},
        scaling_config=ray.train.ScalingConfig(
            num_workers=pack.workers, use_gpu=pack.gpus > 0, resources_per_worker=resources
        ),
        # Checkpoints are our own: what Ray Train writes here is of no use later.
        run_config=ray.train.RunConfig(
            name=job.name,
            storage_path=storage,
            failure_config=_failures(max_failures),
        ),
    )
    try:
        trainer.fit()
    except ray.exceptions.RayActorError:
        return CONTROLLER_DIED, True
    except Exception as error:  # noqa: BLE001 - Ray Train gives the pack up; why is to be known now, not in the end
        return reason_of(error), is_death_outside_training(error)
    return None, False


def _failures(most: int) -> Any:
    # Without end by default: a node that was taken away counts as one that died.
    config: Any = ray.train.FailureConfig
    return config(max_failures=most, max_preemption_failures=most)


def train_packs(
    source: PackSource,
    *,
    pack: Pack,
    concurrent: Callable[[], int],
    mailbox: Mailbox,
    begun: Callable[[], set[str]],
    stop: threading.Event,
) -> float:
    """Train packs on the running Ray until all have ended, or after a stop until the started ones have.

    Args:
        source: The packs, in the order in which they start.
        pack: What each may use.
        concurrent: How many can train at the same time, now: nodes may join and leave.
        mailbox: Where the workers send their messages.
        begun: Names of the packs whose training has begun.
        stop: Set to start no more packs; the workers are told through the mailbox.

    Returns:
        Seconds from the start to the end of each pack's Train run, summed: training and the starting of processes.
    """
    queue = PackSearcher(source, concurrent, begun, stop, mailbox.stranded)
    # Else it prints a traceback for every pack that is taken up again.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="stablesweep-ray-") as folder, orphans_removed():
        trainable = ray.tune.with_parameters(_drive, mailbox=mailbox.actor, pack=pack, storage=f"{folder}/train")
        results = ray.tune.Tuner(
            ray.tune.with_resources(trainable, HEAD),
            tune_config=ray.tune.TuneConfig(
                search_alg=queue,
                # Without end: the source says when it is done.
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=ray.tune.RunConfig(
                name="tune",
                storage_path=folder,
                verbose=0,
                stop=StopWhenIdle(queue, stop),
                failure_config=ray.tune.FailureConfig(max_failures=pack.max_failures),
            ),
        ).fit()
    if queue.failure is not None:
        raise queue.failure
    return _pack_seconds(results)


def _trial_name(trial: Any) -> str:
    return f"{trial.config['job'].name}~{trial.trial_id}"


def _all_results(results: ray.tune.ResultGrid) -> list[ray.tune.Result]:
    return [results[number] for number in range(len(results))]


def _pack_seconds(results: ray.tune.ResultGrid) -> float:
    return float(sum((result.metrics or {}).get("seconds", 0.0) for result in _all_results(results)))
