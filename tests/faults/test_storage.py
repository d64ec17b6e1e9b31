"""The disk is full, or a checkpoint is damaged, while a study runs: it goes on or says why, and continues to the same bits."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.harness import NAME, PATIENCE_S, FaultyStudy, Results, assert_same_results, some_epochs
from tests.full_disk import files_in, fill, small_disk

pytestmark = [pytest.mark.faults, pytest.mark.cluster]


def test_no_room_for_the_ledger(study: FaultyStudy, reference: Results) -> None:
    with small_disk(study.home.path, 40) as disk:
        filler = fill(disk)
        # Room for the folder and the lock, not for a ledger.
        said = study.run(code=1)
        assert said.count("Error: ") == 1
        assert "free some space or change --home" in said
        assert {Path(name).name for name in files_in(disk)} <= {"filler", "run.lock"}
        filler.unlink()
        study.run()
        assert_same_results(study, reference)


def test_no_room_for_checkpoints(study: FaultyStudy, reference: Results) -> None:
    with small_disk(study.home.study(NAME).packs, 1) as disk:
        fill(disk)
        said = study.run()
        assert "a checkpoint cannot be written (" in said
    assert_same_results(study, reference)


def test_a_home_that_fills_up_while_a_study_runs(study: FaultyStudy, reference: Results) -> None:
    with small_disk(study.home.path, 60) as disk:
        running = study.start()
        study.wait(running, some_epochs)
        filler = fill(disk)
        give_up = time.monotonic() + PATIENCE_S
        while "cannot be written" not in study.printed() and running.poll() is None and time.monotonic() < give_up:
            time.sleep(0.2)
        assert "cannot be written" in study.printed()
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGINT)
        code = running.wait(200)
        assert code in (1, 2, 130), study.printed()
        assert "Traceback" not in study.printed()
        filler.unlink()
        study.run()
        assert_same_results(study, reference)


@pytest.mark.parametrize("damage", ["truncated", "a bit"])
def test_a_damaged_checkpoint(study: FaultyStudy, reference: Results, damage: str) -> None:
    running = study.start()
    study.wait(running, some_epochs)
    os.killpg(running.pid, signal.SIGINT)
    study.ends(running, 130)
    checkpoints = sorted(study.home.study(NAME).packs.glob("*/*.pt"), key=lambda path: int(path.name.partition("-")[0]))
    assert len(checkpoints) == 2
    newest = checkpoints[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content if damage == "a bit" else content[: len(content) // 2])
    said = study.run()
    assert newest.name in said
    assert_same_results(study, reference)
