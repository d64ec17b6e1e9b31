"""Placement groups that outlive the process that made them, which hold CPUs and GPUs for nothing."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

LOOK_EVERY_S = 5.0
GONE_WITHIN_S = 10.0
"""So long it takes at most, at the end, until Ray knows that the processes which made groups are dead."""
NO_ACTOR = b"\xff" * 12
"""How the creator's id begins where a driver made the group itself; the rest is the job's. Fewer bytes may be an actor's."""

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def orphans_removed() -> Iterator[None]:
    """Remove this job's orphaned placement groups now and then while the block runs, and after it until actors have left none.

    Ray Train frees a group in the process that made it. If that is killed, Ray keeps the group until the whole job ends, and
    Ray Train's own cleaner needs the Ray dashboard.
    """
    done = threading.Event()
    # Those of the user's own actors, who may use them after this.
    others = _try_to_remove()

    def look() -> None:
        while not done.wait(LOOK_EVERY_S):
            _try_to_remove()

    thread = threading.Thread(target=look, name="stablesweep-orphans", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        give_up = time.monotonic() + GONE_WITHIN_S
        while _try_to_remove() - others and time.monotonic() < give_up:
            time.sleep(0.1)


def _try_to_remove() -> set[bytes]:
    """The groups of this job's actors that are left."""
    try:
        remove_orphans()
        return _of_actors()
    except Exception:  # a Ray that is gone holds nothing any more
        logger.info("orphaned placement groups could not be looked for", exc_info=True)
        return set()


def _of_actors() -> set[bytes]:
    return {group.placement_group_id for group in _groups() if _of_our_actors(group)}


def remove_orphans() -> int:
    """Remove every placement group that a dead actor of this job left behind; returns how many. Ray must be running."""
    import ray
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    orphans = [
        PlacementGroup(ray.PlacementGroupID(group.placement_group_id))
        for group in _groups()
        if _of_our_actors(group) and group.creator_actor_dead
    ]
    for orphan in orphans:
        remove_placement_group(orphan)
    return len(orphans)


def _groups() -> list[Any]:
    """All groups of the cluster. Ray's public table does not say who made them."""
    import ray

    accessor = ray._private.state.state._connect_and_get_accessor()
    return [_tables().PlacementGroupTableData.FromString(row) for row in accessor.get_placement_group_table()]


def _of_our_actors(group: Any) -> bool:
    """Whether an actor of this job made a group, and it is still there."""
    import ray

    ours = group.creator_job_id.hex() == ray.get_runtime_context().get_job_id()
    made_by_an_actor = is_an_actor(group.creator_actor_id)
    there = group.state != _tables().PlacementGroupTableData.PlacementGroupState.REMOVED
    return bool(ours and made_by_an_actor and there and not group.is_detached)


def is_an_actor(creator: bytes) -> bool:
    """Whether the id of a group's creator is that of an actor, and not of a driver."""
    return not creator.startswith(NO_ACTOR)


def _tables() -> Any:
    from ray.core.generated import gcs_pb2

    return gcs_pb2
