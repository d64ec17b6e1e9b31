"""A tracking store with the experiment of a study, in which others leave their claims."""

import time
from pathlib import Path

from mlflow import MlflowClient

from dashboards import tags
from stablesweep.claims import Claim, StudyClaim
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.owner import LockOwner, utc_now
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from tests.mlflow_server import story
from tests.support import small_study


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

    def training(self) -> Publisher:
        """The publisher of a study that is being trained."""
        publisher = self.publisher()
        publisher.connect(self.record)
        publisher.begin([self.ledger], training=True)
        return publisher

    def complete(self) -> None:
        """All trials have ended, and nothing of it is published."""
        self.record.apply([message for trial in self.trials for message in story(trial, 1, "completed")])

    def claim(self, host: str = "here") -> StudyClaim:
        claim = StudyClaim(self.client, self.experiment, "small", self.folder)
        claim._own = anothers(host=host, instance=host)
        return claim


def claim_there(client: MlflowClient, name: str) -> Claim:
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    claim = Claim.from_text(experiment.tags[tags.CLAIM])
    assert claim is not None
    return claim


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
