"""Studies as jobs of a real Ray head with token authentication: submitted, by hand, found again, stopped.

One head serves all tests; each job costs some seconds of process starts, so there are few, each looked at from all sides.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stablesweep.home import Home
from stablesweep.status import read_status
from tests.ray_cluster import RayCluster
from tests.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.faults]
ROOT = Path(__file__).resolve().parents[2]
SECRET = "hunter2hunter2"

STUDY = """
name: {name}
imports: [my_trainable]
trainable: {{name: mine}}
arms: [net/sgd]
space: {{lr: {{log_uniform: [0.001, 0.1]}}}}
phases: {{stability: {{draws: 2, epochs: {epochs}}}}}
pack: {{size: 2, spread: false, checkpoint_every_s: 0}}
"""
TRAINABLE = """
import sys, time
from pathlib import Path
import search_spaces, stablesweep as ss

# On the driver and on every worker: all packages are of one copy, and it is the one that this test wants.
own = Path(sys.modules["stablesweep"].__file__).resolve()
assert Path(search_spaces.__file__).resolve().parents[1] in own.parents, (own, search_spaces.__file__)
assert {uploaded} == ("_ray_pkg_" in str(own)), own


@ss.register_trainable("mine")
@ss.one_at_a_time
def train(member, context):
    for _ in range(context.epochs):
        time.sleep({seconds})
        yield {{"error": 100 * member.hyperparameters["lr"]}}
"""


def users_folder(folder: Path, name: str, *, epochs: int = 2, seconds: float = 0, uploaded: bool = False) -> Path:
    """A study with a trainable of the user's own; ``uploaded``: the packages must be those of an uploaded clone."""
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY.format(name=name, epochs=epochs))
    (folder / "my_trainable.py").write_text(TRAINABLE.format(uploaded=uploaded, seconds=seconds))
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A head whose jobs have a home of their own."""
    with RayCluster(cpus=4, variables={"HOME": str(tmp_path_factory.mktemp("head"))}) as started:
        yield started


def home_on_head(cluster: RayCluster) -> Home:
    return Home(Path(cluster.variables_of_nodes["HOME"]) / "stablesweep-home")


def start(cluster: RayCluster, folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    """A command on the user's machine, where the token and the job server's address are set."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**clean, **cluster.token_variables, "RAY_API_SERVER_ADDRESS": cluster.job_address, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def call(cluster: RayCluster, folder: Path, *command: str, **variables: str) -> tuple[int, str]:
    """A command's exit code and all that it printed."""
    process = start(cluster, folder, *command, **variables)
    output, _ = process.communicate(timeout=400)
    return process.returncode, output


def by_hand(cluster: RayCluster, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    submit = ("ray.scripts.scripts", "job", "submit", "--working-dir", ".", "--", "stablesweep", "run", *arguments)
    return start(cluster, folder, *submit)


def all_known_of_jobs(cluster: RayCluster) -> str:
    """What everyone who can see the cluster's jobs can read of them, logs included."""
    jobs = cluster.get("/api/jobs/")
    logs = [cluster.get(f"/api/jobs/{job['submission_id']}/logs") for job in jobs if job["submission_id"]]
    return json.dumps([jobs, logs])


def test_a_study_is_checked_sent_followed_and_found_again(cluster: RayCluster, tmp_path: Path) -> None:
    folder = users_folder(tmp_path / "mine", "sent")
    (folder / ".env").write_text(SECRET)
    (folder / "data.npz").write_text("x" * 1000)
    code, output = call(cluster, folder, "stablesweep", "submit", "study.yaml", "--env", "MY_KEY", MY_KEY="42")
    assert code == 0, output
    for said in (
        "Sending 2 files",
        "Left out, hidden files and folders: 1 file, 14 B (.env)",
        "Left out, data and pictures: 1 file, 1000 B (data.npz)",
        "Checking the cluster.",
        f"goes to {home_on_head(cluster).path}",
        "2/2 trials done",
        "has ended well.",
    ):
        assert said in output
    assert "Traceback" not in output
    assert read_status(home_on_head(cluster), "sent").count("completed") == 2

    job = json.loads((folder / "stablesweep-home/jobs/sent.json").read_text())
    assert job["submission_id"].startswith("stablesweep-sent-")
    for option in ((), ("--address", cluster.job_address)):
        elsewhere = folder if not option else tmp_path
        code, status = call(cluster, elsewhere, "stablesweep", "status", "sent", *option)
        assert (code, status.splitlines()[0]) == (
            0,
            f"Job {job['submission_id']} at {cluster.job_address}: SUCCEEDED",
        )
    code, logs = call(cluster, folder, "stablesweep", "logs", "sent")
    assert code == 0
    assert "2/2 trials done" in logs

    seen = all_known_of_jobs(cluster)
    assert "stablesweep run study.yaml" in seen
    assert cluster.token not in seen + output + logs + json.dumps(job)
    assert SECRET not in seen


def test_by_hand_from_a_clone_and_from_a_users_folder(cluster: RayCluster, tmp_path: Path) -> None:
    """The cluster has the package installed as well, and the clone's must win as a whole, in every process."""
    own = users_folder(tmp_path / "own", "own", uploaded=False)
    clone = tmp_path / "clone"
    for name in ("search_spaces", "trainables", "dashboards", "platform"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    users_folder(clone / "mine", "cloned", uploaded=True)
    # A home of its own: two studies that begin at the same time must not both make the tables of one MLflow store.
    other = Home.at(tmp_path / "other-home")
    from_own = by_hand(cluster, own, "study.yaml")
    from_clone = by_hand(cluster, clone, "mine/study.yaml", "--home", str(other.path))
    for process, home, name in ((from_own, home_on_head(cluster), "own"), (from_clone, other, "cloned")):
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
        assert f"goes to {home.path}" in output
        assert read_status(home, name).count("completed") == 2
    assert cluster.token not in all_known_of_jobs(cluster)


def test_ctrl_c_leaves_the_job_and_stop_ends_it_after_a_checkpoint(cluster: RayCluster, tmp_path: Path) -> None:
    folder = users_folder(tmp_path / "long", "long", epochs=2000, seconds=0.2)
    home = tmp_path / "elsewhere on the cluster"
    arguments = ("submit", "study.yaml", "--no-check", "--home", str(home))
    process = start(cluster, folder, "stablesweep", *arguments)
    kept = folder / "stablesweep-home/jobs/long.json"
    wait_until(lambda: kept.exists() or process.poll() is not None, "the job is submitted", within_s=200)
    checkpoints = home / "studies/long/packs"
    wait_until(lambda: any(path.is_file() for path in checkpoints.rglob("*")), "a checkpoint is written", within_s=200)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "the job goes on. Find it again: stablesweep status long" in output

    code, status = call(cluster, folder, "stablesweep", "status", "long")
    assert (code, status.splitlines()[0].split(": ")[-1]) == (0, "RUNNING")
    code, stopped = call(cluster, tmp_path, "stablesweep", "stop", "long", "--address", cluster.job_address)
    assert code == 0, stopped
    assert "ended at once" not in stopped
    sentence = "stopped with trials left; submit the study again to continue it."
    assert stopped.splitlines()[-1].endswith(sentence)
    code, logs = call(cluster, folder, "stablesweep", "logs", "long", "--follow")
    assert code == 1
    assert "Stopped: 2 trials are left" in logs
    assert sentence in logs
    assert read_status(Home(home), "long").count("pending") == 2
    code, again = call(cluster, tmp_path, "stablesweep", "stop", "long", "--address", cluster.job_address)
    assert (code, again) == (0, stopped.splitlines()[-1] + "\n")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 64}, "the cluster refused the token"),
        ({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}, "the cluster asks for a token"),
    ],
)
def test_a_wrong_token_and_none(cluster: RayCluster, tmp_path: Path, variables: dict[str, str], sentence: str) -> None:
    folder = users_folder(tmp_path / "mine", "refused")
    code, output = call(cluster, folder, "stablesweep", "submit", "study.yaml", **variables)
    assert code == 2
    assert output.startswith(f"Error: {cluster.job_address}: {sentence}")
    assert len(output.splitlines()) == 1
    assert "0" * 64 not in output
    assert not (folder / "stablesweep-home").exists()
