import io
import random
import time
from collections import Counter

import pytest
from rich.console import Console

from stablesweep import progress_view
from stablesweep.messages import EpochDone, PackTimed, TrialEnded, TrialStarted
from stablesweep.progress import Progress
from stablesweep.progress_view import format_line, shown
from stablesweep.record import TrialState
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


def test_counts_kept_with_every_message_are_those_of_a_recount() -> None:
    chance = random.Random(0)
    statuses = ("completed", "diverged", "failed", "lost", "pruned")
    states = [
        TrialState(trained_in=None, 
            key=trial.key, pack="p", started=0.0, status=status, error=3.0 if status == "completed" else None,
            best_error=None, epochs_done=2, seconds=1.0, reason=None, run_id=None, published="", published_epoch=0, last_epoch=1,
        )
        for trial, status in zip(TRIALS, ("completed", "pending", "lost"), strict=False)
    ]  # fmt: skip
    progress = Progress(TRIALS, states)
    status = {state.key: state.status for state in states if state.status != "pending"}
    errors, epochs = {states[0].key: 3.0}, Counter[str]()
    for _ in range(500):
        key = chance.choice(TRIALS).key
        kind = chance.choice(("start", "epoch", "end") if chance.random() < 0.1 else ("start", "epoch"))
        if kind == "start":
            progress.note([TrialStarted(key=key, pack="p", started=0.0)])
            status.setdefault(key, "running")
        elif kind == "epoch":
            number = chance.randint(1, 2)
            progress.note([epoch(key, number)])
            epochs[key] = max(epochs[key], number)
        else:
            end = TrialEnded(
                key=key, status=chance.choice(statuses), error=chance.choice((None, 100 * chance.random()))
            )
            progress.note([end])
            if status.get(key, "running") == "running":
                status[key] = end.status
                errors |= {} if end.error is None else {key: end.error}
        for arm in progress.snapshot().arms:
            own = [trial for trial in TRIALS if trial.arm == arm.arm]
            found = [status.get(trial.key, "pending") for trial in own]
            ended = [one not in ("pending", "running") for one in found]
            assert (arm.total, arm.finished, arm.running) == (len(own), sum(ended), found.count("running"))
            assert (arm.diverged, arm.failed) == (found.count("diverged"), found.count("failed") + found.count("lost"))
            assert arm.best == min((errors[trial.key] for trial in own if trial.key in errors), default=None)
            done = [trial.epochs if end else epochs[trial.key] for trial, end in zip(own, ended, strict=True)]
            assert (arm.epochs, arm.epochs_done) == (sum(trial.epochs for trial in own), sum(done))
    assert set(statuses) <= set(status.values())


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
