"""Ctrl-C on the real command, once and twice, and a driver that is killed; and what continuing gives."""

import os
import signal
import time

import pytest

import stablesweep as ss
from tests.faults.harness import (
    NAME,
    TRIALS,
    FaultyStudy,
    Results,
    assert_same_results,
    assert_trained_once,
    first_pack_is_done,
    some_epochs,
)
from tests.faults.processes import wait_for_end

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

ONE_AT_A_TIME = ("--set", "pack.size=2", "--set", f"pack.cpus={os.cpu_count()}")


def test_a_stopped_study_continues_to_the_same_bits(study: FaultyStudy, reference: Results) -> None:
    process = study.start(*ONE_AT_A_TIME)
    study.wait(process, first_pack_is_done)
    os.killpg(process.pid, signal.SIGINT)
    assert "run the same command again to continue" in study.ends(process, 130)
    stopped = ss.load(NAME, study.home.path).trials.to_pylist()
    finished = {row["key"]: row for row in stopped if row["status"] in ("completed", "diverged")}
    assert 2 <= len(finished) < TRIALS, "the stop came too late to test anything"
    assert {row["status"] for row in stopped if row["key"] not in finished} == {"pending"}

    study.run(*ONE_AT_A_TIME)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=0)
    for row in ss.load(NAME, study.home.path).trials.to_pylist():
        if row["key"] in finished:
            assert row == finished[row["key"]], "a finished trial was run again"


def test_ctrl_c_twice_stops_at_once_and_leaves_nothing(study: FaultyStudy, reference: Results) -> None:
    process = study.start()
    study.wait(process, some_epochs)
    # The clean stop waits for the evaluation that a worker is in: after a second, for one that outlasts the next second.
    study.set_pause(5)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    assert "Stopped at once; run the same command again to continue." in study.ends(process, 130)
    wait_for_end(process.pid)
    assert not study.statuses()["lost"]

    study.run()
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)


def test_a_killed_driver_leaves_nothing_and_is_continued(study: FaultyStudy, reference: Results) -> None:
    process = study.start()
    study.wait(process, some_epochs)
    process.kill()
    process.wait()

    study.run()
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)
    # Ray's agents go last: they try for a minute to tell a head that is gone why they end.
    wait_for_end(process.pid, within_s=120)
