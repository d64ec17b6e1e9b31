import io
import time

import pytest
from rich.console import Console

from stablesweep import progress_view
from stablesweep.messages import EpochDone, PackTimed, TrialEnded, TrialStarted
from stablesweep.progress import Progress
from stablesweep.progress_view import format_line, shown
from stablesweep.trials import plan_trials
from tests.support import small_study

TRIALS = plan_trials(small_study())


def epoch(key: str, number: int, seconds: float = 2.0) -> EpochDone:
    return EpochDone(key=key, epoch=number, train_loss=1.0, error=50.0, lr=0.1, seconds=seconds)


def test_progress_counts_what_the_messages_say() -> None:
    progress = Progress(TRIALS, [])
    keys = [trial.key for trial in TRIALS]
    progress.note([TrialStarted(key=key, pack="p", started=0.0) for key in keys[:4]])
    progress.note([epoch(keys[0], 1), epoch(keys[0], 2), TrialEnded(key=keys[0], status="completed", error=7.0)])
    progress.note([TrialEnded(key=keys[1], status="diverged"), TrialEnded(key=keys[2], status="failed")])
    progress.note([TrialEnded(key=keys[0], status="lost"), TrialEnded(key="no such trial", status="lost")])
    first, second = progress.snapshot().arms
    assert (first.arm, first.total, second.total) == ("vit_c_micro/sgd", 4, 4)
    assert (first.finished, first.running, first.diverged, first.failed, first.best) == (3, 1, 1, 1, 7.0)
    assert (first.epochs, first.epochs_done, first.percent) == (8, 6, 75)
    assert progress.begun() == {"p"}
    total = progress.snapshot().total
    assert (total.total, total.finished, total.best, total.arm) == (8, 3, 7.0, "vit_c_micro/sgd")


def test_the_time_left_is_the_epochs_left_at_the_arms_own_speed() -> None:
    progress = Progress(TRIALS, [])
    progress.concurrent = 2
    assert progress.snapshot().left_s is None
    sgd, adamw = ([t.key for t in TRIALS if t.optimizer == name] for name in ("sgd", "adamw"))
    progress.note([epoch(sgd[0], 1, seconds=1.0)])
    # 15 epochs are left; all are taken to be as fast as the one that was seen.
    assert progress.snapshot().left_s == pytest.approx(15 * 1.0 / 2)
    progress.note([epoch(adamw[0], 1, seconds=3.0)])
    assert progress.snapshot().left_s == pytest.approx((7 * 1.0 + 7 * 3.0) / 2)


def test_worker_seconds_add_up() -> None:
    progress = Progress(TRIALS, [])
    progress.note([PackTimed(pack="p", training=1.0, evaluation=0.5), PackTimed(pack="q", training=2.0)])
    assert progress.timing == {"training": 3.0, "evaluation": 0.5, "checkpoints": 0.0}


def test_a_line_says_all_that_matters() -> None:
    progress = Progress(TRIALS, [])
    progress.note([TrialStarted(key=TRIALS[0].key, pack="p", started=0.0), epoch(TRIALS[0].key, 1)])
    assert "6 %, 0/8 trials done, 1 running, 0 diverged, about 30 s left" in format_line(progress.snapshot())
    progress.note([TrialEnded(key=TRIALS[0].key, status="completed", error=7.123)])
    assert "best error 7.12 % (vit_c_micro/sgd)" in format_line(progress.snapshot())
    progress.stop.set()
    assert "stopping after a checkpoint" in format_line(progress.snapshot())


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_a_live_table_and_a_file_gets_lines(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_view, "REFRESH_S", 0.05)
    monkeypatch.setattr(progress_view, "LINE_EVERY_S", 0.1)
    text = io.StringIO()
    progress = Progress(TRIALS, [])
    begun = time.monotonic()
    with shown("small", progress, Console(file=text, force_terminal=terminal, width=120)):
        for trial in TRIALS:
            progress.note([TrialStarted(key=trial.key, pack="p", started=0.0)])
            progress.note([TrialEnded(key=trial.key, status="completed", error=9.0)])
            time.sleep(0.1)
    output = text.getvalue()
    assert "8/8 trials done" in output
    if terminal:
        assert "vit_p_micro/adamw" in output
        assert "\x1b[" in output
    else:
        assert "\x1b" not in output
        assert 2 <= len(output.splitlines()) <= (time.monotonic() - begun) / 0.1 + 2
