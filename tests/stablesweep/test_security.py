"""What nobody may get in, out or at: code from data, files outside a folder, secrets, ports for the network.

That names are text in HTML: tests/dashboards/test_report.py, test_app_browser.py, test_troubles.py and test_mlflow_ui.py here.
"""

import ast
import base64
import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

import stablesweep as ss
from dashboards import tags
from dashboards.report.figures import slug
from dashboards.tracking.snapshot_files import folder_of
from stablesweep.checkpoints import CheckpointStore, DamagedCheckpoint, open_storage, packs_in
from stablesweep.cli import main
from stablesweep.errors import StablesweepError, StudyError
from stablesweep.home import Home
from stablesweep.packs import pack_name
from stablesweep.study_file import load_study
from tests.mlflow_server import Server
from tests.support import SMALL, small_study, start_command

ROOT = Path(__file__).parents[2]
ESCAPING = [
    "..",
    ".",
    "",
    "/etc",
    "../other",
    "a/b",
    "a\\b",
    "a\0b",
    "~root",
    "-rf",
    "name\n",
    "n" * 81,
    "ä",
    "a b",
    "<b>",
]


@pytest.mark.parametrize("name", ESCAPING)
def test_no_study_has_a_name_that_is_no_folder_of_its_own(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="name"):
        small_study(name=name)
    with pytest.raises(StablesweepError, match="cannot be the name of a study"):
        Home.at(tmp_path).study(name)


@pytest.mark.parametrize("command", ["status", "report", "export"])
def test_no_command_leaves_the_home(command: str, tmp_path: Path) -> None:
    home, outside = tmp_path / "a" / "home", tmp_path / "outside"
    (home / "studies").mkdir(parents=True)
    outside.mkdir()
    (outside / "ledger.parquet").write_bytes(b"not yours")
    out = ["--out", str(tmp_path / "out.csv")] if command == "export" else []
    shown = CliRunner().invoke(main, [command, "../../../outside", "--home", str(home), *out])
    assert shown.exit_code != 0
    assert "Traceback" not in shown.output
    assert [path for path in tmp_path.rglob("*") if path.is_file() and home not in path.parents] == [
        outside / "ledger.parquet"
    ]


@pytest.mark.parametrize("arm", ["../sgd", "vit_p_micro/../sgd", "/etc/passwd", "..", "a/b/c", "vit_p_micro/<b>"])
def test_no_arm_has_parts_that_are_paths(arm: str) -> None:
    with pytest.raises(ValidationError, match="arms"):
        small_study(arms=[arm], space={"weight_decay": {"around": 1e-4}, "lr": {"around": 1e-3}})


@pytest.mark.parametrize("name", ["..", "../x", "/x", "x/../y", "<b>"])
def test_what_users_name_themselves_is_no_path(name: str) -> None:
    for register in (ss.register_model, ss.register_dataset, ss.register_optimizer, ss.register_trainable):
        with pytest.raises(ValueError, match="use letters, digits"):
            register(name)
    with pytest.raises(ValidationError, match="models"):
        small_study(models={name: {"base": "vit_p_micro"}})


@pytest.mark.parametrize("name", ["..", "../../x", "/etc/passwd", "a/b\\c", "timm:vit/timm:lion", "x" * 500, "<b>"])
def test_files_named_after_arms_and_studies_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, name)
    assert folder.parent == tmp_path
    assert folder.name not in (".", "..")
    assert len(folder.name) < 80
    assert (tmp_path / f"stability-{slug(name)}.png").resolve().parent == tmp_path
    # Arms of a pack passed the checks above: of their characters only these two mean something in a path.
    assert not {"/", ":"} & set(pack_name("stability", name, "p000"))


def test_a_study_file_runs_no_code(tmp_path: Path) -> None:
    file, proof = tmp_path / "study.yaml", tmp_path / "proof"
    for text in (f"!!python/object/apply:os.system ['touch {proof}']", f"!!python/object/new:os.mkdir ['{proof}']"):
        file.write_text(f"name: {text}\n")
        with pytest.raises(StudyError, match="not valid YAML"):
            load_study(file)
        with pytest.raises(StudyError, match="not valid YAML"):
            load_study("quickstart", [f"name={text}"])
    assert not proof.exists()


def test_every_file_of_torch_is_read_as_weights_only() -> None:
    calls = []
    for folder in ("platform/stablesweep", "search_spaces", "trainables", "dashboards"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                    options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                    calls.append(str(file))
                    assert options.get("weights_only") == "True", file
    assert calls


def test_the_web_app_listens_to_this_machine_alone(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    process = start_command("dashboard", "--home", str(tmp_path), "--port", str(port), folder=tmp_path, log=log)
    try:
        give_up = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < give_up
                time.sleep(0.2)
        # Another address of the same machine: whoever listens to the network answers there, too.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
    finally:
        process.kill()
        process.wait()


LISTENERS = """
import json
from stablesweep.ray_session import ray_session
with ray_session():
    import ray
    import psutil
    actor = ray.remote(num_cpus=0)(type("Idle", (), {"ready": lambda self: None})).remote()
    ray.get(actor.ready.remote())
    own = psutil.Process()
    found = [
        (process.name(), connection.laddr.ip)
        for process in [own, *own.children(recursive=True)]
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
print(json.dumps(found))
"""


@pytest.mark.cluster
def test_a_ray_of_our_own_listens_to_this_machine_alone(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    found = subprocess.run(
        [sys.executable, "-c", LISTENERS], check=True, capture_output=True, text=True, cwd=tmp_path, env=clean
    )
    listeners = json.loads(found.stdout.splitlines()[-1])
    assert {"gcs_server", "raylet"} <= {name for name, _ in listeners}
    assert [(name, address) for name, address in listeners if not is_loopback(address)] == []


def is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


SECRETS = {
    "MLFLOW_TRACKING_PASSWORD": "hunter2-in-a-variable",
    "MLFLOW_TRACKING_TOKEN": "tracking-token-4f1c",
    "RAY_AUTH_TOKEN": "5ec2e7" + "0" * 26 + "5ec2e7" + "f" * 26,
    "AWS_SECRET_ACCESS_KEY": "aws-secret-9b07",
}
IN_THE_URI = "hunter2-in-the-uri"


@pytest.mark.parametrize(
    "place", ["s3://b/f?secret_key={}&x= y", "foo://h/x?secret_key={}", "s3://b/f?k=%ZZ{}", "hdfs://me:{}@h:x/f"]
)
def test_no_message_about_a_place_for_checkpoints_shows_a_secret(place: str) -> None:
    with pytest.raises(StablesweepError, match="no place for checkpoints") as error:
        open_storage(place.format(IN_THE_URI))
    assert IN_THE_URI not in str(error.value)


@pytest.mark.parametrize("name", ["sha256", "bytes", "epoch", "step", "keys"])
def test_a_seal_that_somebody_else_wrote_is_checked(name: str, tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path / "pack"))
    store.save(lambda file: file.write(b"state"), epoch=1, step=2, keys=("a",))
    (seal,) = tmp_path.glob("pack/*.json")
    values = json.loads(seal.read_text())
    wrong: list[object] = [None, True, 1.5, [7], {}, *(["1"] if name in ("bytes", "epoch", "step") else [])]
    for value in wrong:
        seal.write_text(json.dumps({**values, name: value}))
        with pytest.raises(DamagedCheckpoint, match="it is not what was written"):
            store.seal(store.names()[0])
        assert list(packs_in(str(tmp_path))) == []


@pytest.mark.slow
@pytest.mark.cluster
def test_no_secret_leaves_the_environment(tmp_path: Path, mlflow_server: Server) -> None:
    study, home = tmp_path / "secret.yaml", tmp_path / "home"
    small: dict[str, Any] = {"name": "secret", "phases": {"stability": {"draws": 1, "epochs": 1}}}
    small |= {"arms": ["vit_p_micro/adamw"], "space": {"weight_decay": {"around": 1e-4}, "lr": {"around": 4e-3}}}
    study.write_text(yaml.safe_dump({**SMALL, **small}))
    log = tmp_path / "log"
    variables = {
        "MLFLOW_TRACKING_URI": f"http://me:{IN_THE_URI}@{urlsplit(mlflow_server.uri).netloc}",
        "MLFLOW_TRACKING_USERNAME": "me",
        "RAY_AUTH_MODE": "token",
        "AWS_ACCESS_KEY_ID": "id",
        **SECRETS,
    }
    process = start_command("run", str(study), "--home", str(home), folder=tmp_path, log=log, **variables)
    assert process.wait(timeout=400) == 0, log.read_text()
    assert Home.at(home).study("secret").report.is_file()
    study.unlink()

    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server.uri)
    experiment = client.get_experiment_by_name("secret")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags[tags.ROLE] for run in runs} == {"study", "arm", "trial"}
    recorded = json.dumps([experiment.tags, *(run.to_dictionary() for run in runs)])
    # The server's folder has its database and every artifact.
    files = [path for folder in (tmp_path, mlflow_server.folder) for path in folder.rglob("*") if path.is_file()]
    assert {"log", "record.db", "report.html", "server.db"} <= {path.name for path in files}
    for secret in (*SECRETS.values(), IN_THE_URI):
        for form in (secret.encode(), base64.b64encode(f"me:{secret}".encode())):
            assert form.decode() not in recorded
            assert [path for path in files if form in path.read_bytes()] == []
