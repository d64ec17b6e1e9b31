"""The process in which Ray Train asks for nodes, started before the first workers are: each group of them would wait for it."""

import contextlib
import logging
from typing import Any

logger = logging.getLogger(__name__)


def start_coordinator(node: dict[str, float]) -> None:
    """Have it started, which takes seconds; does not wait for it. Ray has to run.

    Args:
        node: Resources of the node where it is to be: that of the processes which drive workers.
    """
    import ray

    # Where this fails, Ray Train starts the process as ever. Nobody asks for the task's answer.
    try:
        start: Any = ray.remote(num_cpus=0, resources=node, max_retries=0)(_start_coordinator)
        start.remote()
    except Exception as error:  # noqa: BLE001 - whatever it is, the study can be trained without
        logger.info("Ray Train's coordinator was not started early: %s", error)


def _start_coordinator() -> None:
    # Ray has no public name for it; a version that is built in another way does without.
    with contextlib.suppress(Exception):
        from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as ray_module

        start: Any = ray_module.get_or_create_autoscaling_coordinator
        start()
