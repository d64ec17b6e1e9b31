"""Crews: the workers of one Ray Train run, which train one pack after another.

Starting them costs seconds, so they stay from pack to pack, and leave when none comes for a while.
"""

import asyncio
import threading
import uuid
from typing import Any

import ray
import ray.train

from stablesweep.reasons import DRIVER_DIED, reason_of
from stablesweep.study import Pack

LOOK_EVERY_S = 1.0
"""So often it is looked whether the workers that train a pack are still there."""

LEAVE_WITHIN_S = 10.0
"""What Ray Train still holds then is removed by :mod:`stablesweep.orphans`."""

UNUSED = {
    # Frees the placement group of a process that has died: stablesweep.orphans does that.
    "PlacementGroupCleanerCallback",
    # Hands Ray's datasets to the workers, which have none, and has each import ray.data.
    "DatasetsCallback",
}

_here: "Crew | None" = None
"""Ray Tune keeps the process of a trial that has ended for the next one."""


class Crew:
    """At most one Ray Train run at a time, whose workers train the packs that this object is given.

    Args:
        mailbox: The actor of :class:`stablesweep.mailbox.Mailbox`.
        pack: What the workers may use.
        storage: A folder for Ray Train.
    """

    def __init__(self, mailbox: Any, pack: Pack, storage: str) -> None:
        self.mailbox, self._pack, self._storage = mailbox, pack, storage
        self._workers: _Workers | None = None

    def train(self, pack: str) -> str | None:
        """Have one pack trained, which the mailbox holds; why Ray Train gave the workers up before they had done with it, if so.

        Raises:
            ray.exceptions.RayActorError: If the mailbox is gone.
        """
        workers = self._workers
        assigned = workers is not None and workers.is_alive() and self._assign(workers, pack)
        if workers is not None and assigned and self._done(workers, pack):
            return None
        # Also where workers have gone: what they trained before may be to blame, these have trained nothing.
        workers = self._start(pack)
        return None if self._done(workers, pack) else workers.reason or DRIVER_DIED

    def leave(self) -> None:
        """Wait until the workers have gone, if there will be no more packs."""
        if self._workers is not None and ray.get(self.mailbox.closing.remote()):
            self._workers.join(LEAVE_WITHIN_S)

    def _start(self, pack: str) -> "_Workers":
        if self._workers is not None:
            # They hold what the new ones need.
            self._workers.join(LEAVE_WITHIN_S)
        workers = self._workers = _Workers(self.mailbox, self._pack, self._storage)
        self._assign(workers, pack)
        workers.start()
        return workers

    def _assign(self, workers: "_Workers", pack: str) -> bool:
        return bool(ray.get(self.mailbox.assign.remote(workers.crew, pack)))

    def _done(self, workers: "_Workers", pack: str) -> bool:
        """Wait until the workers have done with a pack; False if they have gone before."""
        end = self.mailbox.wait_end.remote(workers.crew, pack)
        while not ray.wait([end], timeout=LOOK_EVERY_S)[0]:
            if not workers.is_alive():
                # Their last word may still be on its way.
                return bool(ray.get(self.mailbox.has_ended.remote(workers.crew, pack)))
        ray.get(end)
        return True


class _Workers(threading.Thread):
    """One Ray Train run, and the thread that waits for its end."""

    def __init__(self, mailbox: Any, pack: Pack, storage: str) -> None:
        super().__init__(daemon=True, name="stablesweep-crew")
        self.crew = uuid.uuid4().hex
        self.reason: str | None = None
        """Why Ray Train gave them up, once it has."""
        self._mailbox, self._pack, self._storage = mailbox, pack, storage

    def run(self) -> None:
        """Have them started, and wait."""
        try:
            self._trainer().fit()
        except Exception as error:  # noqa: BLE001 - Ray Train gives the workers up; why is told by Crew.train
            self.reason = reason_of(error)

    def _trainer(self) -> Any:
        pack = self._pack
        resources: dict[str, float] = {"CPU": pack.cpus} | ({"GPU": pack.gpus} if pack.gpus else {})
        return _trainer_class(pack.workers)(
            _work,
            train_loop_config={"crew": self.crew, "mailbox": self._mailbox},
            scaling_config=ray.train.ScalingConfig(
                num_workers=pack.workers, use_gpu=pack.gpus > 0, resources_per_worker=resources
            ),
            # Checkpoints are our own: what Ray Train writes here is of no use later.
            run_config=ray.train.RunConfig(name=self.crew, storage_path=self._storage, failure_config=_no_retries()),
        )


def crew_here(mailbox: Any, pack: Pack, storage: str) -> Crew:
    """This process's crew: the one that trained the last pack of the same run, or a new one."""
    global _here
    if _here is None or _here.mailbox != mailbox:
        _here = Crew(mailbox, pack, storage)
    return _here


def _work(config: dict[str, Any]) -> None:
    """What a worker runs. Only there is torch imported: the processes that drive it have no use for it."""
    from stablesweep.worker import train_for_crew

    train_for_crew(config)


def _trainer_class(workers: int) -> type[Any]:
    """Several workers need torch's process group, and one does not: it starts seconds sooner without."""
    if workers > 1:
        from ray.train.torch import TorchTrainer

        return _with_few_processes(TorchTrainer)
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    return _with_few_processes(DataParallelTrainer)


def _with_few_processes(trainer: type[Any]) -> type[Any]:
    """A trainer that starts three processes fewer than Ray Train's, each of which takes seconds to import it.

    Its controller runs in this process, which would only wait for it. What has a process of its own and is not used is left
    out, see ``UNUSED``. Ray Train has no setting for either; a version of it that is built in another way starts them
    as ever.
    """
    try:
        from ray.train.v2._internal.execution.controller import TrainController
    except ImportError:
        return trainer

    class Trainer(trainer):  # type: ignore[misc]
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [one for one in callbacks if type(one).__name__ not in UNUSED]

        def _initialize_and_run_controller(self, **arguments: Any) -> Any:
            controller = TrainController(**arguments)
            asyncio.run(controller.run())  # type: ignore[no-untyped-call]
            return controller.get_result()

    return Trainer


def _no_retries() -> Any:
    # Retries are counted by pack, and these workers train several. By default a node that was taken away counts for nothing.
    config: Any = ray.train.FailureConfig
    return config(max_failures=0, max_preemption_failures=0)
