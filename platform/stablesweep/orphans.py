"""Placement groups that outlive the process that made them, which hold CPUs and GPUs for nothing."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

LOOK_EVERY_S = 5.0
NO_ACTOR = b"\xff"
"""The bytes of the creator's id where a driver made the group itself."""

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def orphans_removed() -> Iterator[None]:
    """Remove this job's orphaned placement groups now and then while the block runs, and once after it.

    Ray Train frees a group in the process that made it. If that is killed, Ray keeps the group until the whole job ends, and
    Ray Train's own cleaner needs the Ray dashboard.
    """
    done = threading.Event()

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
        _try_to_remove()


def _try_to_remove() -> None:
    try:
        remove_orphans()
    except Exception:  # a Ray that is gone holds nothing any more
        logger.info("orphaned placement groups could not be looked for", exc_info=True)


def remove_orphans() -> int:
    """Remove every placement group that a dead actor of this job left behind; returns how many. Ray must be running."""
    import ray
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    orphans = [
        PlacementGroup(ray.PlacementGroupID(group.placement_group_id)) for group in _groups() if _orphaned(group)
    ]
    for orphan in orphans:
        remove_placement_group(orphan)
    return len(orphans)


def _groups() -> list[Any]:
    """All groups of the cluster. Ray's public table does not say who made them."""
    import ray

    accessor = ray._private.state.state._connect_and_get_accessor()
    return [_tables().PlacementGroupTableData.FromString(row) for row in accessor.get_placement_group_table()]


def _orphaned(group: Any) -> bool:
    import ray

    ours = group.creator_job_id.hex() == ray.get_runtime_context().get_job_id()
    made_by_an_actor = not group.creator_actor_id.startswith(NO_ACTOR)
    there = group.state != _tables().PlacementGroupTableData.PlacementGroupState.REMOVED
    return bool(ours and made_by_an_actor and group.creator_actor_dead and there and not group.is_detached)


def _tables() -> Any:
    from ray.core.generated import gcs_pb2

    return gcs_pb2
