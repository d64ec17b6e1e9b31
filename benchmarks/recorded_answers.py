"""How long a worker waits for the mailbox's answer after an epoch, on a real Ray: a part of ``benchmarks/record.py``."""

import statistics
import time
from datetime import UTC, datetime
from typing import Any

import ray
from hardware import cores

from stablesweep.mailbox import Mailbox
from stablesweep.messages import EpochDone
from stablesweep.outbox import ANSWER_WITHIN_S, Outbox
from stablesweep.ray_session import ray_session
from stablesweep.recorder import POLL_S

MEMBERS = 24
"""Trials of a pack, as in the quickstart."""
BETWEEN_S = 0.1
"""So long a worker computes before it reports again."""
COLUMNS = ("date", "hardware", "workers x epochs", "wait, median", "95 % wait at most", "longest wait")


@ray.remote(num_cpus=1)
def _report(actor: Any, number: int, epochs: int) -> list[float]:
    """What a worker does after each epoch, and how many seconds that takes; in between it keeps its core busy."""
    outbox, seconds = Outbox(actor), []
    for epoch in range(1, epochs + 1):
        until = time.perf_counter() + BETWEEN_S
        while time.perf_counter() < until:
            sum(range(1000))
        told = [
            EpochDone(key=f"{number}/{member}", epoch=epoch, train_loss=1.0, error=50.0, lr=0.1, seconds=0.1)
            for member in range(MEMBERS)
        ]
        began = time.perf_counter()
        outbox.send(told)
        outbox.stop_requested(ANSWER_WITHIN_S)
        seconds.append(time.perf_counter() - began)
    return seconds


def answer_times(epochs: int, hardware: str) -> str:
    """A Markdown row under ``COLUMNS``: one worker a core reports so many epochs, while the driver fetches what is there as the recorder does."""
    with ray_session():
        mailbox = Mailbox()
        workers = [_report.remote(mailbox.actor, number, epochs) for number in range(cores())]
        left = workers
        while left:
            _, left = ray.wait(workers, num_returns=len(workers), timeout=POLL_S)
            mailbox.drain()
        seconds = sorted(second for found in ray.get(workers) for second in found)
    shown = (statistics.median(seconds), seconds[len(seconds) * 95 // 100], seconds[-1])
    cells = [f"{datetime.now(UTC):%Y-%m-%d}", hardware, f"{len(workers)} x {epochs}"]
    return f"| {' | '.join([*cells, *(f'{1000 * one:.1f} ms' for one in shown)])} |"
