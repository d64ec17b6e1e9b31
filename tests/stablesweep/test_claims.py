"""Two runs of one study in two homes on one tracking store: the claim on its experiment. Real stores and processes, no Ray."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from dashboards import tags
from stablesweep import claims
from stablesweep.claims import Claim
from stablesweep.errors import HomeBusy, LedgerError
from stablesweep.home import Home
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.owner import LockOwner, process_namespace
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from tests.mlflow_server import Server
from tests.stablesweep.claim_store import Store, anothers, claim_there
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
