"""What packs are worth: ``python benchmarks/lockstep.py`` (with ``PYTHONPATH=.`` where this project is not installed).

Images x trials per second and memory of packs of 1 to 64 trials, trained in a loop and fused, beside one process that trains
one trial, and beside several such processes at once on the same device. Needs torch, timm, pyarrow and pydantic, no ray, mlflow
or optuna. Prints a JSON line for each measurement and tables for ``benchmarks/RESULTS.md`` at the end.

Each measurement is a process of its own. Its throughput is that of training steps (reading, augmentation, forward, backward,
update) after a warm-up; imports, building, compiling and capturing, evaluation and checkpoints are not in it. CPU seconds are
those of the measuring processes in these steps: the figure to look at where other work runs beside. "Start" is the time from
asking for the pack to the first step that is timed. Run it on a machine that does nothing else.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lockstep_cases import CASES, GROUP_ROWS, SHUFFLE_ROWS, write_jpegs
from lockstep_memory import open_gpu
from lockstep_process import Asked, Measured, machine, work
from lockstep_tables import COMPILED, Row, tables

DEFAULT_CASES = "micro32,tiny64,1gf224,4gf224,1gf224jpeg"
DEFAULT_SIZES = "1,2,4,8,16,32,64"
START_S = 300.0
"""How long a process may take before it measures, at most."""
COMPILE_S = 600.0
"""How much longer if it compiles."""
JPEG_ROWS_PER_CORE = 2048
"""And two windows more, for those that are not timed."""
MEMORY = {
    "cuda": (
        "GPU memory is what the whole GPU had in use after the last timed step, contexts and torch's cache included, "
        "less what others used; main memory the proportional set sizes of the measuring processes and their decoders."
    ),
    "cpu": "Memory is what the measuring processes grew by, data included, imports not.",
}
IMPORTED_ONCE = ["torch", "timm", "trainables.training.fused.pack", "trainables.models.cost"]
"""By the server that measuring processes are forked from. None of these starts a thread or the GPU."""


class Results:
    """Prints a line at once and, if there is a file, keeps it there."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path:
            path.write_text("")

    def add(self, text: str) -> None:
        """One more."""
        print(text, flush=True)
        if self._path:
            with self._path.open("a") as file:
                file.write(f"{text}\n")


class Processes:
    """Starts measuring processes.

    Args:
        found: See :func:`_machine`.
        options: The command's.
        jpegs: The folder of the JPEG dataset, if there is one.
    """

    def __init__(self, found: dict[str, Any], options: argparse.Namespace, jpegs: str | None) -> None:
        self._found, self._options, self._jpegs = found, options, jpegs

    def measure(self, case: str, kind: str, trials: int) -> Row:
        """One measurement: a pack of ``trials`` in one process, or for ``processes`` as many processes of one trial."""
        count = trials if kind == "processes" else 1
        asked = Asked(
            case=case,
            kind="loop" if kind == "processes" else kind.removesuffix(COMPILED),
            members=1 if kind == "processes" else trials,
            device=self._found["device"],
            seconds=self._options.seconds,
            threads=self._options.threads,
            decode_workers=max(1, (_cores() - 1) // count),
            jpegs=self._jpegs,
            compile_mode=self._options.compile if kind.endswith(COMPILED) else None,
            gpu_before=self._found["gpu_before"],
        )
        return Row(case=case, kind=kind, trials=trials, measured=_together(_run(asked, count, self._options.seconds)))


def _run(asked: Asked, count: int, seconds: float) -> list[Measured]:
    """The same in several processes at once, timed side by side."""
    context = _context()
    barrier = context.Barrier(count)
    started: list[tuple[Any, Connection]] = []
    for _ in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(asked, barrier, theirs))
        process.start()
        theirs.close()
        started.append((process, ours))
    until = time.monotonic() + START_S + 4 * seconds + (COMPILE_S if asked.compile_mode else 0.0)
    measured = [_answer(answer, until) for _, answer in started]
    for process, _ in started:
        process.join(10)
        process.kill()
        process.join()
    return measured


def _answer(answer: Connection, until: float) -> Measured:
    try:
        if not answer.poll(max(0.0, until - time.monotonic())):
            return Measured(problem="took too long")
        measured: Measured = answer.recv()
    except EOFError:
        return Measured(problem="its process died, most likely for want of memory")
    return measured


def _together(parts: list[Measured]) -> Measured:
    """What several processes achieve: rates and main memory are added up, times are the longest; one GPU is all theirs."""
    for part in parts:
        if part.problem and "BrokenBarrier" not in part.problem:
            return part
    return Measured(
        images_trials_per_s=sum(part.images_trials_per_s for part in parts),
        steps=sum(part.steps for part in parts),
        seconds=max(part.seconds for part in parts),
        cpu_s=sum(part.cpu_s for part in parts),
        start_s=max(part.start_s for part in parts),
        compile_s=max(part.compile_s for part in parts),
        gpu_bytes=max(part.gpu_bytes for part in parts),
        memory_bytes=sum(part.memory_bytes for part in parts),
        note=parts[0].note,
        problem=parts[0].problem,
    )


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_ONCE)
    return context


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    """See :func:`lockstep_process.machine`; and ``gpu_before``, bytes of the GPU in use before anything is measured."""
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=machine, args=(options.device, options.threads, options.cases, theirs))
    process.start()
    theirs.close()
    try:
        found: dict[str, Any] = ours.recv()
    except EOFError:
        raise SystemExit("lockstep: the machine could not be measured; its process says above why") from None
    process.join()
    return {**found, "gpu_before": _gpu_before() if found["device"] == "cuda" else 0}


def _gpu_before() -> int:
    """Bytes of the GPU that others use."""
    context = _context()
    opened: list[tuple[Any, Connection]] = []
    seen: list[int] = []
    # Whoever asks has opened the GPU, which takes memory itself: the first one sees that once, the second one twice.
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=open_gpu, args=(theirs,))
        process.start()
        theirs.close()
        opened.append((process, ours))
        seen.append(ours.recv())
    for process, ours in opened:
        ours.close()
        process.join()
    return 2 * seen[0] - seen[1]


def _wanted(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Case, kind and trials of each measurement, in their order."""
    for case in options.cases:
        for count in sorted({1, *options.sharing}):
            yield case, "processes", count
        for size in options.sizes:
            for kind in options.kinds:
                yield case, kind, size
                if options.compile:
                    yield case, f"{kind}{COMPILED}", size


def _measure_all(processes: Processes, options: argparse.Namespace, until: float, results: Results) -> list[Row]:
    rows: list[Row] = []
    too_large: dict[tuple[str, str], int] = {}
    for case, kind, trials in _wanted(options):
        if trials >= too_large.get((case, kind), sys.maxsize):
            row = Row(case=case, kind=kind, trials=trials, measured=Measured(problem="not tried: fewer are too many"))
        elif time.monotonic() > until:
            row = Row(case=case, kind=kind, trials=trials, measured=Measured(problem="not tried: no time left"))
        else:
            row = processes.measure(case, kind, trials)
        if "memory" in row.measured.problem:
            too_large.setdefault((case, kind), trials)
        rows.append(row)
        results.add(json.dumps({"case": row.case, "kind": row.kind, "trials": row.trials, **asdict(row.measured)}))
    return rows


@contextmanager
def _jpegs(needed: bool) -> Iterator[tuple[str | None, str]]:
    """The folder of the JPEG dataset, and a sentence about it."""
    if not needed:
        yield None, ""
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = JPEG_ROWS_PER_CORE * _cores() + 2 * SHUFFLE_ROWS
        size = write_jpegs(Path(folder), rows)
        sentence = (
            f" JPEGs of {size / 1e3:.0f} kB on average, 500 x 375 px, {rows:,} rows in groups of {GROUP_ROWS}, just "
            f"written and so in the page cache; {max(1, _cores() - 1)} decoding processes, shared by processes side by side."
        )
        yield folder, sentence


def _head(found: dict[str, Any], options: argparse.Namespace, jpegs: str) -> str:
    hardware = f"{found['hardware']}, {_cores()} cores, Python {platform.python_version()}, torch {found['torch']}"
    peak = f"measured peak of matrix products in {found['precision']}: {found['peak'] / 1e12:.4g} TFLOP/s"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {hardware}; {peak}. Plain recipe, adamw, {found['precision']}, torch threads "
        f"{options.threads}, {options.seconds:g} s a measurement. {MEMORY[found['device']]}{jpegs}\n\n"
        f"`{shlex.join(['python', *sys.argv])}`"
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--cases", default=DEFAULT_CASES, help=f"of {', '.join(CASES)}; default {DEFAULT_CASES}")
    parser.add_argument("--sizes", type=_numbers, default=DEFAULT_SIZES, help=f"of packs; default {DEFAULT_SIZES}")
    parser.add_argument("--kinds", default="loop,fused", help="of packs; default loop,fused")
    parser.add_argument("--sharing", type=_numbers, default="2,4,8", help="processes at once; default 2,4,8")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement; default 3")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which none is begun; default 9")
    parser.add_argument(
        "--compile",
        choices=["default", "reduce-overhead", "max-autotune"],
        nargs="?",
        const="default",
        help="packs also with their step compiled by torch.compile, in this mode; a CPU needs a C++ compiler",
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch in each process; default 1, as in a study")
    parser.add_argument("--out", type=Path, help="a file for the JSON lines and the tables")
    options = parser.parse_args()
    options.cases, options.kinds = options.cases.split(","), options.kinds.split(",")
    for case in options.cases:
        if case not in CASES:
            parser.error(f"--cases: {case!r} is none of {', '.join(CASES)}")
    if not set(options.kinds) <= {"loop", "fused"}:
        parser.error(f"--kinds: got {','.join(options.kinds)}, expected loop, fused or both")
    return options


def main() -> None:
    """Measure everything that was asked for, and print it."""
    options = _options()
    until = time.monotonic() + 60 * options.minutes
    results = Results(options.out)
    found = _machine(options)
    results.add(json.dumps(found))
    with _jpegs(any(CASES[case].jpeg for case in options.cases)) as (folder, sentence):
        processes = Processes(found, options, folder)
        rows = _measure_all(processes, options, until, results)
    results.add(f"\n{_head(found, options, sentence)}\n\n{tables(rows, found)}")


if __name__ == "__main__":
    main()
