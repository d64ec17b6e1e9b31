"""Two runs of one study in two homes on one tracking store: the claim on its experiment. Real stores and processes, no Ray."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from mlflow import MlflowClient

from dashboards import tags
from dashboards.tracking.generation import digest
from dashboards.tracking.study import read_study
from stablesweep import claims, recorder
from stablesweep.claims import Claim, StudyClaim
from stablesweep.errors import HomeBusy, LedgerError
from stablesweep.home import Home
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.mailbox import Mailbox
from stablesweep.messages import Message
from stablesweep.owner import LockOwner, process_namespace, utc_now
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from tests.mlflow_server import Server, story
from tests.support import SMALL, small_study

HOLD = """
import sys
from pathlib import Path
from stablesweep.home import Home
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from tests.support import small_study
folder, study = Home.at(sys.argv[1]).study("small"), small_study()
folder.path.mkdir(parents=True)
publisher = Publisher(sys.argv[2], None, study, to_trials(write_ledger(folder.ledger, study)))
publisher.connect(Record(folder.record))
print("claimed", flush=True)
sys.stdin.read()
"""


@contextmanager
def first_run(home: Path, uri: str) -> "Iterator[subprocess.Popen[str]]":
    """A process that has connected to publish the small study, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home), uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        yield process
        process.kill()


def test_a_run_in_another_home_is_refused_until_the_first_has_died(tmp_path: Path, mlflow_server: Server) -> None:
    study, uri = tmp_path / "small.yaml", mlflow_server.uri
    study.write_text(yaml.safe_dump(SMALL))
    client = MlflowClient(uri)
    with first_run(tmp_path / "first", uri) as first:
        experiment = client.get_experiment_by_name("small")
        assert experiment is not None
        before = [run.to_dictionary() for run in client.search_runs([experiment.experiment_id])]
        claim = Claim.from_text(experiment.tags[tags.CLAIM])
        second = subprocess.run(
            [sys.executable, "-m", "stablesweep", "run", str(study), "--home", str(tmp_path / "second")],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        )
        assert [run.to_dictionary() for run in client.search_runs([experiment.experiment_id])] == before
        assert client.get_experiment(experiment.experiment_id).tags == experiment.tags
    assert claim is not None
    assert claim.owner.pid == first.pid
    assert second.returncode == 2
    until = time.strftime("%H:%M:%S", time.gmtime(claim.beat + claims.STALE_S))
    assert second.stderr == (
        f"Error: small: process {first.pid} on {socket.gethostname()}, since {claim.owner.since} in "
        f"{Home.at(tmp_path / 'first').study('small').path}, is running this study on the same tracking store; "
        f"wait for it or stop it; if it crashed, run again after {until} UTC.\n"
    )

    # It was killed and its claim is young: on this machine its end can be seen.
    record = Record(tmp_path / "second" / "record.db")
    ledger = write_ledger(tmp_path / "ledger.parquet", small_study())
    publisher = Publisher(uri, None, small_study(), to_trials(ledger))
    publisher.connect(record)
    assert claim_there(client, "small").owner.pid == os.getpid()
    publisher.end(finished=False, timing=None)
    record.close()
    assert client.get_experiment(experiment.experiment_id).tags[tags.CLAIM] == ""


def claim_there(client: MlflowClient, name: str) -> Claim:
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    claim = Claim.from_text(experiment.tags[tags.CLAIM])
    assert claim is not None
    return claim


class Store:
    """A store with the experiment of a study, in which others leave their claims."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri, self.client = folder, uri, MlflowClient(uri)
        self.study = small_study(phases={"stability": {"draws": 1, "epochs": 1}})
        self.ledger = folder / "ledger.parquet"
        self.trials = to_trials(write_ledger(self.ledger, self.study))
        self.record = Record(folder / "record.db")
        self.experiment = self.client.create_experiment("small", artifact_location=str(folder / "artifacts"))

    def leave(self, text: str) -> None:
        self.client.set_experiment_tag(self.experiment, tags.CLAIM, text)

    def there(self) -> str:
        return str(self.client.get_experiment(self.experiment).tags.get(tags.CLAIM, ""))

    def publisher(self) -> Publisher:
        return Publisher(self.uri, None, self.study, self.trials)

    def claim(self, host: str = "here") -> StudyClaim:
        claim = StudyClaim(self.client, self.experiment, "small", self.folder)
        claim._own = anothers(host=host, instance=host)
        return claim


@pytest.fixture
def store(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(claims, "SETTLE_S", 0.1)
    made = Store(tmp_path, f"sqlite:///{shutil.copy(empty_mlflow, tmp_path / 'mlflow.db')}")
    yield made
    made.record.close()


class Box:
    """A mailbox into which nothing is put, without a Ray actor behind it."""

    def drain(self) -> list[Message]:
        return []

    def stop(self) -> None:
        pass


def anothers(
    *,
    host: str = "node-3",
    pid: int = 71,
    age: float = 0.0,
    home: str = "/data/home/studies/small",
    namespace: str = "",
    instance: str = "",
) -> Claim:
    owner = LockOwner(host=host, pid=pid, since=utc_now(), job="raysubmit_7", namespace=namespace, instance=instance)
    return Claim(owner=owner, home=home, beat=time.time() - age)


def test_a_young_claim_of_another_machine_refuses_and_stays(store: Store) -> None:
    # The same path is another folder there.
    left = anothers(home=str(store.folder), age=170).as_text()
    store.leave(left)
    why = r"^small: process 71 on node-3 \(Ray job raysubmit_7\), since .*Z in .*, is running this study .* UTC\.$"
    with pytest.raises(HomeBusy, match=why):
        store.publisher().connect(store.record)
    assert store.there() == left
    assert store.client.search_runs([store.experiment]) == []


@pytest.mark.parametrize(
    "left",
    [
        "",
        "no json",
        "[]",
        "4711",
        '{"host": "node-3"}',
        json.dumps({"host": "a", "pid": "b", "since": "", "home": "", "job": None, "beat": 0}),
        json.dumps({**json.loads(anothers().as_text()), "beat": float("nan")}),
        json.dumps({**json.loads(anothers().as_text()), "beat": 1e300}),
        json.dumps({**json.loads(anothers().as_text()), "beat": 10**400}),
        json.dumps({**json.loads(anothers().as_text()), "beat": float("inf")}),
        json.dumps({**json.loads(anothers().as_text()), "pid": float("inf")}),
        # Deeper than Python reads; MLflow takes no longer value.
        "[" * 20_000,
    ],
    ids=range(12),
)
def test_what_is_no_claim_is_written_over(store: Store, left: str) -> None:
    store.leave(left)
    store.publisher().connect(store.record)
    assert claim_there(store.client, "small").owner.pid == os.getpid()


def test_a_claim_that_was_not_renewed_is_taken_over(store: Store) -> None:
    store.leave(anothers(age=claims.STALE_S + 1).as_text())
    store.publisher().connect(store.record)
    assert claim_there(store.client, "small").home == str(store.folder)


def test_a_living_process_of_another_home_is_waited_for_and_a_dead_one_is_not(store: Store) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        left = anothers(host=socket.gethostname(), pid=process.pid, namespace=process_namespace())
        store.leave(left.as_text())
        with pytest.raises(HomeBusy, match=f"process {process.pid} on"):
            store.publisher().connect(store.record)
        process.kill()
    store.publisher().connect(store.record)


def test_the_lock_decides_within_a_home(store: Store) -> None:
    here = LockOwner.this_process()
    left = anothers(host=here.host, pid=os.getppid(), home=str(store.folder), namespace=here.namespace)
    store.leave(left.as_text())
    store.publisher().connect(store.record)
    assert claim_there(store.client, "small").owner.pid == os.getpid()


def test_a_container_of_the_same_name_is_another_machine(store: Store) -> None:
    """Neither its process ids nor its paths mean the same here; its claim is young."""
    here = LockOwner.this_process()
    assert here.namespace
    with subprocess.Popen(["true"]) as dead:
        pass
    for pid in (here.pid, dead.pid):
        left = anothers(host=here.host, pid=pid, home=str(store.folder), namespace="another", instance="another")
        store.leave(left.as_text())
        with pytest.raises(HomeBusy, match=rf"process {pid} on {here.host} .* in {store.folder}, is running"):
            store.publisher().connect(store.record)
        assert store.there() == left.as_text()


def test_whose_process_id_is_ours_now_has_died(store: Store) -> None:
    here = LockOwner.this_process()
    store.leave(anothers(host=here.host, pid=here.pid, namespace=here.namespace, instance="another").as_text())
    store.publisher().connect(store.record)
    assert claim_there(store.client, "small").owner.instance == here.instance


def test_a_process_knows_its_own_claim_by_its_instance(store: Store) -> None:
    store.leave(anothers(instance=LockOwner.this_process().instance).as_text())
    store.publisher().connect(store.record)
    assert claim_there(store.client, "small").home == str(store.folder)


def test_a_claim_of_an_earlier_version_is_read(store: Store) -> None:
    fields = json.loads(anothers().as_text())
    del fields["namespace"], fields["instance"]
    assert Claim.from_text(json.dumps(fields)) == replace(anothers(), beat=fields["beat"])
    # On a host of the same name it cannot be known whether its process runs.
    store.leave(json.dumps({**fields, "host": socket.gethostname(), "pid": os.getpid()}))
    with pytest.raises(HomeBusy, match="is running this study"):
        store.publisher().connect(store.record)


def test_what_a_claim_says_cannot_write_to_the_terminal(store: Store) -> None:
    store.leave(anothers(host="node\x1b[2J\n3", home="/data\r\x07").as_text())
    with pytest.raises(HomeBusy, match=r"on node\[2J3 \(.*in /data, is"):
        store.publisher().connect(store.record)


def test_a_study_of_the_same_name_is_left_without_a_claim(store: Store) -> None:
    first = store.publisher()
    first.connect(store.record)
    first.begin([store.ledger], training=False)
    other = small_study(phases={"stability": {"draws": 1, "epochs": 3}})
    second = Publisher(store.uri, None, other, to_trials(write_ledger(store.folder / "other.parquet", other)))
    with pytest.raises(LedgerError):
        second.connect(store.record)
    assert store.there() == ""


class Interposed:
    """A store that calls somebody at each reading and after each writing.

    The first reading answers what was there before the call, the later ones what is there after it.
    """

    def __init__(self, client: MlflowClient, read: Callable[[int], None], wrote: Callable[[], None]) -> None:
        self.client, self.read, self.wrote, self.readings = client, read, wrote, 0

    def get_experiment(self, experiment: str) -> Any:
        self.readings += 1
        first = self.client.get_experiment(experiment) if self.readings == 1 else None
        self.read(self.readings)
        return first or self.client.get_experiment(experiment)

    def set_experiment_tag(self, *arguments: str) -> None:
        self.client.set_experiment_tag(*arguments)
        self.wrote()


def test_of_two_that_claim_at_the_same_moment_one_goes_on(store: Store) -> None:
    """Both read that there is no claim, then both write, and both read again."""
    slow, quick, refused = store.claim("slow"), store.claim("quick"), []
    both_read, quick_wrote, slow_wrote = threading.Barrier(2, timeout=60), threading.Event(), threading.Event()

    def quick_reads(number: int) -> None:
        if number == 1:
            both_read.wait()
        else:
            assert slow_wrote.wait(60)

    def slow_reads(number: int) -> None:
        if number == 1:
            both_read.wait()
            assert quick_wrote.wait(60)

    def take_quickly() -> None:
        try:
            quick.take()
        except HomeBusy as error:
            refused.append(str(error))

    quick._client = Interposed(store.client, quick_reads, quick_wrote.set)
    slow._client = Interposed(store.client, slow_reads, slow_wrote.set)
    other = threading.Thread(target=take_quickly)
    other.start()
    slow.take()
    other.join()
    assert len(refused) == 1
    assert "process 71 on slow" in refused[0]
    assert claim_there(store.client, "small").owner.host == "slow"


def test_a_claim_is_renewed_once_a_minute_also_when_nothing_is_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = store.publisher()
    publisher.connect(store.record)
    publisher.begin([store.ledger], training=True)
    store.record.apply([message for trial in store.trials for message in story(trial, 1, "completed")])
    publisher.publish(store.record)
    first, seen = store.there(), digest(read_study(store.uri, "small"))
    publisher.publish(store.record)
    assert store.there() == first
    now = time.monotonic() + claims.BEAT_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    publisher.publish(store.record)
    second = Claim.from_text(store.there())
    assert second is not None
    assert second.beat > json.loads(first)["beat"]
    assert replace(second, beat=0.0) == replace(Claim.from_text(first) or second, beat=0.0)
    publisher.publish(store.record)
    assert store.there() == second.as_text()
    # A reader sees nothing of it.
    assert digest(read_study(store.uri, "small")) == seen


def test_who_was_taken_over_stops_and_leaves_the_study_to_the_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = store.publisher()
    publisher.connect(store.record)
    publisher.begin([store.ledger], training=True)
    left = anothers().as_text()
    store.leave(left)
    store.record.apply([message for trial in store.trials for message in story(trial, 1, "completed")])
    now = time.monotonic() + claims.BEAT_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(HomeBusy, match=r"process 71 on node-3 .* has taken over this study"):
        publisher.publish(store.record)
    assert store.client.search_runs([store.experiment], f"tags.`{tags.ROLE}` = 'trial'") == []
    publisher.end(finished=False, timing=None)
    assert store.there() == left


def dead_process() -> Claim:
    with subprocess.Popen(["true"]) as process:
        pass
    return anothers(host=socket.gethostname(), pid=process.pid, namespace=process_namespace())


@pytest.mark.parametrize(
    ("left", "who"),
    [
        (lambda: "", "another process has"),
        (lambda: dead_process().as_text(), r"process .*, has"),
        (lambda: anothers(age=claims.STALE_S + 1).as_text(), r"process 71 on node-3 .*, has"),
    ],
    ids=["released", "crashed", "not renewed"],
)
def test_who_was_taken_over_by_one_that_has_ended_stops_too(
    store: Store, monkeypatch: pytest.MonkeyPatch, left: Callable[[], str], who: str
) -> None:
    """Its runs are in the store, and this process, which could not reach it, does not know them."""
    publisher = store.publisher()
    publisher.connect(store.record)
    publisher.begin([store.ledger], training=True)
    store.leave(left())
    found = store.there()
    store.record.apply([message for trial in store.trials for message in story(trial, 1, "completed")])
    now = time.monotonic() + claims.BEAT_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(
        HomeBusy, match=rf"^small: {who} taken over this study, .* and has ended; .*: run again to cont"
    ):
        publisher.publish(store.record)
    assert store.client.search_runs([store.experiment], f"tags.`{tags.ROLE}` = 'trial'") == []
    assert store.there() == found


def test_a_clock_that_was_put_back_is_no_other_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = store.claim()
    claim.renew()
    assert store.there() == ""
    claim.take()
    now, clock = time.monotonic() + claims.BEAT_S, time.time() - 2 * claims.MAX_AHEAD_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "time", lambda: clock)
    claim.renew()
    assert claim_there(store.client, "small").beat == round(clock, 3)


def test_the_recorder_of_who_was_taken_over_asks_for_a_stop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PUBLISH_EVERY_S", 0.1)
    monkeypatch.setattr(claims, "BEAT_S", 0.2)
    publisher, stop = store.publisher(), threading.Event()
    publisher.connect(store.record)
    running = recorder.Recorder(store.record.path, publisher, cast(Mailbox, Box()), stop, lambda _: None)
    running.start()
    time.sleep(1)
    assert not stop.is_set()
    store.leave(anothers().as_text())
    assert stop.wait(60)
    with pytest.raises(HomeBusy, match="has taken over this study"):
        running.finish()
