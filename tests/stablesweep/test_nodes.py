"""What the nodes of a cluster are asked: the comparison, and a real cluster with a node that sees less than the driver."""

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import stablesweep as ss
from stablesweep.errors import StablesweepError
from stablesweep.imports import UserModules
from stablesweep.node_view import NodeView, Question, look
from stablesweep.nodes import NAMED, compare, node_findings
from stablesweep.preflight import dataset_path
from stablesweep.probe import probe_file, unseen
from tests.ray_cluster import RayCluster, _family
from tests.stablesweep.test_two_workers_on_ray import write_shard
from tests.support import small_study

OWN = NodeView(name="driver", versions={"python": "3.11.7", "torch": "2.15.0", "stablesweep": "0.1.0"})
SAME = replace(OWN, name="10.0.0.2")


def test_equal_nodes_are_all_in_order() -> None:
    findings = compare(OWN, [SAME, replace(SAME, name="10.0.0.3")], {}, dataset="/data", storage="/shared")
    assert [finding.ok for finding in findings] == [True] * 4
    assert "2 other nodes answered" in findings[0].found


@pytest.mark.parametrize(
    ("other", "silent", "name", "words"),
    [
        (
            replace(SAME, versions={**OWN.versions, "torch": "2.14.0"}),
            {},
            "versions on nodes",
            ["10.0.0.2 (torch 2.14.0)"],
        ),
        (
            replace(SAME, storage="it is not there"),
            {},
            "storage on nodes",
            ["/shared", "10.0.0.2", "--storage", "s3://"],
        ),
        (replace(SAME, dataset="it is not there"), {}, "dataset on nodes", ["/data", "10.0.0.2", "dataset.path"]),
        (replace(SAME, modules=("mine",)), {}, "modules on nodes", ["10.0.0.2 (no module mine)"]),
        (SAME, {"10.0.0.9": "no answer within 120 s"}, "nodes", ["10.0.0.9 (no answer within 120 s)"]),
    ],
)
def test_what_a_node_lacks_is_named_with_the_node(
    other: NodeView, silent: dict[str, str], name: str, words: list[str]
) -> None:
    findings = compare(OWN, [SAME, other], silent, dataset="/data", storage="/shared")
    (fault,) = [finding for finding in findings if not finding.ok]
    assert fault.name == name
    for word in words:
        assert word in f"{fault.found} {fault.way_out}"


def test_of_many_nodes_some_are_named() -> None:
    others = [replace(SAME, name=f"10.0.1.{number}", storage="it is not there") for number in range(NAMED + 3)]
    (fault,) = [finding for finding in compare(OWN, others, {}, dataset="", storage="/x") if not finding.ok]
    assert "10.0.1.4" in fault.found
    assert "10.0.1.5" not in fault.found
    assert fault.found.endswith("and 3 more")


def test_a_storage_with_a_password_is_shown_without() -> None:
    seen = compare(OWN, [SAME], {}, dataset="", storage="s3://user:secret@bucket/folder?region=x")
    assert [finding.found for finding in seen if "secret" in finding.found] == []


def test_a_driver_that_trains_nothing_needs_only_the_same_ray_and_stablesweep() -> None:
    node = replace(SAME, versions={**OWN.versions, "ray": "2.50.0"})
    head = replace(OWN, versions={**node.versions, "torch": "none"})
    other = replace(node, name="10.0.0.3", versions={**node.versions, "torch": "2.14.0"})
    older = replace(node, name="10.0.0.4", versions={**node.versions, "ray": "2.49.0"})

    def found(*others: NodeView, trains: bool) -> tuple[bool | None, str]:
        _, versions = compare(head, others, {}, dataset="", storage="", trains=trains)
        return versions.ok, versions.found

    assert found(node, node, trains=False) == (
        True,
        "python 3.11.7, torch 2.15.0, stablesweep 0.1.0, ray 2.50.0 on all",
    )
    assert found(node, trains=True)[0] is False
    wrong, said = found(node, other, trains=False)
    assert wrong is False
    assert said.startswith("10.0.0.2 has python 3.11.7, torch 2.15.0")
    assert said.endswith("on 10.0.0.3 (torch 2.14.0)")
    assert found(older, older, trains=False) == (
        False,
        "the driver has stablesweep 0.1.0, ray 2.50.0, but there are other versions on 10.0.0.4 (ray 2.49.0)",
    )


views = st.builds(
    NodeView,
    name=st.text(min_size=1),
    versions=st.fixed_dictionaries({name: st.sampled_from(["1", "2", "none"]) for name in OWN.versions}),
    storage=st.text(),
    dataset=st.text(),
    modules=st.lists(st.text()).map(tuple),
)


@given(st.lists(views), st.dictionaries(st.text(), st.text()), st.text(), st.text())
def test_a_fault_has_a_way_out_and_no_fault_is_missed(
    others: list[NodeView], silent: dict[str, str], dataset: str, storage: str
) -> None:
    findings = compare(OWN, others, silent, dataset=dataset, storage=storage)
    assert [finding for finding in findings if finding.ok is False and not finding.way_out] == []
    bad = {"nodes"} if silent else set()
    for view in others:
        bad |= {"versions on nodes"} if view.versions != OWN.versions else set()
        bad |= {"storage on nodes"} if storage and view.storage else set()
        bad |= {"dataset on nodes"} if dataset and view.dataset else set()
        bad |= {"modules on nodes"} if view.modules else set()
    assert {finding.name for finding in findings if not finding.ok} == bad


def test_a_probe_is_seen_while_it_is_there_and_leaves_nothing(tmp_path: Path) -> None:
    storage = tmp_path / "a folder" / "with more"
    with probe_file(str(storage)) as place:
        assert unseen(place) == ""
        assert Path(place).parent == storage
    assert "not there" in unseen(place)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept").mkdir()
    with probe_file(str(tmp_path / "kept")):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]


def test_a_storage_that_cannot_be_written_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    sentence = r"storage .*file/packs: cannot be written .*; .*--storage\.$"
    with pytest.raises(StablesweepError, match=sentence), probe_file(str(tmp_path / "file" / "packs")):
        pytest.fail("written below a file")


def test_a_place_of_an_unknown_kind_is_not_seen() -> None:
    assert "nowhere" in unseen("nowhere://bucket/x")


def test_which_datasets_are_read_from_a_path(tmp_path: Path) -> None:
    parquet = {"name": "parquet", "path": str(tmp_path), "image_size": 16}
    assert dataset_path(small_study(dataset=parquet)) == str(tmp_path)
    assert dataset_path(small_study(dataset={**parquet, "path": "s3://bucket/data"})) == "s3://bucket/data"
    assert dataset_path(small_study()) is None
    ss.register_dataset("mine", lambda path: None)
    assert dataset_path(small_study(dataset={"name": "mine", "path": str(tmp_path)})) is None


def test_modules_are_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("stablesweep.imports._folders", [])
    (tmp_path / "raising_module.py").write_text("raise RuntimeError")
    modules = UserModules(names=("raising_module", "missing_module.part"), folders=(str(tmp_path), "/not/here"))
    assert look("here", Question(modules=modules)).modules == ("missing_module.part",)


@pytest.mark.cluster
def test_one_node_is_not_asked(ray_here: None, tmp_path: Path) -> None:
    # A storage that cannot be written would raise if it were looked for.
    assert node_findings(small_study(), str(tmp_path / "missing" / "\0")) == []


CHECK = """
import sys
from stablesweep import nodes
from stablesweep.ray_session import ray_session
from stablesweep.study_file import load_study

nodes.ANSWER_LIMIT_S = float(sys.argv[3])
with ray_session():
    try:
        nodes.check_nodes(load_study(sys.argv[1]), sys.argv[2])
    except nodes.StudyError as error:
        print(error)
    else:
        print("in order")
"""


def joined(cluster: RayCluster, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process that finds the cluster."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={**environment, **cluster.variables},
    )


def python_without(folder: Path, place: Path) -> str:
    """A program like this Python, in whose mount namespace ``folder`` is empty, as on a machine of its own."""
    program = place / "python-elsewhere"
    inside = 'mount -t tmpfs none "$0" && exec "$@"'
    program.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{inside}' '{folder}' '{sys.executable}' \"$@\"\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@pytest.mark.cluster
@pytest.mark.faults
def test_a_node_that_does_not_see_storage_and_dataset_is_named_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, shared = tmp_path / "local", tmp_path / "shared"
    (local / "data").mkdir(parents=True)
    shared.mkdir()
    for split in ("train", "val"):
        write_shard(local / "data" / f"{split}.parquet", 64)
    parquet = small_study(dataset={"name": "parquet", "path": str(local / "data"), "image_size": 16})
    study, digits = shared / "study.yaml", shared / "digits.yaml"
    study.write_text(yaml.safe_dump(parquet.to_config()))
    digits.write_text(yaml.safe_dump(small_study().to_config()))
    with RayCluster() as cluster:
        with monkeypatch.context() as patch:
            patch.setattr("tests.ray_cluster.sys.executable", python_without(local, tmp_path))
            elsewhere = cluster.add_node()
        said = joined(cluster, "-c", CHECK, str(study), str(local / "packs"), "60").stdout
        assert f"the storage {local / 'packs'} cannot be seen from " in said
        assert "s3://" in said
        assert "1 more" in said
        assert len(said.splitlines()) == 1
        doctor = joined(
            cluster, "-m", "stablesweep", "doctor", str(study), "--json", "--storage", str(shared / "packs")
        )
        assert doctor.returncode == 1
        (line,) = doctor.stdout.splitlines()
        found = {one["name"]: one for one in json.loads(line.removeprefix("STABLESWEEP-DOCTOR "))}
        assert {name for name, one in found.items() if one["ok"] is False} == {"dataset on nodes"}
        assert str(local / "data") in found["dataset on nodes"]["found"]
        assert cluster.token not in doctor.stdout + doctor.stderr
        assert joined(cluster, "-c", CHECK, str(digits), str(shared / "packs"), "60").stdout == "in order\n"
        # Nothing was left behind, on either side.
        assert sorted(path.name for path in shared.iterdir()) == ["digits.yaml", "study.yaml"]
        assert [path.name for path in local.iterdir()] == ["data"]
        for pid in _family(elsewhere.process.pid):
            os.kill(pid, signal.SIGSTOP)
        said = joined(cluster, "-c", CHECK, str(digits), str(shared / "packs"), "5").stdout
        assert "no answer from " in said
        assert "no answer within 5.0 s" in said
