"""One change in MLflow, and what the local copy makes of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric

from dashboards import tags
from dashboards.statistics.costs import ArmCost
from dashboards.tracking.changes import prefixes
from dashboards.tracking.snapshot import Snapshot
from dashboards.tracking.stamp import Watch
from dashboards.tracking.study import StudyNotFound, read_study
from tests.dashboards.rounds import ARMS, EPOCHS, HARDWARE, Rounds, check, purge, same, with_warnings


def test_each_change_is_seen(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    """Restarted, deleted, restored, purged: numbers worked out by hand."""

    def row(key: str) -> dict[str, object]:
        found = check(snapshot, tracking_uri, "demo").trials.to_pylist()
        return next(row for row in found if row["key"] == key)

    key, other = rounds.keys[0], rounds.keys[1]
    assert row(key)["status"] == "pending"
    rounds.touch(key, "running", 2)
    rounds.announce()
    assert (row(key)["status"], row(key)["epochs_done"]) == ("running", None)
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1, 2]
    rounds.touch(key, "lost", 2)
    rounds.log_pack(key)
    rounds.announce()
    assert (row(key)["status"], row(key)["reason"], row(key)["epochs_done"]) == ("lost", "because lost", 2)
    rounds.touch(key, "running", 0)
    rounds.announce()
    found = row(key)
    assert (found["status"], found["reason"], found["epochs_done"], found["seconds"]) == ("running", None, None, None)
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1, 2]
    rounds.touch(key, "running", 3)
    rounds.announce()
    assert row(key)["epochs_done"] is None
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1, 2, 3]
    rounds.touch(key, "completed", EPOCHS)
    rounds.log_pack(key)
    rounds.touch(other, "completed", EPOCHS)
    rounds.announce()
    before = snapshot.generation
    completed = row(key)
    assert (completed["status"], completed["error"]) == ("completed", rounds.values(key, EPOCHS)[1])
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1, 2, 3, 4] * 2
    whole = snapshot.generation
    assert whole != before
    run_id = rounds.delete(key)
    assert row(key)["status"] == "pending"
    assert snapshot.generation != whole
    rounds.client.restore_run(run_id)
    assert row(key) == completed
    assert snapshot.generation == whole
    rounds.client.delete_run(run_id)
    assert row(key)["status"] == "pending"
    purge(tracking_uri, run_id)
    assert row(key)["status"] == "pending"
    assert row(other)["status"] == "completed"


def test_what_a_dying_publisher_left_is_completed(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    key = rounds.keys[0]
    rounds.touch(key, "running", 1)
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    # It died between the metrics of the second epoch and the tags: nothing says yet that there is news.
    rounds.client.log_batch(rounds.runs[key], metrics=[Metric(tags.ERROR, rounds.values(key, 2)[1], 1_002, 2)])
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1]
    rounds.number += 1
    rounds.touch(key, "running", 3)
    check(snapshot, tracking_uri, "demo")
    # In the same round again, and then the round is over.
    rounds.touch(key, "running", 4)
    check(snapshot, tracking_uri, "demo")
    rounds.announce()
    assert check(snapshot, tracking_uri, "demo").curves["epoch"].to_pylist() == [1, 2, 3, 4]


def test_a_file_after_the_last_write_of_a_dying_publisher(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str
) -> None:
    key = rounds.keys[0]
    rounds.touch(key, "completed", 2)
    check(snapshot, tracking_uri, "demo")
    store = Watch(tracking_uri)
    before = store.stamp()
    # More than the metrics say, so that what is read shows where it is from.
    rounds.state[key] = ("completed", EPOCHS)
    rounds.log_pack(key)
    assert store.stamp() == before is not None
    assert check(snapshot, tracking_uri, "demo").curves["epoch"].to_pylist() == [1, 2, 3, 4]


def test_a_run_deleted_and_purged_while_nobody_looked(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path
) -> None:
    for key in rounds.keys[:4]:
        rounds.touch(key, "completed", EPOCHS)
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    purge(tracking_uri, rounds.delete(rounds.keys[2]))
    check(Snapshot(tracking_uri, "demo", tmp_path / "copies"), tracking_uri, "demo")


def test_a_run_deleted_before_the_first_look_is_restored(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.announce()
    run_id = rounds.delete(rounds.keys[0])
    check(snapshot, tracking_uri, "demo")
    rounds.client.restore_run(run_id)
    assert check(snapshot, tracking_uri, "demo").trials["status"].to_pylist().count("completed") == 1


def test_costs_hardware_and_files_follow(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    assert check(snapshot, tracking_uri, "demo").costs == {}
    client = rounds.client
    for name, value in ((tags.TRAIN_IMAGES, "50000"), (tags.GPUS, "0.5"), (tags.HARDWARE, HARDWARE)):
        client.set_tag(rounds.study_run, name, value)
    for name, value in ((tags.PARAMETERS, "123"), (tags.FLOPS, "456"), (tags.ACTIVATIONS, "odd")):
        client.set_tag(rounds.arm_runs["vit/sgd"], name, value)
    client.log_text(rounds.study_run, json.dumps({"training": 3}), tags.TIMING_ARTIFACT)
    rounds.announce()
    with pytest.warns(UserWarning, match=r"activations of MLflow run .* is no whole number \('odd'\)"):
        found = read_study(tracking_uri, "demo")
    common: dict[str, Any] = {"images_per_epoch": 50_000, "gpus": 0.5}
    assert found.costs == {
        "vit/adamw": ArmCost(**common),
        "vit/sgd": ArmCost(parameters=123, flops=456, **common),
    }
    assert (found.hardware, found.timing) == (HARDWARE, {"training": 3.0})
    check(snapshot, tracking_uri, "demo")


def test_a_warning_is_repeated_as_long_as_it_holds(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path
) -> None:
    key, other = rounds.keys[0], rounds.keys[6]
    for one in (key, other):
        rounds.touch(one, "completed", EPOCHS)
    rounds.log_pack(key)
    rounds.damage_pack(other)
    rounds.another_run(key)
    rounds.another_run("stability/vit/sgd/999999/0")
    rounds.client.set_tag(rounds.arm_runs["vit/sgd"], tags.ACTIVATIONS, "odd")
    rounds.announce()
    parts = ("cannot be read", "several MLflow runs", "not in its ledger", "no whole number")

    def told(reader: Snapshot) -> list[str]:
        texts = with_warnings(reader.refresh)[1]
        return [next(part for part in parts if part in text) for text in texts]

    check(snapshot, tracking_uri, "demo")
    assert told(snapshot) == list(parts)
    for _ in range(2):
        from_disk = Snapshot(tracking_uri, "demo", tmp_path / "copies")
        assert told(from_disk) == list(parts)
        check(from_disk, tracking_uri, "demo")
    # A round that has to do with nothing of it.
    rounds.touch(rounds.keys[1], "running", 1)
    rounds.announce()
    check(from_disk, tracking_uri, "demo")
    assert told(from_disk) == list(parts)
    rounds.log_pack(other)
    rounds.announce()
    check(from_disk, tracking_uri, "demo")
    assert told(from_disk) == list(parts[1:])
    assert told(Snapshot(tracking_uri, "demo", tmp_path / "copies")) == list(parts[1:])


def test_a_deleted_arm_run_takes_its_files_along(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.log_pack(rounds.keys[0])
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    rounds.client.delete_run(rounds.arm_runs[ARMS[0]])
    check(snapshot, tracking_uri, "demo")
    rounds.client.restore_run(rounds.arm_runs[ARMS[0]])
    check(snapshot, tracking_uri, "demo")


def test_a_deleted_study_is_not_found_and_comes_back(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    before = check(snapshot, tracking_uri, "demo")
    rounds.client.delete_experiment(rounds.experiment)
    with pytest.raises(StudyNotFound, match="No study 'demo'"):
        snapshot.refresh()
    rounds.client.restore_experiment(rounds.experiment)
    assert snapshot.refresh() is before
    rounds.client.delete_run(rounds.study_run)
    with pytest.raises(StudyNotFound, match="No study 'demo'"):
        snapshot.refresh()


def test_another_study_of_the_name_is_read_anew(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path
) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    rounds.client.rename_experiment(rounds.experiment, "old demo")
    Rounds(tracking_uri, tmp_path / "other", "demo", draws=2)
    with pytest.warns(UserWarning, match="is of another study named 'demo'"):
        found = snapshot.refresh()
    same(found, read_study(tracking_uri, "demo"))
    assert found.trials.num_rows == 4


@pytest.mark.parametrize(("low", "high"), [(0, 0), (1, 9), (123, 145), (7, 1_234), (999, 1_001), (5, 4), (0, 9_999)])
def test_prefixes_cover_a_range_once(low: int, high: int) -> None:
    numbers = [f"{number:010d}" for number in range(max(0, low - 50), high + 50)]
    hits = [number for number in numbers for prefix in prefixes(low, high) if number.startswith(prefix)]
    assert hits == [f"{number:010d}" for number in range(low, high + 1)]
    assert len(prefixes(low, high)) <= 18 * len(str(high))
