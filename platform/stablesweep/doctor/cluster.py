"""Ray: whether it starts or can be joined, what it has, and how many packs it trains at the same time."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stablesweep.errors import StablesweepError
from stablesweep.findings import Finding, from_error
from stablesweep.machine import Machine, packs_at_once, this_machine
from stablesweep.nodes import node_findings
from stablesweep.ray_address import OUR_OWN, cluster_address
from stablesweep.ray_session import alive_machines, ray_session
from stablesweep.study import Study

WITHOUT_RAY = "Ray was not asked"


def token_finding(environment: Mapping[str, str], home: Path) -> Finding:
    """Whether Ray asks for a token, and where one lies; never the token itself.

    Args:
        environment: The environment's variables.
        home: The user's home folder: Ray keeps its token there.
    """
    mode = environment.get("RAY_AUTH_MODE", "")
    file = Path(environment.get("RAY_AUTH_TOKEN_PATH") or home / ".ray" / "auth_token")
    if environment.get("RAY_AUTH_TOKEN"):
        place = "a token in RAY_AUTH_TOKEN"
    else:
        place = f"a token in {file}" if file.is_file() else "no token"
    shown = f"{place}, {f'RAY_AUTH_MODE is {mode}' if mode else 'RAY_AUTH_MODE is not set'}"
    joins = environment.get("RAY_ADDRESS", "") not in OUR_OWN
    if place != "no token" or mode == "disabled" or not joins:
        return Finding(name="ray token", ok=True, found=shown)
    way_out = "set RAY_AUTH_TOKEN_PATH to a file with the cluster's token (there: `ray get-auth-token`)"
    return Finding(name="ray token", ok=False if mode == "token" else None, found=shown, way_out=way_out)


def cluster(study: Study | None, storage: str) -> Iterator[Finding]:
    """Start Ray or join the cluster at ``$RAY_ADDRESS``, look around, and leave it again.

    Args:
        study: The study; None: the resources alone are looked at.
        storage: The folder for checkpoints, a path or a URI.
    """
    address = cluster_address()
    try:
        with ray_session():
            machines = alive_machines()
            nodes = "1 node" if len(machines) == 1 else f"{len(machines)} nodes"
            yield Finding(name="cluster", ok=True, found=f"{f'joined at {address}' if address else 'starts'}: {nodes}")
            yield resources_finding(machines, study, "Ray")
            yield from node_findings(study, storage)
    except StablesweepError as error:
        yield from_error("cluster", error, "see what `ray status` says")


def without_ray(study: Study | None) -> Iterator[Finding]:
    """What can be said without starting Ray."""
    yield Finding(name="cluster", ok=None, found=f"{WITHOUT_RAY} (--no-ray)")
    if cluster_address() is not None:
        yield Finding(name="resources", ok=None, found=f"not known: {WITHOUT_RAY}")
    else:
        yield resources_finding([this_machine(gpus=True)], study, "this machine")


def resources_finding(machines: Sequence[Machine], study: Study | None, owner: str) -> Finding:
    """CPUs and GPUs, and how many packs of the study they train at the same time.

    Args:
        machines: What is there.
        study: The study; None: there is no pack to compare with.
        owner: Whose the resources are.
    """
    cpus, gpus = sum(machine.cpus for machine in machines), sum(machine.gpus for machine in machines)
    found = f"{owner} has {cpus:g} CPUs and {gpus} GPUs"
    if study is None:
        return Finding(name="resources", ok=True, found=found)
    pack = study.pack
    each = f"{pack.workers} times " if pack.workers > 1 else ""
    asked = f"a pack asks for {each}{pack.cpus:g} CPUs and {pack.gpus:g} GPUs"
    fits = packs_at_once(pack, machines)
    if fits < 1:
        way_out = "lower pack.cpus, pack.gpus or pack.workers, or add nodes"
        return Finding(name="resources", ok=False, found=f"{found}, {asked}", way_out=way_out)
    found += f", {asked}: {fits} {'pack' if fits == 1 else 'packs'} of {pack.size} trials at the same time"
    if gpus and not pack.gpus:
        return Finding(name="resources", ok=None, found=found, way_out="set pack.gpus to train on the GPUs")
    return Finding(name="resources", ok=True, found=found)
