"""How long all statistics of a large study take, and how much memory: ``python benchmarks/analysis.py``.

Makes up a study of 100,000 trials of 50 epochs in 8 arms and prints Markdown rows: each statistic, the whole report in a fresh
process, and the refresh of an unchanged copy of as large a study of 6 arms in an SQLite tracking store, which another process
writes (``--no-refresh`` leaves that out: it takes minutes to write). Run it on a machine that does nothing else; POSIX only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import sync
from hardware import machine
from made_up import made_up
from own_use import Seconds, in_words, peak_mib, timed

from dashboards.figures.points import LEARNING_RATE
from dashboards.report.page import render_report
from dashboards.selection import STABILITY, arms_of
from dashboards.space.divergence import diverged_shares
from dashboards.space.importance import evaluated_importances
from dashboards.space.maps import setting_map
from dashboards.space.positions import positions
from dashboards.space.regions import best_regions
from dashboards.statistics.best_of_n import best_of_n
from dashboards.statistics.bootstrap import pointwise_band
from dashboards.statistics.compare import verdicts
from dashboards.statistics.convergence import convergence
from dashboards.statistics.edfs import every_edf
from dashboards.statistics.leaderboard import leaderboard
from dashboards.statistics.optimizer_gap import optimizer_gap
from dashboards.statistics.steepness import steepness_table
from dashboards.summary import summarize
from dashboards.tracking.snapshot import Snapshot
from dashboards.tracking.study import StudyRecord, list_studies

ARMS = tuple(f"{model}/{optimizer}" for model in ("cnn", "vit_c", "vit_h", "vit_p") for optimizer in ("adamw", "sgd"))
PARTS = ("statistics", "report", "refresh")
ARMS_OF = {"statistics": len(ARMS), "report": len(ARMS), "refresh": len(sync.ARMS)}
REFRESHES = 3

Timed = dict[str, Seconds]


def load_libraries() -> None:
    """What the first statistic of a process waits for."""
    for name in ("scipy.stats", "sklearn.ensemble", "plotly.graph_objects"):
        import_module(name)


def statistics(record: StudyRecord) -> dict[str, Callable[[], object]]:
    """By name, in the order in which they are measured; the last one does nearly all of them together."""
    trials = record.trials
    arms = [name.arm for name in arms_of(trials)]
    edfs, where = every_edf(trials), positions(record)
    return {
        "EDFs with simultaneous bands": lambda: every_edf(trials),
        "pointwise bands": lambda: [pointwise_band(edf, edf.x) for edf in edfs.values()],
        "steepness": lambda: steepness_table(trials),
        "comparisons": lambda: verdicts(trials),
        "optimizer gap": lambda: optimizer_gap(trials),
        "leaderboard": lambda: leaderboard(trials),
        "best of n": lambda: best_of_n(trials),
        "positions, best regions": lambda: best_regions(positions(record)),
        "divergence and maps": lambda: [
            diverged_shares(where, LEARNING_RATE),
            *(setting_map(where, arm) for arm in arms),
        ],
        "importance": lambda: [evaluated_importances(where, arm) for arm in arms],
        "convergence": lambda: convergence(trials, record.curves, STABILITY),
        "summarize: all of these but pointwise bands and convergence": lambda: summarize(record),
    }


def measure_statistics(trials: int, epochs: int) -> Timed:
    """Each statistic, after the libraries are loaded."""
    record = made_up(trials, ARMS, epochs)
    seconds = {"loading the libraries": timed(load_libraries)}
    return seconds | {name: timed(work) for name, work in statistics(record).items()}


def measure_report(trials: int, epochs: int) -> Timed:
    """The report with all statistics in a fresh process, libraries included."""
    record = made_up(trials, ARMS, epochs)
    return {"the report, all statistics in it, from a fresh process": timed(lambda: render_report(record))}


def built(folder: Path, trials: int, epochs: int) -> str:
    """The tracking URI of a new store with such a study in ``folder``.

    Raises:
        concurrent.futures.process.BrokenProcessPool: If the process that writes it dies.
    """
    # What writing takes would be the peak memory of whoever reads it afterwards.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(sync.build, folder, trials, epochs).result()


def measure_refresh(trials: int, epochs: int) -> Timed:
    """A copy of a study on a tracking server that is brought up to date although nothing changed."""
    with tempfile.TemporaryDirectory() as folder:
        uri = built(Path(folder), trials, epochs)
        # Whoever asks MLflow first waits for its libraries.
        list_studies(uri)
        copies = Path(folder) / "copies"
        snapshot = Snapshot(uri, sync.STUDY, copies)
        seconds = {"first copy from SQLite": timed(snapshot.refresh)}
        again = [timed(snapshot.refresh) for _ in range(REFRESHES)]
        seconds[f"refresh of the unchanged copy, the shortest of {REFRESHES}"] = min(again)
        fresh = Snapshot(uri, sync.STUDY, copies)
        return seconds | {"the same from disk, in a new reader": timed(fresh.refresh)}


MEASURES = dict(zip(PARTS, (measure_statistics, measure_report, measure_refresh), strict=True))


def run_part(part: str, trials: int, epochs: int) -> tuple[Timed, float]:
    """``part`` in a process of its own: its seconds, and its peak memory in GiB with the study in it."""
    command = [sys.executable, __file__, "--part", part, "--trials", str(trials), "--epochs", str(epochs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: Seconds(*seconds) for name, seconds in found["seconds"].items()}, float(found["peak"])


def main() -> None:
    """Measure each part in a process of its own, print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--no-refresh", action="store_true", help="leave the tracking store out")
    parser.add_argument("--part", choices=PARTS, help="measure this one in this process and print JSON")
    options = parser.parse_args()
    if options.part:
        measured = MEASURES[options.part](options.trials, options.epochs)
        print(json.dumps({"seconds": measured, "peak": peak_mib() / 2**10}))
        return
    parts = PARTS[:2] if options.no_refresh else PARTS
    arms = ", ".join(f"{part}: {ARMS_OF[part]} arms" for part in parts)
    print(f"{options.trials} trials x {options.epochs} epochs; {arms}; {machine()}\n")
    print("| what | seconds | CPU seconds | peak memory of its process, study included |\n|---|---|---|---|")
    for part in parts:
        found, peak = run_part(part, options.trials, options.epochs)
        for name, seconds in found.items():
            print(f"| {name} | {in_words(seconds.wall_s)} | {in_words(seconds.cpu_s)} | {peak:.2f} GiB |", flush=True)


if __name__ == "__main__":
    main()
