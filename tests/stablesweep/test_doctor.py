"""``stablesweep doctor``: what it finds on this machine as it is, and on one that lacks something."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import mlflow
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from stablesweep.cli import main
from stablesweep.doctor.cluster import cluster, resources_finding, token_finding
from stablesweep.doctor.examination import Check, examine
from stablesweep.doctor.installation import package_finding, python_finding
from stablesweep.doctor.machine import Gpu, folder_finding, pictures, shared_memory, with_gpus, without_gpu
from stablesweep.doctor.places import storage_finding, tracking
from stablesweep.doctor.text import closing_sentence, finding_lines
from stablesweep.findings import JSON_PREFIX, Finding, from_error
from stablesweep.home import Home
from stablesweep.machine import Machine
from tests.full_disk import small_disk
from tests.mlflow_server import Server
from tests.support import small_study

NAMES = {"python", "ray", "torch", "stablesweep", "gpu", "home", "storage", "tracking server", "dataset", "resources"}
NAMES |= {"pictures", "packages", "temporary", "shared memory", "cluster", "ray token"}
TOKEN = "0123456789abcdef" * 4


def study_file(folder: Path, **changes: object) -> Path:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(small_study().to_config() | changes))
    return file


def doctor(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


def found(result: Result) -> dict[str, dict[str, object]]:
    """The findings of ``--json``, by name."""
    assert result.stdout.count("\n") == 1
    return {one["name"]: one for one in json.loads(result.stdout.removeprefix(JSON_PREFIX))}


def faults(result: Result) -> set[str]:
    return {name for name, one in found(result).items() if one["ok"] is False}


@pytest.mark.cluster
def test_a_healthy_machine_gets_no_fault_and_nothing_is_left_behind(ray_here: None, tmp_path: Path) -> None:
    file, home = study_file(tmp_path), tmp_path / "home"
    result = doctor(file, "--home", home)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    names = {line[6:24].strip() for line in lines[:-2]}
    assert names >= NAMES | {"study", "arms"}
    assert "1,437 training and 360 evaluation images" in result.stdout
    assert "packs of 24 trials at the same time" in result.stdout
    assert lines[-1] == f"Nothing stands in the way of `stablesweep run {file}`."
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.cluster
def test_one_line_for_programs_whatever_ray_prints_and_no_token_in_it(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "stablesweep", "doctor", "--json", "--home", str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={**clean, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_LOG_TO_STDERR": "1"},
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert {one["name"] for one in json.loads(line.removeprefix(JSON_PREFIX))} >= NAMES
    assert TOKEN not in done.stdout + done.stderr
    assert "RAY_AUTH_TOKEN, RAY_AUTH_MODE is token" in done.stdout


def test_without_a_study_the_machine_alone_is_looked_at(tmp_path: Path) -> None:
    result = doctor("--no-ray", "--json", "--home", tmp_path / "home")
    assert result.exit_code == 0, result.output
    assert set(found(result)) >= NAMES
    assert found(result)["dataset"]["ok"] is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_study_lacks_is_found_each_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    parquet = {"name": "parquet", "path": str(tmp_path / "nowhere"), "image_size": 16}
    file = study_file(tmp_path, dataset=parquet, pack={"gpus": 1, "workers": 3})
    (tmp_path / "file").write_text("no folder")
    options = ["--no-ray", "--home", tmp_path / "file" / "home", "--storage", "nowhere://bucket/x"]
    result = doctor(file, *options, "--json")
    assert result.exit_code == 1
    assert faults(result) == {"dataset", "home", "storage", "tracking server", "resources"}
    assert str(tmp_path / "nowhere") in str(found(result)["dataset"])
    assert "3 times 1 CPUs and 1 GPUs" in str(found(result)["resources"])
    assert "127.0.0.1:9 cannot be reached" in str(found(result)["tracking server"])
    assert "secret" not in result.output
    assert [one for one in found(result).values() if one["ok"] is False and not one["way_out"]] == []
    shown = doctor(file, *options)
    assert shown.exit_code == 1
    assert shown.stdout.splitlines()[-1].startswith("5 of ")
    assert sum(line.startswith("FAIL") for line in shown.stdout.splitlines()) == 5


def test_an_arm_that_cannot_be_built_is_no_fault_of_the_data(tmp_path: Path) -> None:
    file = study_file(tmp_path, recipe={"batch_size": 100_000})
    result = doctor(file, "--no-ray", "--json", "--home", tmp_path / "home")
    assert faults(result) == {"arms"}
    assert found(result)["dataset"]["ok"] is True


def test_a_study_that_cannot_be_read_leaves_the_machine_to_be_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: x\narm: []\n")
    result = doctor(file, "--no-ray", "--json", "--home", tmp_path / "home")
    assert result.exit_code == 1
    assert faults(result) == {"study"}
    assert "did you mean 'arms'?" in str(found(result)["study"]["found"])
    assert set(found(result)) >= NAMES


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:9", "nobody answers there"),
        ("10.0.0.1", "write host:port"),
        ("a:b", "host:port"),
        ("ray://10.0.0.1:10001", "write host:port"),
        ("http://10.0.0.1:8265", "write host:port"),
    ],
)
def test_a_cluster_that_is_not_there_is_a_fault_within_seconds(
    monkeypatch: pytest.MonkeyPatch, address: str, words: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    (fault,) = cluster(None, "/nowhere")
    assert (fault.name, fault.ok) == ("cluster", False)
    assert words in f"{fault.found} {fault.way_out}"
    assert f"RAY_ADDRESS={address}" in fault.found


def test_a_cluster_whose_token_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        result = subprocess.run(
            [sys.executable, "-c", "from stablesweep.ray_session import ray_session\nwith ray_session(): pass"],
            env={**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert f"RAY_ADDRESS={address} refuses the token, or none was found; set RAY_AUTH_TOKEN_PATH" in result.stderr


# --- folders


@pytest.mark.parametrize(
    ("megabytes", "options", "reason"),
    [
        (0.5, [], "No space left on device"),
        (100, ["ro"], "Read-only file system"),
        (100, [], "0.1 GB free"),
    ],
)
def test_a_home_that_is_full_or_cannot_be_written(
    tmp_path: Path, megabytes: float, options: list[str], reason: str
) -> None:
    with small_disk(tmp_path / "disk", megabytes, *options) as disk:
        finding = folder_finding("home", disk / "home", "choose another --home")
    assert finding.ok is False
    assert reason in finding.found
    assert str(disk) in finding.found
    assert "free some space" in finding.way_out


def test_a_home_that_will_be_made_is_not_made_now(tmp_path: Path) -> None:
    assert "will be made" in folder_finding("home", tmp_path / "a" / "b", "").found
    assert list(tmp_path.iterdir()) == []


def test_small_shared_memory_is_a_fault_only_where_images_are_decoded(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        assert [shared_memory(decodes=decodes, folder=disk).ok for decodes in (True, False)] == [False, None]
    assert shared_memory(decodes=True, folder=tmp_path / "none").ok is None


# --- versions


@pytest.mark.parametrize(
    ("version", "ok"), [("3.10.14", False), ("3.11.0", True), ("3.12.1", True), ("3.13.0rc1", True)]
)
def test_pythons_version(version: str, ok: bool) -> None:
    assert python_finding(version, ">=3.11").ok is ok


@pytest.mark.parametrize(
    ("version", "ok"), [("2.60.0", True), ("2.61.0.dev0", True), ("2.59.1", False), ("none", False)]
)
def test_a_packages_version(version: str, ok: bool) -> None:
    finding = package_finding("ray", version, SpecifierSet(">=2.60"))
    assert finding.ok is ok
    assert ok or "pip install 'ray>=2.60'" in finding.way_out


def test_a_users_folder_that_hides_a_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "cmaes").mkdir()
    (tmp_path / "cmaes" / "__init__.py").write_text("")
    code = "from stablesweep.doctor.installation import installation\nfor one in installation(): print(one)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path
    )
    (fault,) = [line for line in done.stdout.splitlines() if "ok=False" in line]
    assert "cmaes" in fault
    assert str(tmp_path) in fault
    assert "rename" in fault


# --- tracking and storage


def test_a_real_server_answers_and_keeps_nothing(
    mlflow_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    client = mlflow.MlflowClient(mlflow_server.uri)
    before = len(client.search_experiments())
    finding = tracking(Home.at(tmp_path), small_study(name="doctor-new"))
    assert finding.ok is True
    assert f"MLflow {mlflow.__version__}" in finding.found
    assert len(client.search_experiments()) == before
    client.delete_experiment(client.create_experiment("doctor-deleted"))
    assert "was deleted" in tracking(Home.at(tmp_path), small_study(name="doctor-deleted")).found
    assert "default experiment" in tracking(Home.at(tmp_path), small_study(name="Default")).found


def test_a_locked_database_and_one_that_is_none(
    tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stablesweep.doctor.places.PATIENCE_S", 0.2)
    home = Home.at(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    assert tracking(home, None).ok is True
    writer = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    finding = tracking(home, None)
    assert finding.ok is False
    assert "(database is locked)" in finding.found
    writer.close()
    (tmp_path / "mlflow.db").write_text("no database at all, but long enough to have been one" * 20)
    finding = tracking(home, None)
    assert finding.ok is False
    assert "(file is not a database)" in finding.found
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/missing/mlflow.db")
    finding = tracking(home, None)
    assert finding.ok is False
    assert "missing is not there" in finding.found


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A URI of a bucket on a real S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        urlopen(Request(f"http://{host}:{port}/bucket", method="PUT"), timeout=10).close()
        yield f"s3://bucket/folder?scheme=http&endpoint_override={host}:{port}&region=us-east-1"
    finally:
        server.stop()


def test_an_object_store_is_written_to_and_left_as_it_was(bucket: str) -> None:
    from pyarrow import fs

    finding = storage_finding(bucket)
    assert finding == Finding(name="storage", ok=True, found="s3://bucket/folder: writable")
    system, _ = fs.FileSystem.from_uri(bucket)
    assert [each.path for each in system.get_file_info(fs.FileSelector("bucket", recursive=True)) if each.is_file] == []
    missing = storage_finding(bucket.replace("s3://bucket", "s3://user:secret@missing"))
    assert missing.ok is False
    assert "secret" not in f"{missing.found} {missing.way_out}"


# --- tokens, GPUs, resources, pictures


@given(
    st.sampled_from(["", "token", "disabled", "k8s"]),
    st.sampled_from([{}, {"RAY_AUTH_TOKEN": TOKEN}, {"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}]),
    st.booleans(),
)
def test_a_token_is_looked_for_and_never_shown(mode: str, token: dict[str, str], joins: bool) -> None:
    environment = token | ({"RAY_AUTH_MODE": mode} if mode else {}) | ({"RAY_ADDRESS": "head:6379"} if joins else {})
    finding = token_finding(environment, Path("/nowhere"))
    assert TOKEN not in f"{finding.found} {finding.way_out}"
    assert (finding.ok is False) == (mode == "token" and joins and "RAY_AUTH_TOKEN" not in token)
    assert finding.ok or finding.way_out


def test_a_tokens_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN)
    finding = token_finding({"RAY_ADDRESS": "head:6379", "RAY_AUTH_MODE": "token"}, tmp_path)
    assert finding.ok is True
    assert str(tmp_path / ".ray" / "auth_token") in finding.found
    assert TOKEN not in finding.found


@pytest.mark.parametrize(
    ("there", "built_for", "visible", "ok", "words"),
    [
        (False, "13.2", None, None, "training on CPU"),
        (True, "13.2", "", None, "CUDA_VISIBLE_DEVICES=''"),
        (True, None, None, False, "built without"),
        (True, "13.2", None, False, "torch for CUDA 13.2 cannot use it (driver too old)"),
    ],
)
def test_why_there_is_no_gpu(
    there: bool, built_for: str | None, visible: str | None, ok: bool | None, words: str
) -> None:
    finding = without_gpu(there=there, built_for=built_for, visible=visible, said="driver too old")
    assert finding.ok is ok
    assert words in finding.found
    assert ok is None or finding.way_out


def test_gpus_are_named_with_what_they_lack() -> None:
    whole = Gpu(model="NVIDIA H200", free_gb=140.0, total_gb=150.0, bfloat16=True)
    used = Gpu(model="Tesla V100", free_gb=3.0, total_gb=16.0, bfloat16=False)
    assert with_gpus([whole]) == Finding(name="gpu", ok=True, found="NVIDIA H200 (140 of 150 GB free)")
    both = with_gpus([whole, used])
    assert both.ok is None
    assert "Tesla V100 (3 of 16 GB free, no bfloat16)" in both.found
    assert "nvidia-smi" in both.way_out
    assert "recipe.precision" in both.way_out


@pytest.mark.parametrize(
    ("machine", "pack", "ok", "words"),
    [
        (Machine(cpus=8, gpus=2), {"gpus": 0.5, "size": 4}, True, "4 packs of 4 trials"),
        (Machine(cpus=8, gpus=2), {"gpus": 0}, None, "8 packs"),
        (Machine(cpus=2, gpus=0), {"cpus": 4}, False, "a pack asks for 4 CPUs"),
        (Machine(cpus=1, gpus=0), {}, True, "1 pack of"),
    ],
)
def test_how_many_packs_fit(machine: Machine, pack: dict[str, float], ok: bool | None, words: str) -> None:
    finding = resources_finding([machine], small_study(pack=pack), "Ray")
    assert finding.ok is ok
    assert words in finding.found
    assert ok or finding.way_out


def test_a_browser_that_is_missing_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/no/such/program")
    finding = pictures()
    assert finding.ok is None
    assert "/no/such/program" in finding.found
    assert "chromium" in finding.way_out


# --- findings


def test_a_check_that_raises_is_a_finding_beside_what_it_found_before() -> None:
    def look() -> Iterator[Finding]:
        yield Finding(name="first", ok=True, found="there")
        raise ArithmeticError("of a\nlibrary")

    first, second = examine(Check(name="both", look=look))
    assert first.ok is True
    assert (second.name, second.ok) == ("both", False)
    assert "ArithmeticError: of a library" in second.found
    assert second.way_out


@given(st.text(), st.text(min_size=1))
def test_every_error_becomes_a_fault_with_a_way_out(text: str, otherwise: str) -> None:
    finding = from_error("x", ValueError(text), otherwise)
    assert finding.ok is False
    assert finding.found
    assert finding.way_out


def test_the_last_clause_of_a_sentence_is_its_way_out() -> None:
    finding = from_error("x", ValueError("a: is b; it is c; do d."), "")
    assert (finding.found, finding.way_out) == ("a: is b; it is c", "do d")


def test_lines_for_people() -> None:
    bad = Finding(name="home", ok=False, found="/home: full", way_out="free some space")
    assert list(finding_lines(bad)) == ["FAIL  home               /home: full", f"{'':25}free some space"]
    good = Finding(name="gpu", ok=True, found="one")
    assert closing_sentence([bad, good], "run") == "One check failed; do what is said below FAIL, and look again."
    assert closing_sentence([good], "stablesweep run") == "Nothing stands in the way of `stablesweep run`."
