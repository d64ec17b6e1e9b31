"""Starting Ray, or joining the cluster that is there."""

import contextlib
import logging
import os
from collections.abc import Iterator

from stablesweep.errors import StablesweepError, StudyError
from stablesweep.machine import Machine
from stablesweep.study import Pack

# Set before Ray is imported; what the user has set is kept. Each line says what it saves on a small machine.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else a worker without a GPU of its own would find CUDA_VISIBLE_DEVICES emptied, which Ray warns about.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A worker's report waits for the controller's poll, which is every 2 s by default.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # One process fewer for each pack; it watches for the preemption of cloud nodes, which retries cover as well.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # The record is ours: Tune's own loggers would write every result once more.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C is handled by stablesweep.stopping.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's old output obeys verbose=0, its new one prints a banner all the same.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A warning about many processes on few cores: each pack has some, and nothing can be done about it.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker processes have been started on node",
}


def prepare_environment() -> None:
    """Set what must be set before Ray is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """A running Ray: the one that this process has joined, the one at ``$RAY_ADDRESS``, or one of its own.

    Only a Ray that was started or joined here is left or shut down at the end.

    Raises:
        StablesweepError: If Ray cannot be started or reached.
    """
    prepare_environment()
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            address=address,
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at RAY_ADDRESS={address} cannot be joined" if address else "Ray cannot be started"
        raise StablesweepError(f"{where}: {' '.join(str(error).split())[:300]}.") from error
    try:
        yield
    finally:
        ray.shutdown()


def concurrent_packs(pack: Pack) -> int:
    """How many packs the cluster can train at the same time: its CPUs and GPUs over those of a pack.

    Raises:
        StudyError: If not even one fits.
    """
    import ray

    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = total.get("CPU", 0.0), int(total.get("GPU", 0))
    fits = Machine(cpus=cpus, gpus=gpus).packs_at_once(pack)
    if fits < 1:
        each = f"{pack.workers} times " if pack.workers > 1 else ""
        raise StudyError(
            f"pack: one pack asks for {each}{pack.cpus:g} CPUs and {pack.gpus:g} GPUs, Ray has {cpus:g} and {gpus}; "
            "lower pack.cpus, pack.gpus or pack.workers, or add nodes."
        )
    return fits
