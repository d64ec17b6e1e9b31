"""SIGKILL for the processes of Ray that stand between the driver and the workers."""

import os

import pytest

from tests.faults.harness import FaultyStudy, Results, assert_same_results, assert_trained_once, some_epochs

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

TUNE_TRIAL = "ray::ImplicitFunc"
MAILBOX = "ray::_Mailbox"


def test_a_pack_whose_driving_process_is_killed_is_taken_up_again(study: FaultyStudy, reference: Results) -> None:
    # All CPUs for one pack: resources that the killed process left behind would keep it waiting.
    process = study.start("--set", f"pack.cpus={os.cpu_count()}")
    study.wait(process, some_epochs)
    study.wait_for_process(process, TUNE_TRIAL).kill()
    study.set_pause(0)
    study.ends(process, 0)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)


def test_without_its_mailbox_a_run_ends_with_a_sentence_and_loses_nothing(
    study: FaultyStudy, reference: Results
) -> None:
    process = study.start()
    study.wait(process, some_epochs)
    study.wait_for_process(process, MAILBOX).kill()
    printed = study.ends(process, 1)
    assert "run the same command again to continue" in printed
    assert not study.statuses()["lost"]

    study.run()
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)
