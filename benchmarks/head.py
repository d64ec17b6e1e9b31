"""What packs that train at the same time take of the head: ``python benchmarks/head.py``.

So many packs of one worker each, which train nothing, on a Ray with as many CPUs as packs, however many this machine has. Prints a
Markdown row for each kind of process, with the means of one of that kind: memory is the proportional set size, the share of pages that
several processes have in common. Workers are left out: on a cluster they are on other nodes. Needs the extra ``dev``, Linux.
"""

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from hardware import machine

import stablesweep as ss
from stablesweep.ray_session import prepare_environment

LOOK_FOR_S = 20.0
"""So long CPU time is counted, once all packs train."""
WORKER = "ray::RayTrainWorker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A process, at one moment."""

    kind: str
    pss_mib: float
    rss_mib: float
    threads: int
    files: int
    cpu_s: float


def doze(members: Sequence[Any], context: Any) -> Iterator[dict[str, dict[str, float]]]:
    """A trainable that waits for a file, and knows its result."""
    folder = Path(context.options["folder"])
    (folder / members[0].key.replace("/", "-")).touch()
    while not (folder / "end").exists():
        time.sleep(0.2)
    yield {member.key: {"error": 50.0} for member in members}


def kind_of(process: psutil.Process) -> str:
    """What a process of Ray's calls itself, or the program that it runs."""
    command = process.cmdline()
    if process.pid == psutil.Process().pid:
        return "the driver"
    if command and command[0].startswith("ray::"):
        return str(command[0]).split(".")[0]
    scripts = [Path(part).name for part in command[:4] if not part.startswith("-")]
    return next((name for name in reversed(scripts) if name), str(process.name()))


def look() -> dict[int, Seen]:
    """This process and all that it has started, by process id."""
    ours = psutil.Process()
    seen = {}
    for process in [ours, *ours.children(recursive=True)]:
        with process.oneshot():
            memory, times = process.memory_full_info(), process.cpu_times()
            seen[process.pid] = Seen(
                kind=kind_of(process),
                pss_mib=memory.pss / 2**20,
                rss_mib=memory.rss / 2**20,
                threads=process.num_threads(),
                files=process.num_fds(),
                cpu_s=times.user + times.system,
            )
    return seen


def rows(before: Mapping[int, Seen], after: Mapping[int, Seen], seconds: float) -> list[str]:
    """A Markdown row for each kind of process that was there both times, workers left out."""
    kinds = defaultdict(list)
    for pid in before.keys() & after.keys():
        kinds[after[pid].kind].append((before[pid], after[pid]))
    lines = []
    for kind, pairs in sorted(kinds.items()):
        if kind == WORKER:
            continue
        count = len(pairs)
        cells = [sum(getattr(now, name) for _, now in pairs) / count for name in ("pss_mib", "rss_mib")]
        whole = [sum(getattr(now, name) for _, now in pairs) / count for name in ("threads", "files")]
        cpu = sum(now.cpu_s - then.cpu_s for then, now in pairs) / count / seconds
        lines.append(
            f"| {kind} | {count} | {cells[0]:.0f} MiB | {cells[1]:.0f} MiB | {cpu:.3f} | {whole[0]:.0f} | {whole[1]:.0f} |"
        )
    return lines


def watch(packs: int, folder: Path, found: list[str]) -> None:
    """Look twice once all packs have begun, and let them end."""
    try:
        while len(list(folder.iterdir())) < packs:
            time.sleep(1)
        time.sleep(LOOK_FOR_S)
        before = look()
        time.sleep(LOOK_FOR_S)
        found += rows(before, look(), LOOK_FOR_S)
    finally:
        (folder / "end").touch()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, default=6)
    packs = parser.parse_args().packs
    prepare_environment()
    import ray

    ss.register_trainable("doze", doze)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text) / "begun"
        folder.mkdir()
        study = ss.Study.model_validate(
            {
                "name": "dozing",
                "trainable": {"name": "doze", "folder": str(folder)},
                "arms": ["any/sgd"],
                "space": {"lr": {"around": 0.1}},
                "phases": {"stability": {"draws": packs, "epochs": 1}},
                "pack": {"size": 1},
            }
        )
        # Ray by itself writes its token for all to read, and uses it from then on.
        os.umask(0o077)
        ray.init("local", num_cpus=packs, include_dashboard=False, log_to_driver=False)
        found: list[str] = []
        threading.Thread(target=watch, args=(packs, folder, found), daemon=True).start()
        ss.run(study, Path(text) / "home")
    print(f"{packs} packs at once; {machine('ray', 'mlflow')}\n")
    print(
        "| process | number | PSS | RSS | cores | threads | open files |\n|---|---|---|---|---|---|---|",
        *found,
        sep="\n",
    )


if __name__ == "__main__":
    main()
