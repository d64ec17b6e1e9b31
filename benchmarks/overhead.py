"""What a sweep costs beside the training itself: ``python benchmarks/overhead.py``.

The quickstart's trials by this platform, by a Tune trial with a TorchTrainer for each draw as Ray's guide shows it, by a bare
Python loop in as many processes as there are cores, and by Optuna with as many threads. Needs the extra ``benchmarks``.
Prints Markdown rows for ``benchmarks/RESULTS.md``, and which goals were reached; ratios are of one run. Peak memory is the largest
sum of the proportional set sizes of all processes, looked at once a second. Optuna's threads share torch's global generator, so
that the order in which they draw from it is another one each time. Run it on a machine that does nothing else.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import yaml
from hardware import cores, machine
from overhead_ways import WAYS as OTHER_WAYS
from overhead_ways import Errors
from process_use import Use, measure
from train_alone import require_results

import stablesweep as ss

PLATFORM = "platform"
WAYS = (PLATFORM, *OTHER_WAYS)

ARMS = 4
"""Of the quickstart."""
TIMES_FASTER_THAN_GUIDE = 8.0
TIMES_THE_BARE_LOOP = 1.15
UNKNOWN = "unknown"
OF_THE_USER = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "STABLESWEEP_STORAGE")
"""They would send some of the ways elsewhere."""
COLUMNS = (
    *("way", "trials", "wall", "x the bare loop", "CPU", "peak memory", "trials an hour"),
    "other results than the bare loop's",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What one way used for some trials, and what it found."""

    way: str
    trials: int
    use: Use
    errors: Errors


def run(way: str, draws: int, settings: Sequence[str], folder: Path) -> Found:
    """The quickstart with so many draws in one way, in a process of its own with one thread for each process."""
    study = ss.load_study("quickstart", [f"phases.stability.draws={draws}", *settings])
    file, out = folder / f"{way}.yaml", folder / f"{way}.json"
    file.write_text(yaml.safe_dump(study.to_config(), sort_keys=False))
    command = [sys.executable, str(Path(__file__).with_name("overhead_ways.py")), way, str(file), str(out)]
    home = Path(tempfile.mkdtemp(dir=folder))
    if way == PLATFORM:
        # As users run it: Ray, packs, MLflow, report.
        command = [sys.executable, "-m", "stablesweep", "run", str(file), "--home", str(home)]
    use = measure(command, {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"})
    errors = _errors(study.name, home) if way == PLATFORM else json.loads(out.read_text())
    return Found(way=way, trials=draws * ARMS, use=use, errors=errors)


def _errors(study: str, home: Path) -> Errors:
    trials = ss.load(study, home).trials
    require_results(set(trials["status"].to_pylist()))
    return dict(zip(trials["key"].to_pylist(), trials["error"].to_pylist(), strict=True))


def differing(errors: Errors, expected: Errors) -> int:
    """How many trials have another final error than they should, to the bit."""
    return sum(errors.get(key, -1.0) != value for key, value in expected.items())


def row(found: Found, bare: Found | None) -> str:
    """A row of the table; what needs the bare loop of as many trials is unknown where that was not run."""
    use, trials = found.use, found.trials
    times = UNKNOWN if bare is None else f"{use.wall_s / bare.use.wall_s:.2f} x"
    other = UNKNOWN if bare is None else str(differing(found.errors, bare.errors))
    cells = [found.way, str(trials), f"{use.wall_s:.0f} s", times, f"{use.cpu_s:.0f} s", f"{use.peak_mib:,.0f} MiB"]
    return f"| {' | '.join(cells)} | {3600 * trials / use.wall_s:,.0f} | {other} |"


def goals(trials: int, walls: Mapping[str, float]) -> list[str]:
    """A line for each goal that the wall clocks of some ways, in seconds, say something about."""
    lines = []
    if {"platform", "ray_guide"} <= walls.keys():
        times = walls["ray_guide"] / walls["platform"]
        goal = _goal(f"at least {TIMES_FASTER_THAN_GUIDE:g} x", times >= TIMES_FASTER_THAN_GUIDE)
        lines.append(f"{trials} trials: the platform is {times:.1f} x faster than a TorchTrainer a draw; {goal}.")
    if {"platform", "bare"} <= walls.keys():
        times = walls["platform"] / walls["bare"]
        goal = _goal(f"at most {TIMES_THE_BARE_LOOP:g} x", times <= TIMES_THE_BARE_LOOP)
        lines.append(f"{trials} trials: the platform takes {times:.2f} x the time of the bare loop; {goal}.")
    return lines


def _goal(what: str, reached: bool) -> str:
    return f"goal {what}, {'reached' if reached else 'missed'}"


def in_order(ways: Sequence[str], most: Mapping[str, int], trials: int) -> list[str]:
    """The ways that are run with so many trials; the bare loop first, as the others are compared with it."""
    chosen = [way for way in ways if trials <= most.get(way, trials)]
    return sorted(chosen, key=lambda way: way != "bare")


@click.command(help=__doc__)
@click.option("--trials", "counts", multiple=True, type=click.IntRange(ARMS), default=(16, 64, 256), show_default=True)
@click.option("--way", "ways", multiple=True, type=click.Choice(WAYS), default=WAYS, show_default=True)
@click.option("--most", multiple=True, type=(click.Choice(WAYS), int), help="A way, and its most trials.")
@click.option("--set", "settings", multiple=True, help="As of `stablesweep run`, for the platform alone.")
def main(counts: Sequence[int], ways: Sequence[str], most: Sequence[tuple[str, int]], settings: Sequence[str]) -> None:
    """See the help."""
    for name in OF_THE_USER:
        os.environ.pop(name, None)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine('torch', 'ray', 'mlflow', 'optuna')}; {cores()} cores used\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    reached: list[str] = []
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        for way in ways:
            # Thrown away: whoever comes first reads the libraries from the disk.
            run(way, 1, [], Path(folder))
        for trials in counts:
            bare: Found | None = None
            walls: dict[str, float] = {}
            for way in in_order(ways, dict(most), trials):
                found = run(way, trials // ARMS, settings if way == PLATFORM else [], Path(folder))
                bare = found if way == "bare" else bare
                walls[way] = found.use.wall_s
                print(row(found, bare), flush=True)
            reached += goals(trials // ARMS * ARMS, walls)
    print("", *reached, sep="\n")


if __name__ == "__main__":
    main()
