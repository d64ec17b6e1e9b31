"""SIGKILL for the process that trains a pack."""

import pytest

from tests.faults.harness import WORKER, FaultyStudy, Results, assert_same_results, assert_trained_once, some_epochs

pytestmark = [pytest.mark.cluster, pytest.mark.faults]


def test_a_killed_worker_is_replaced_and_goes_on_from_its_checkpoint(study: FaultyStudy, reference: Results) -> None:
    process = study.start()
    study.wait(process, some_epochs)
    study.wait_for_process(process, WORKER).kill()
    study.set_pause(0)
    study.ends(process, 0)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)
