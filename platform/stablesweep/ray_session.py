"""Starting Ray, or joining the cluster that is there."""

import contextlib
import logging
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from stablesweep.errors import StablesweepError, StudyError, short
from stablesweep.machine import Machine, packs_at_once
from stablesweep.ray_address import check_address, cluster_address
from stablesweep.study import Pack

# Set before Ray is imported; what the user has set is kept. Each line says what it saves on a small machine.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else a worker without a GPU of its own would find CUDA_VISIBLE_DEVICES emptied, which Ray warns about.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Of tasks whose answers nobody asks for (stablesweep.coordinator); all others raise where they are asked for.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    # A worker's report waits for the controller's poll, which is every 2 s by default.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # One process fewer for each pack; it watches for the preemption of cloud nodes, which retries cover as well.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Tune's default for a searcher is one that waits for its process at a time: too slow a start on many GPUs.
    "TUNE_MAX_PENDING_TRIALS_PG": "8",
    # The record is ours: Tune's own loggers would write every result once more.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C is handled by stablesweep.stopping.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's old output obeys verbose=0, its new one prints a banner all the same.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Warnings about many processes on few cores, which nothing can be done about, and about deaths, which the record tells.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker processes have been started on node|worker died or was killed|marked dead",
}


ONLY_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Named after systems whose firewalls ask for each port; where it is 0, Ray's node has the loopback address."""
_only_loopback = False
"""Whether that variable was set here."""
LOOK_EVERY_S = 5.0
"""So often the cluster is asked what it has."""
HEAD = {"node:__internal_head__": 0.0001}
"""Of whatever drives workers and must not be lost with one of their nodes. The smallest share that Ray knows: 10,000 packs at once."""


def prepare_environment() -> None:
    """Set what must be set before Ray is imported."""
    global _only_loopback
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if cluster_address() is None and "ray" not in sys.modules and ONLY_LOOPBACK not in os.environ:
        # Our own Ray serves this machine alone: its node gets the loopback address, and all of its processes listen there only.
        os.environ[ONLY_LOOPBACK], _only_loopback = "0", True


def _make_token() -> None:
    """Make the token that Ray would make when it starts, but so that its owner alone can read it."""
    path = Path.home() / ".ray" / "auth_token"
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """A running Ray: the one that this process has joined, the one at ``$RAY_ADDRESS``, or one of its own.

    Only a Ray that was started or joined here is left or shut down at the end.

    Raises:
        StablesweepError: If Ray cannot be started or reached.
    """
    prepare_environment()
    import ray

    global _only_loopback
    if ray.is_initialized():
        yield
        return
    address = cluster_address()
    if address is None:
        _make_token()
    else:
        check_address(address)
    try:
        ray.init(
            # Where the variable is not set, Ray joins the cluster that this machine is part of, if there is one.
            address=address or ("local" if "RAY_ADDRESS" in os.environ else None),
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ray.exceptions.AuthenticationError as error:
        raise StablesweepError(
            f"the Ray cluster at RAY_ADDRESS={address} refuses the token, or none was found; set RAY_AUTH_TOKEN_PATH to a file "
            "with the cluster's token (there: `ray get-auth-token`)."
        ) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at RAY_ADDRESS={address} cannot be joined" if address else "Ray cannot be started"
        same = "see that the head runs, and that its token, Python and ray are the same here"
        way_out = same if address else "see what `ray start --head --block` says"
        raise StablesweepError(f"{where}: {short(error, 300)}; {way_out}.") from error
    try:
        yield
    finally:
        ray.shutdown()
        # Else a `ray start` from this process would serve this machine alone as well.
        if _only_loopback:
            os.environ.pop(ONLY_LOOPBACK, None)
            _only_loopback = False


class Capacity:
    """How many packs the cluster can train at the same time, while nodes join and leave it.

    Args:
        pack: What one pack asks for.
        wait: Whether to wait for nodes where not even one pack fits now.

    Raises:
        StudyError: If not even one fits, and that is not to be waited for.
    """

    def __init__(self, pack: Pack, *, wait: bool = False) -> None:
        self._pack, self._wait = pack, wait
        self._looked_at, self._packs = 0.0, 0
        if not self.packs() and not wait:
            raise StudyError(self._too_small())

    def packs(self) -> int:
        """How many fit now. Of a cluster that is waited for at least one: what waits is what makes it grow."""
        if time.monotonic() - self._looked_at > LOOK_EVERY_S or not self._looked_at:
            self._packs = packs_at_once(self._pack, alive_machines())
            self._looked_at = time.monotonic()
        return max(self._packs, int(self._wait))

    def _too_small(self) -> str:
        pack, machines = self._pack, alive_machines()
        each = f"{pack.workers} times " if pack.workers > 1 else ""
        cpus, gpus = sum(one.cpus for one in machines), sum(one.gpus for one in machines)
        nodes = f" on {len(machines)} nodes" if len(machines) > 1 else ""
        return (
            f"pack: one pack asks for {each}{pack.cpus:g} CPUs and {pack.gpus:g} GPUs, Ray has {cpus:g} and {gpus}{nodes}; "
            "lower pack.cpus, pack.gpus or pack.workers, add nodes, or wait for them with --wait-for-nodes."
        )


def alive_machines() -> list[Machine]:
    """The nodes of the cluster that are alive."""
    import ray

    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [Machine(cpus=one.get("CPU", 0.0), gpus=int(one.get("GPU", 0))) for one in resources]
