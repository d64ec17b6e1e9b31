"""The documents and files for clusters: commands exist, links lead somewhere, manifests have KubeRay's fields, scripts do what they say."""

import os
import re
import shlex
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from stablesweep.cli import main

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "examples" / "cluster"
PAGES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("clusters", "faults", "security")
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


STAND_INS = {
    "scontrol": """[[ $1 = show ]] && printf 'node1\\nnode2\\nnode3\\n'; exit 0""",
    "srun": """while [[ $1 == --* ]]; do shift; done; exec "$@" """,
    "hostname": "echo 192.0.2.7 198.51.100.7",
    "ray": """
if [[ $1 = status ]]; then printf ' 1 node_a\\n 1 node_b\\n 1 node_c\\n'; exit; fi
cp "$RAY_AUTH_TOKEN_PATH" "$RECORD/token"
stat -c %a "$(dirname "$RAY_AUTH_TOKEN_PATH")" > "$RECORD/mode"
trap 'echo "ray ended" >> "$RECORD/calls"; exit 0' TERM
touch "$RECORD/ray"
while true; do sleep 0.1; done""",
    "stablesweep": """
trap 'sleep 0.5; exit 130' TERM
env > "$RECORD/environment"
touch "$RECORD/training"
for _ in $(seq ${STEPS:-600}); do sleep 0.1; done""",
}
"""In place of Slurm's and Ray's programs: each writes down how it was called."""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on three nodes, with stand-ins for what a cluster has."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(f'#!/usr/bin/env bash\necho "{name} $*" >> "$RECORD/calls"\n{body}\n')
        (programs / name).chmod(0o755)
    (tmp_path / "private").mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))}
    return {
        **clean,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RECORD": str(tmp_path),
        "PRIVATE": str(tmp_path / "private"),
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_CPUS_PER_TASK": "12",
    }


def run_script(slurm: dict[str, str], signalled: signal.Signals | None = None) -> tuple[int, str]:
    """Run the job's script, with a signal as soon as the study trains; its exit status and what was called."""
    record = Path(slurm["RECORD"])
    process = subprocess.Popen(
        ["bash", str(CLUSTER / "slurm.sh"), "run", "study.yaml"], env=slurm, start_new_session=True
    )
    try:
        give_up = time.monotonic() + 60
        while signalled is not None and not (record / "training").exists():
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)
        if signalled is not None:
            process.send_signal(signalled)
        return process.wait(60), (record / "calls").read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def left_over(slurm: dict[str, str]) -> list[str]:
    return [path.name for path in Path(slurm["PRIVATE"]).iterdir()]


def test_a_slurm_job_starts_one_ray_over_its_nodes_and_leaves_nothing(slurm: dict[str, str], tmp_path: Path) -> None:
    status, calls = run_script({**slurm, "STEPS": "10"})
    assert status == 0
    port = 20_000 + 2 * (4711 % 6000)
    (head,) = re.findall(r"srun (.*) ray start --head (.*)", calls)
    assert "--nodelist=node1" in head[0]
    assert f"--node-ip-address=192.0.2.7 --port={port} --dashboard-host=127.0.0.1" in head[1]
    (others,) = re.findall(r"srun (.*) ray start --address=(\S+) --num-cpus (\d+)", calls)
    assert "--nodes=2 --ntasks=2 --exclude=node1" in others[0]
    assert others[1:] == (f"192.0.2.7:{port}", "12")
    assert "stablesweep run study.yaml" in calls
    assert calls.count("ray ended") == 2
    assert "srun --nodes=3 --ntasks=3 rm -rf /tmp/ray-4711" in calls
    assert "requeue" not in calls
    token = (tmp_path / "token").read_text()
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token not in calls
    assert (tmp_path / "mode").read_text().strip() == "700"
    environment = (tmp_path / "environment").read_text()
    assert f"RAY_ADDRESS=192.0.2.7:{port}" in environment
    assert "RAY_AUTH_MODE=token" in environment
    assert token not in environment
    assert left_over(slurm) == []


def test_when_the_time_is_nearly_up_the_study_stops_and_the_job_queues_again(slurm: dict[str, str]) -> None:
    _, calls = run_script(slurm, signal.SIGUSR1)
    assert calls.splitlines()[-1] == "scontrol requeue 4711"
    assert calls.count("ray ended") == 2
    assert left_over(slurm) == []


def test_a_slurm_job_that_is_told_to_end_stops_the_study_and_does_not_queue_again(slurm: dict[str, str]) -> None:
    status, calls = run_script(slurm, signal.SIGTERM)
    assert status == 130
    assert "requeue" not in calls
    assert left_over(slurm) == []


def run_server(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the server's script with a program in place of mlflow that says how it was called."""
    (folder / "mlflow").write_text('#!/usr/bin/env bash\necho "$@"; env | grep ^MLFLOW | sort\n')
    (folder / "mlflow").chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    environment = {**clean, **variables, "PATH": f"{folder}:{os.environ['PATH']}"}
    script = str(CLUSTER / "mlflow-server.sh")
    return subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False)


def test_the_server_keeps_its_database_out_of_the_command_line_and_listens_on_this_machine(tmp_path: Path) -> None:
    database = "postgresql+psycopg2://mlflow:secret@db.example.org:5432/mlflow"
    place = {"MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_ARTIFACTS_DESTINATION": "s3://lab/mlflow"}
    started = run_server(tmp_path, **place)
    line, *environment = started.stdout.splitlines()
    assert line == "server --host 127.0.0.1 --port 5000 --workers 2"
    assert f"MLFLOW_BACKEND_STORE_URI={database}" in environment
    refused = run_server(tmp_path, **place, MLFLOW_HOST="0.0.0.0")
    assert refused.returncode == 2
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" in refused.stderr
    named = run_server(tmp_path, **place, MLFLOW_HOST="0.0.0.0", MLFLOW_SERVER_ALLOWED_HOSTS="mlflow.example.org:*")
    assert named.stdout.startswith("server --host 0.0.0.0")


def test_the_server_says_what_it_lacks(tmp_path: Path) -> None:
    assert "MLFLOW_BACKEND_STORE_URI" in run_server(tmp_path).stderr
