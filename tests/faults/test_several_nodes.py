"""A cluster that grows while a study runs, and a pack that spans two nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stablesweep.record import TrialState
from tests.faults.harness import WORKER, FaultyStudy, Results, States, assert_same_results
from tests.ray_cluster import RayCluster

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

PACKS_OF_TWO = ("--set", "pack.size=2")


@pytest.fixture
def empty_cluster() -> Iterator[RayCluster]:
    """A head that has no CPU to train on."""
    with RayCluster(cpus=0) as cluster:
        yield cluster


def training(states: States) -> list[TrialState]:
    return [state for state in states.values() if state.status == "running" and state.last_epoch]


def test_a_study_waits_for_nodes_and_uses_those_that_join(
    study: FaultyStudy, reference: Results, empty_cluster: RayCluster
) -> None:
    refused = study.ends(study.start(*PACKS_OF_TWO, **empty_cluster.variables), code=2)
    assert "Ray has 0 and 0; lower pack.cpus, pack.gpus or pack.workers, add nodes, or wait for them" in refused

    # Long enough for the processes of a second pack to start meanwhile.
    study.set_pause(5.0)
    process = study.start(*PACKS_OF_TWO, "--wait-for-nodes", **empty_cluster.variables)
    empty_cluster.add_node(cpus=1)
    study.wait(process, lambda states: bool(training(states)))
    assert len({state.pack for state in training(study.states())}) == 1, "one CPU trains one pack at a time"

    empty_cluster.add_node(cpus=1)
    study.wait(process, lambda states: len({state.pack for state in training(states)}) == 2)
    study.set_pause(0)
    study.ends(process, code=0)
    assert_same_results(study, reference)


def test_a_pack_of_two_workers_spans_two_nodes(study: FaultyStudy, tmp_path: Path) -> None:
    two_workers = ("--set", "pack.workers=2")
    with RayCluster(cpus=1) as cluster:
        cluster.add_node(cpus=1)
        study.set_pause(1.0)
        process = study.start(*two_workers, **cluster.variables)
        for node in cluster.nodes:
            study.wait_for_process(process, WORKER, node.process.pid)
        study.set_pause(0)
        study.ends(process, code=0)
    together = FaultyStudy(tmp_path / "together")
    try:
        together.run(*two_workers)
        apart, alike = study.exported(), together.exported()
    finally:
        together.end_all()
    assert apart.trials.equals(alike.trials)
    assert apart.curves.equals(alike.curves)
