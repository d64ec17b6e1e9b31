"""What the nodes of a joined Ray cluster have, before any of them trains a pack."""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence

from stablesweep.checkpoints import shown
from stablesweep.errors import StudyError
from stablesweep.findings import Finding
from stablesweep.imports import user_modules
from stablesweep.node_view import NodeView, Question, look
from stablesweep.preflight import dataset_path
from stablesweep.probe import probe_file
from stablesweep.study import Study

ANSWER_LIMIT_S = 120
"""A busy node starts a process within half a minute."""
NAMED = 5
"""Of more nodes than this, the first ones are named."""
OF_THE_DRIVER = ("ray", "stablesweep")
"""What a driver that trains nothing must have in the same version as the nodes that train."""


def check_nodes(study: Study, storage: str) -> None:
    """Ask every other node that can train whether it has what a pack of the study needs. On one node nothing is asked.

    Args:
        study: The study.
        storage: The folder that will hold the packs' checkpoints: an absolute path or a URI.

    Raises:
        StudyError: If a node does not answer, has other versions than this process, or does not see the storage, the
            dataset or the user's modules.
        StablesweepError: If the storage cannot be written from here.
    """
    faults = [finding for finding in node_findings(study, storage) if finding.ok is False]
    if faults:
        first, more = faults[0], len(faults) - 1
        others = f" ({more} more: `stablesweep doctor` lists them)" if more else ""
        raise StudyError(f"Ray cluster: {first.found}; {first.way_out}{others}.")


def node_findings(study: Study | None, storage: str | None) -> list[Finding]:
    """What the other nodes that can train have; empty if there is none.

    Args:
        study: The study; None: nothing is looked for that a study needs.
        storage: The folder for checkpoints, path or URI; None: it is not looked for.

    Raises:
        StablesweepError: If the storage cannot be written from here.
    """
    names = other_nodes()
    if not names:
        return []
    with contextlib.ExitStack() as stack:
        question = Question(
            storage=stack.enter_context(probe_file(storage)) if storage else "",
            dataset=(dataset_path(study) or "") if study else "",
            modules=user_modules(study.imports if study else ()),
        )
        views, silent = _ask(names, question)
        own = look("this process", question)
    return compare(own, views, silent, dataset=question.dataset, storage=storage or "", trains=_trains_here())


def other_nodes() -> dict[str, str]:
    """The nodes that can train, apart from this process's own: what messages call them, by Ray's id."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    training = _training_nodes()
    counts = Counter(training.values())
    return {
        node: name + (f" ({node[:8]})" if counts[name] > 1 else "") for node, name in training.items() if node != own
    }


def _trains_here() -> bool:
    """Whether this process's own node can train: the head of a cluster may be kept free of work."""
    import ray

    return ray.get_runtime_context().get_node_id() in _training_nodes()


def _training_nodes() -> dict[str, str]:
    """The names of the nodes that can train, by Ray's id."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node["NodeName"] for node in nodes if node["Alive"] and node["Resources"].get("CPU")}


def _ask(names: Mapping[str, str], question: Question) -> tuple[list[NodeView], dict[str, str]]:
    """The answers of the nodes, and why the others gave none."""
    import ray
    import ray.exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=1)(look)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(name, question): name
        for node, name in names.items()
    }
    answered, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_LIMIT_S)
    views = []
    silent = {asked[answer]: f"no answer within {ANSWER_LIMIT_S} s" for answer in late}
    for answer in late:
        ray.cancel(answer, force=True)
    for answer in answered:
        try:
            views.append(ray.get(answer))
        except ray.exceptions.RayError as error:
            silent[asked[answer]] = _cause(error)
    return views, silent


def _cause(error: Exception) -> str:
    lines = str(getattr(error, "cause", None) or error).strip().splitlines()
    return lines[-1].strip()[:200].rstrip(".") if lines else type(error).__name__


def compare(
    own: NodeView,
    others: Sequence[NodeView],
    silent: Mapping[str, str],
    *,
    dataset: str,
    storage: str,
    trains: bool = True,
) -> list[Finding]:
    """What is wrong with the nodes, topic by topic, and what is right.

    Args:
        own: What this process has.
        others: What the nodes have.
        silent: Why a node gave no answer, by its name.
        dataset: Its path or URI; empty if it has none.
        storage: The folder for checkpoints; empty if it was not looked for.
        trains: Whether this process's node can train too: else its torch, say, may be another one.
    """
    findings = [_answers(others, silent)]
    if others:
        findings.append(_versions(own, others) if trains else _versions_elsewhere(own, others))
    if storage:
        unseen = {view.name: view.storage for view in others if view.storage}
        way_out = "give --storage a folder that all nodes share, or s3://bucket/folder"
        findings.append(_seen("storage on nodes", f"the storage {shown(storage)}", unseen, way_out))
    if dataset:
        unseen = {view.name: view.dataset for view in others if view.dataset}
        way_out = "put it there, or give dataset.path a folder that all nodes share"
        findings.append(_seen("dataset on nodes", f"the dataset {shown(dataset)}", unseen, way_out))
    unknown = {view.name: f"no module {', '.join(view.modules)}" for view in others if view.modules}
    if unknown:
        way_out = "install them on every node, or submit the folder that they are in"
        findings.append(_seen("modules on nodes", "the study's own modules", unknown, way_out))
    return findings


def _answers(others: Sequence[NodeView], silent: Mapping[str, str]) -> Finding:
    if not silent:
        count = len(others)
        found = f"{count} other {'node' if count == 1 else 'nodes'} answered"
        return Finding(name="nodes", ok=True, found=found)
    way_out = "remove these nodes from the cluster, or install there what is installed here"
    return Finding(name="nodes", ok=False, found=f"no answer from {_named(silent)}", way_out=way_out)


def _versions(own: NodeView, others: Sequence[NodeView]) -> Finding:
    return _same_versions("the driver", own.versions, others)


def _versions_elsewhere(own: NodeView, others: Sequence[NodeView]) -> Finding:
    """The same where the driver's node trains nothing: the others are compared with each other."""
    needed = {name: version for name, version in own.versions.items() if name in OF_THE_DRIVER}
    finding = _same_versions("the driver", needed, others)
    return finding if finding.ok is False else _same_versions(others[0].name, others[0].versions, others[1:])


def _same_versions(who: str, versions: Mapping[str, str], others: Sequence[NodeView]) -> Finding:
    different = {}
    for view in others:
        wrong = [f"{name} {view.versions[name]}" for name in versions if view.versions[name] != versions[name]]
        if wrong:
            different[view.name] = " and ".join(wrong)
    here = ", ".join(f"{name} {version}" for name, version in versions.items())
    if not different:
        return Finding(name="versions on nodes", ok=True, found=f"{here} on all")
    found = f"{who} has {here}, but there are other versions on {_named(different)}"
    way_out = "install the same everywhere: a result must not depend on the node"
    return Finding(name="versions on nodes", ok=False, found=found, way_out=way_out)


def _seen(name: str, what: str, unseen: Mapping[str, str], way_out: str) -> Finding:
    if not unseen:
        return Finding(name=name, ok=True, found=f"{what} is seen from all")
    found = f"{what} cannot be seen from {_named(unseen)}"
    return Finding(name=name, ok=False, found=found, way_out=way_out)


def _named(reasons: Mapping[str, str]) -> str:
    """``10.0.0.2 (why), 10.0.0.3 (why) and 4 more``."""
    shown = [f"{name} ({reason})" for name, reason in list(reasons.items())[:NAMED]]
    more = len(reasons) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
