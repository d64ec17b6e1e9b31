"""Drawing progress: a live table on a terminal, a line now and then in a log file."""

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dashboards.formats import duration
from stablesweep.progress import ArmProgress, Progress, Snapshot

REFRESH_S = 0.5
LINE_EVERY_S = 15.0


def format_line(snapshot: Snapshot) -> str:
    """One line for a log file."""
    total = snapshot.total
    clock = f"[{int(snapshot.elapsed_s) // 60:02d}:{int(snapshot.elapsed_s) % 60:02d}]"
    parts = [f"{clock} {total.percent:3d} %, {total.finished}/{total.total} trials done", f"{total.running} running"]
    parts.append(f"{total.diverged} diverged")
    if total.failed:
        parts.append(f"{total.failed} failed or lost")
    if total.best is not None:
        parts.append(f"best error {total.best:.2f} % ({total.arm})")
    parts.append(_left(snapshot))
    return ", ".join(part for part in parts if part)


def _left(snapshot: Snapshot) -> str:
    if snapshot.stopping:
        return "stopping after a checkpoint"
    total = snapshot.total
    if total.finished == total.total:
        return ""
    return "starting" if snapshot.left_s is None else f"about {duration(snapshot.left_s)} left"


def _table(name: str, snapshot: Snapshot) -> Table:
    table = Table(title=f"{name}: {format_line(snapshot)}", title_justify="left", title_style="", expand=False)
    table.add_column("arm")
    for heading in ("trained", "done", "running", "diverged", "failed", "best error"):
        table.add_column(heading, justify="right")
    for arm in snapshot.arms:
        table.add_row(*_cells(arm))
    return table


def _cells(arm: ArmProgress) -> list[str]:
    best = "" if arm.best is None else f"{arm.best:.2f} %"
    done = f"{arm.finished}/{arm.total}"
    return [arm.arm, f"{arm.percent} %", done, str(arm.running), str(arm.diverged), str(arm.failed), best]


@contextlib.contextmanager
def shown(name: str, progress: Progress, console: Console) -> Iterator[None]:
    """Show progress while the block runs: live on a terminal, else a line whenever something has changed."""
    done = threading.Event()
    draw = _draw_live if console.is_terminal else _print_lines
    thread = threading.Thread(
        target=draw, args=(name, progress, console, done), name="stablesweep-progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _draw_live(name: str, progress: Progress, console: Console, done: threading.Event) -> None:
    with Live(_table(name, progress.snapshot()), console=console, auto_refresh=False) as live:
        while not done.wait(REFRESH_S):
            live.update(_table(name, progress.snapshot()), refresh=True)
        live.update(_table(name, progress.snapshot()), refresh=True)


def _print_lines(name: str, progress: Progress, console: Console, done: threading.Event) -> None:
    last_counts, last_at = None, 0.0
    while not done.wait(REFRESH_S):
        snapshot = progress.snapshot()
        if snapshot.arms != last_counts and time.monotonic() - last_at >= LINE_EVERY_S:
            _print(console, format_line(snapshot))
            last_counts, last_at = snapshot.arms, time.monotonic()
    snapshot = progress.snapshot()
    if snapshot.arms != last_counts:
        _print(console, format_line(snapshot))


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
