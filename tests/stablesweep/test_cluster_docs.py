"""The documents and files for clusters: commands exist, links lead somewhere, manifests have KubeRay's fields."""

import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from stablesweep.cli import main

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "examples" / "cluster"
PAGES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("clusters", "faults", "packs", "security")
}
SCRIPTS = sorted(CLUSTER.glob("*.sh"))
MANIFESTS = {path.name: list(yaml.safe_load_all(path.read_text(encoding="utf-8"))) for path in CLUSTER.glob("*.yaml")}


def commands() -> list[tuple[str, str]]:
    """Every `stablesweep` command line of the pages and files, and where it stands."""
    found = []
    for name, text in PAGES.items():
        indented = re.findall(r"^    (?:.*-- )?(stablesweep .*)$", text, flags=re.MULTILINE)
        inline = re.findall(r"`(stablesweep [^`]*)`", text)
        found += [(f"{name}.md", line) for line in indented + inline]
    found += [("slurm.sh", f"stablesweep {line}") for line in re.findall(r"slurm\.sh (run .*)", PAGES["clusters"])]
    found.append(("rayjob.yaml", MANIFESTS["rayjob.yaml"][0]["spec"]["entrypoint"]))
    return [(where, line.partition(" #")[0].strip()) for where, line in found if "…" not in line]


def parse(line: str) -> None:
    """Read a command line as click would, without running it."""
    _, name, *arguments = shlex.split(line)
    command = main.commands.get(name)
    assert command is not None, f"there is no command {name}"
    command.make_context(name, arguments).close()


def test_there_are_commands() -> None:
    assert len(commands()) > 20


@pytest.mark.parametrize(("where", "line"), sorted(set(commands())))
def test_a_command_exists_with_its_options(where: str, line: str) -> None:
    try:
        parse(line)
    except click.ClickException as error:
        pytest.fail(f"{where}: `{line}`: {error.format_message()}")


def anchors(text: str) -> set[str]:
    """What a link may point to: headings as GitHub names them, and anchors of our own."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    named = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return named | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / "docs" / page
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        assert to.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(to.read_text(encoding="utf-8")), f"{page}: {target}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_bash_and_may_be_run(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert script.stat().st_mode & stat.S_IXUSR


# As KubeRay's reference names them (ray.io/v1, 1.5): those of ours must be among them, and these must be there.
JOB_FIELDS = {
    *(
        "activeDeadlineSeconds",
        "backoffLimit",
        "clusterSelector",
        "deletionStrategy",
        "entrypoint",
        "entrypointNumCpus",
    ),
    *("entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML"),
    *("shutdownAfterJobFinishes", "submissionMode", "submitterConfig", "submitterPodTemplate", "suspend"),
    "ttlSecondsAfterFinished",
}
CLUSTER_FIELDS = {
    *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec"),
    *("headServiceAnnotations", "managedBy", "rayVersion", "suspend", "workerGroupSpecs"),
}
GROUP_FIELDS = {
    *("groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams", "replicas"),
    *("scaleStrategy", "suspend", "template"),
}


@pytest.fixture
def job() -> dict[str, Any]:
    (job,) = MANIFESTS["rayjob.yaml"]
    assert isinstance(job, dict)
    return job


def containers(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [container for pod in pods for container in pod["template"]["spec"]["containers"]]


def test_the_ray_job_has_what_kuberay_asks_for(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["metadata"]["name"]
    assert set(job["spec"]) <= JOB_FIELDS
    assert job["spec"]["submissionMode"] in {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"}
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) <= CLUSTER_FIELDS
    # KubeRay gives tokens to a Ray of a version that it is told.
    assert cluster["authOptions"] == {"mode": "token"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", cluster["rayVersion"])
    assert {"rayStartParams", "template"} <= set(cluster["headGroupSpec"])
    assert all(isinstance(value, str) for value in cluster["headGroupSpec"]["rayStartParams"].values())
    for group in cluster["workerGroupSpecs"]:
        assert {"groupName", "rayStartParams", "template", "minReplicas", "maxReplicas"} <= set(group) <= GROUP_FIELDS
        # A study refuses to begin where not even one pack fits.
        assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_manifest_runs_the_version_that_was_tested(job: dict[str, Any]) -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned["ray"]
    assert len({container["image"] for container in containers(job)}) == 1


def test_passwords_come_from_secrets_and_workers_have_none_of_mlflow(job: dict[str, Any]) -> None:
    head, *workers = containers(job)
    for container in (head, *workers):
        for variable in container["env"]:
            secret = any(word in variable["name"] for word in ("KEY", "TOKEN", "PASSWORD", "USERNAME"))
            assert ("value" in variable) is not secret
            assert not secret or variable["valueFrom"]["secretKeyRef"]["name"]
    assert any("MLFLOW" in variable["name"] for variable in head["env"])
    assert not any("MLFLOW" in variable["name"] for worker in workers for variable in worker["env"])
    assert "env_vars" not in str(job)


def test_what_is_mounted_is_a_volume(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    claims = {claim["metadata"]["name"] for claim in MANIFESTS["shared-volume.yaml"]}
    for pod in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        spec = pod["template"]["spec"]
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        named = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in spec["volumes"]
            if "persistentVolumeClaim" in volume
        ]
        assert set(named) <= claims
        assert named
    (claim,) = MANIFESTS["shared-volume.yaml"]
    assert (claim["kind"], claim["spec"]["accessModes"]) == ("PersistentVolumeClaim", ["ReadWriteMany"])


def test_a_group_of_workers_fits_the_packs_of_the_papers_study(job: dict[str, Any]) -> None:
    pack = yaml.safe_load((ROOT / "examples/early_convs_stability.yaml").read_text(encoding="utf-8"))["pack"]
    (worker,) = containers(job)[1:]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] >= pack["workers"] * pack["gpus"]
    assert int(worker["resources"]["limits"]["cpu"]) >= pack["workers"] * pack["cpus"]
