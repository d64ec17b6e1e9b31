"""Faults on a cluster that is joined and that outlives the run: a node dies, and nothing may be left holding resources."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.harness import (
    WORKER,
    FaultyStudy,
    Results,
    assert_same_results,
    assert_trained_once,
    some_epochs,
    two_packs_train,
)
from tests.ray_cluster import Node, RayCluster

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

LOOK = """
import json, time, ray
from ray.util import placement_group_table

ray.init(log_to_driver=False)
give_up = time.monotonic() + {patience_s}
while True:
    total, free = (one().get("CPU", 0.0) for one in (ray.cluster_resources, ray.available_resources))
    groups = [group["state"] for group in placement_group_table().values() if group["state"] != "REMOVED"]
    if (total and total == free and not groups) or time.monotonic() > give_up:
        break
    time.sleep(0.5)
print(json.dumps({{"cpus": total, "held": total - free, "groups": groups}}))
"""


def look(cluster: RayCluster, patience_s: float = 30) -> dict[str, Any]:
    """All CPUs of a cluster, those that are held, and the states of placement groups, once free or after a while."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(patience_s=patience_s)],
        env={**os.environ, **cluster.variables},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class WithoutDashboard(RayCluster):
    """A head alone, without the process that would also clean up after Ray Train."""

    def start_head(self) -> Node:
        """Start the head and wait until its CPUs are there."""
        head = self._start(
            "--head",
            *("--port", str(self.port), "--num-cpus", str(self._cpus), "--include-dashboard", "false"),
            *("--temp-dir", str(self.folder / "ray")),
        )
        self._wait(lambda: bool(look(self)["cpus"]), head)
        return head


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(cpus=1) as running:
        yield running


@pytest.fixture(scope="module")
def without_dashboard() -> Iterator[RayCluster]:
    with WithoutDashboard(cpus=1) as running:
        yield running


@pytest.mark.parametrize("which", ["cluster", "without_dashboard"])
def test_stopped_and_failed_runs_leave_nothing_held(
    which: str, request: pytest.FixtureRequest, study: FaultyStudy, reference: Results
) -> None:
    cluster: RayCluster = request.getfixturevalue(which)
    nodes = [node.process.pid for node in cluster.nodes]
    process = study.start(**cluster.variables)
    study.wait(process, some_epochs)
    process.send_signal(signal.SIGTERM)
    study.ends(process, 130)
    assert not study.statuses()["lost"]
    assert look(cluster) == {"cpus": 1, "held": 0, "groups": []}

    process = study.start("--set", "pack.max_failures=0", **cluster.variables)
    study.wait_for_process(process, WORKER, *nodes)
    study.wait(process, lambda states: any(state.status == "running" for state in states.values()))
    study.wait_for_process(process, WORKER, *nodes).kill()
    study.ends(process, 1)
    assert study.statuses()["lost"]
    assert look(cluster) == {"cpus": 1, "held": 0, "groups": []}

    study.set_pause(0)
    study.ends(study.start("--retry-lost", **cluster.variables), 0)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)


def test_the_pack_of_a_killed_node_moves_to_another(
    cluster: RayCluster, study: FaultyStudy, reference: Results
) -> None:
    second = cluster.add_node(cpus=1)
    # One pack on each node; slow enough that both train when the node dies.
    study.set_pause(1)
    process = study.start("--set", "pack.size=2", **cluster.variables)
    study.wait(process, two_packs_train)
    study.wait_for_process(process, WORKER, second.process.pid)
    second.kill()
    study.set_pause(0)
    study.ends(process, 0)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)
