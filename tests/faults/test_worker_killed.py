"""SIGKILL for the process that trains a pack: once, and more often than a pack is taken up again."""

import html
import os
import time
from collections import Counter

import pytest
from click.testing import CliRunner

from stablesweep.cli import main
from tests.faults.harness import (
    NAME,
    TRIALS,
    WORKER,
    FaultyStudy,
    Results,
    assert_same_results,
    assert_trained_once,
    epochs_recorded,
    some_epochs,
    two_packs_train,
)

pytestmark = [pytest.mark.cluster, pytest.mark.faults]


def test_a_killed_worker_is_replaced_and_goes_on_from_its_checkpoint(study: FaultyStudy, reference: Results) -> None:
    process = study.start()
    study.wait(process, some_epochs)
    study.wait_for_process(process, WORKER).kill()
    study.set_pause(0)
    study.ends(process, 0)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)


def test_workers_that_die_in_their_second_pack_are_replaced_without_counting(
    study: FaultyStudy, reference: Results
) -> None:
    """The workers of the first pack train the second. What they trained before may have killed them."""
    options = ("pack.size=2", f"pack.cpus={os.cpu_count()}", "pack.spread=true", "pack.max_failures=0")
    process = study.start(*(part for option in options for part in ("--set", option)))
    first = study.wait_for_process(process, WORKER).pid
    study.wait(process, two_packs_train)
    second = study.wait_for_process(process, WORKER)
    assert second.pid == first
    second.kill()
    study.set_pause(0)
    study.ends(process, 0)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=1)


def test_workers_that_die_while_they_start(study: FaultyStudy, reference: Results) -> None:
    """Ray Train takes some of these deaths for failures of its own, after which it does not go on."""
    after_s = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    process = study.start("--set", f"pack.max_failures={len(after_s)}")
    seen: set[int] = set()
    for seconds in after_s:
        worker = study.wait_for_process(process, WORKER, but=seen)
        seen.add(worker.pid)
        time.sleep(seconds)
        worker.kill()
    study.set_pause(0)
    study.ends(process, 0)
    assert_same_results(study, reference)


def test_after_too_many_deaths_trials_are_lost_until_they_are_asked_for(study: FaultyStudy, reference: Results) -> None:
    process = study.start("--set", "pack.max_failures=1")
    before = epochs_recorded(study.wait(process, some_epochs))
    study.wait_for_process(process, WORKER).kill()
    # The next worker has gone on by an epoch that the record did not have.
    study.wait(process, lambda states: epochs_recorded(states) > before + TRIALS)
    study.wait_for_process(process, WORKER).kill()
    printed = study.ends(process, 1)

    lost = {key: state for key, state in study.states().items() if state.status == "lost"}
    diverged = {key: state for key, state in study.states().items() if state.status == "diverged"}
    assert lost
    assert diverged
    assert len(lost) + len(diverged) == TRIALS
    (reason,) = {state.reason for state in lost.values()}
    assert reason is not None
    assert "worker" in reason
    assert "died" in reason or "killed" in reason
    assert f"{len(lost)} trials were lost ({reason}); `run --retry-lost` trains them again." in printed
    assert shown_by_status(study) == Counter(lost=len(lost), diverged=len(diverged))
    assert html.escape(reason) in study.home.study(NAME).report.read_text()

    # Without the option nothing changes.
    study.run(code=1)
    assert study.statuses() == Counter(lost=len(lost), diverged=len(diverged))
    study.run("--retry-lost")
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=2)
    after = study.states()
    assert {key: (after[key].started, after[key].run_id) for key in diverged} == {
        key: (state.started, state.run_id) for key, state in diverged.items()
    }, "a diverged trial was trained again"


def shown_by_status(study: FaultyStudy) -> Counter[str]:
    """The counts that ``stablesweep status`` shows of all arms, without those that are zero."""
    shown = CliRunner().invoke(main, ["status", NAME, "--home", str(study.home.path)]).output.splitlines()
    names = next(line for line in shown if line.startswith("arm")).split()
    counts = next(line for line in shown if line.startswith("all")).split()
    pairs = list(zip(names, counts, strict=True))[2:]
    return Counter({name: int(count) for name, count in pairs if int(count)})
