"""What a study is trained on, in words without the names of machines."""

import logging
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

CPU_INFO = Path("/proc/cpuinfo")
_ACCELERATOR = "accelerator_type:"
"""Ray's resource that names a node's GPUs begins so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One machine of a Ray cluster."""

    cpus: int
    gpus: int
    cpu_model: str = ""
    """Empty where it is not known: of another machine than the driver's."""
    gpu_model: str = ""


def cluster_hardware() -> str:
    """The machines of the Ray that this process has joined: ``2 machines, each 64 CPUs and 8 GPUs (H100)``.

    Empty where Ray does not say: that is no reason not to train.
    """
    import ray

    try:
        own = ray.get_runtime_context().get_node_id()
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        return in_words([_node(node, here=node["NodeID"] == own) for node in nodes])
    except Exception:
        logger.info("the hardware is not known", exc_info=True)
        return ""


def _node(node: Mapping[str, Any], *, here: bool) -> Node:
    resources = node["Resources"]
    models = sorted(name.removeprefix(_ACCELERATOR) for name in resources if name.startswith(_ACCELERATOR))
    return Node(
        cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        cpu_model=cpu_model() if here else "",
        gpu_model=" and ".join(models),
    )


def cpu_model(info: Path = CPU_INFO) -> str:
    """What this machine's processor calls itself; its architecture where it does not say."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2] for line in lines if line.partition(":")[0].strip().lower() == "model name")
    return " ".join(next(names, "").split()) or platform.machine()


def in_words(nodes: Iterable[Node]) -> str:
    """The machines, equal ones together; those that train nothing (no CPU, no GPU) left out."""
    working = [node for node in nodes if node.cpus or node.gpus]
    # The driver's machine is the only one whose processor is known: among equals it does not stand for itself.
    same = len({(node.cpus, node.gpus, node.gpu_model) for node in working}) == 1 and len(working) > 1
    groups = Counter(_one(node, with_cpu=not same) for node in working)
    if same:
        ((text, count),) = groups.items()
        return f"{count} machines, each {text}"
    return "; ".join(text if count == 1 else f"{count} machines, each {text}" for text, count in groups.items())


def _one(node: Node, *, with_cpu: bool) -> str:
    parts: list[str] = []
    kinds: Sequence[tuple[int, str, str]] = (
        (node.cpus, "CPU", node.cpu_model if with_cpu else ""),
        (node.gpus, "GPU", node.gpu_model),
    )
    for count, kind, model in kinds:
        if count:
            parts.append(f"{count} {kind}{'' if count == 1 else 's'}" + (f" ({model})" if model else ""))
    return " and ".join(parts)


def with_more(known: str, more: str) -> str:
    """What a study that was continued elsewhere was trained on: ``known``, then ``more`` if it is not there yet."""
    if not known or known == more:
        return more
    return known if more in known.split("; then ") else f"{known}; then {more}"
