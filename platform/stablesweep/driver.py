"""Packs through Ray Tune and Ray Train: a Tune trial is a pack, which the workers of a Ray Train run train."""

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import ray
import ray.train
import ray.tune
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from stablesweep.crew import crew_here
from stablesweep.errors import StablesweepError
from stablesweep.job import PackJob
from stablesweep.mailbox import Mailbox
from stablesweep.orphans import orphans_removed
from stablesweep.ray_session import HEAD
from stablesweep.reasons import DRIVER_DIED, OUT_OF_MEMORY
from stablesweep.study import Pack

LOOK_EVERY_S = 2.0
"""So often, after a stop was asked for, it is looked whether packs still train."""


class PackSource(Protocol):
    """Where packs come from."""

    def next(self, slots: int) -> PackJob | None:
        """The next pack; None while none is ready. So many workers wait for a pack, now or soon."""
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
        concurrent: How many can train at the same time, now.
        begun: Names of the packs whose training has begun.
        stop: Set to hand out no more.
        mailbox: Keeps the packs for the workers; closed when there are no more.
    """

    def __init__(
        self,
        source: PackSource,
        concurrent: Callable[[], int],
        begun: Callable[[], set[str]],
        stop: threading.Event,
        mailbox: Mailbox,
    ) -> None:
        super().__init__(metric="finished", mode="max")
        self._source, self._mailbox = source, mailbox
        self._concurrent, self._begun, self._stop = concurrent, begun, stop
        self._names: dict[str, str] = {}
        self._active: set[str] = set()
        self._any_ended = False
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
            return self._finished()
        # A pack that waits for a node tells an autoscaler to start one.
        slots = max(self._concurrent(), 1)
        if len(self._active) >= slots:
            return None
        # Once a pack has ended, the others that began with it will soon.
        job = self._source.next(slots if self._any_ended else slots - len(self._active))
        if job is None and self._source.done():
            return self._finished()
        if job is None:
            return None
        self._mailbox.put(job)
        self._names[trial_id] = job.name
        self._active.add(job.name)
        return {"pack": job.name}

    def _finished(self) -> Any:
        self._mailbox.close()
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note that a pack has ended, and whether Ray gave it up."""
        name = self._names[trial_id]
        self._active.discard(name)
        self._any_ended = True
        result = result or {}
        try:
            self._source.ended(name, DRIVER_DIED if error else result.get("reason"), result.get("too_large"))
            self._mailbox.drop(name)
        except Exception as caught:  # noqa: BLE001 - raised again by train_packs
            self._fail(caught)

    def _fail(self, error: Exception) -> Any:
        self.failure = self.failure or error
        self._stop.set()
        with suppress(StablesweepError):
            self._mailbox.close()
        return Searcher.FINISHED

    def idle(self) -> bool:
        """Whether no pack trains; some may be there that only wait for a CPU, or for a node in place of theirs that has gone."""
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            training = self._active & self._begun()
            self._idle = not training or not training - self._mailbox.stranded(training)
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


def _drive(config: dict[str, Any], *, mailbox: Any, pack: Pack, storage: str) -> dict[str, Any]:
    """A Tune trial: train one pack with Ray Train, and say how that ended and how long it took."""
    began = time.monotonic()
    reason, too_large = _train(config["pack"], mailbox, pack, storage)
    return {"finished": 1, "seconds": time.monotonic() - began, "reason": reason, "too_large": too_large}


def _train(name: str, mailbox: Any, pack: Pack, storage: str) -> tuple[str | None, str | None]:
    """Train a pack; why it was given up, and what memory did not suffice for, if so.

    Workers start it ``max_failures + 1`` times at most, whichever process it was that died, and once more where workers that had
    trained other packs before were the first.
    """
    crew = crew_here(mailbox, pack, storage)
    reason: str | None = DRIVER_DIED
    try:
        for _attempt in range(pack.max_failures + 1):
            if ray.get(mailbox.starts.remote(name)) > pack.max_failures:
                break
            reason = crew.train(name)
            if reason is None:
                break
        too_large = ray.get(mailbox.too_large.remote(name))
        crew.leave()
    except ray.exceptions.RayActorError:
        # The mailbox is gone, and the run ends: its results are for the next run to find out.
        return None, None
    return reason, reason if too_large is None and reason == OUT_OF_MEMORY else too_large


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
        Seconds from when each pack was given to workers to when they had done with it, summed: training and the starting of processes.
    """
    queue = PackSearcher(source, concurrent, begun, stop, mailbox)
    # Else it prints a traceback for every pack that is taken up again.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="stablesweep-ray-") as folder, orphans_removed():
        trainable = ray.tune.with_parameters(_drive, mailbox=mailbox.actor, pack=pack, storage=f"{folder}/train")
        results = ray.tune.Tuner(
            # A trial only waits for its Train run: it costs no CPU.
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
    return f"{trial.config['pack']}~{trial.trial_id}"


def _all_results(results: ray.tune.ResultGrid) -> list[ray.tune.Result]:
    return [results[number] for number in range(len(results))]


def _pack_seconds(results: ray.tune.ResultGrid) -> float:
    return float(sum((result.metrics or {}).get("seconds", 0.0) for result in _all_results(results)))
