"""The scripts for clusters do what they say, with stand-ins for the programs of Slurm, Ray and MLflow.

What is checked is the scripts' own logic: addresses, the token, signals, what is left over.
"""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

CLUSTER = Path(__file__).resolve().parents[2] / "examples" / "cluster"

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
