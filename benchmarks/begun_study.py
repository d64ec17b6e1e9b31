"""A study as a run begins it, whose trials are then made up or trained without Ray Tune: what the parts of ``record.py`` share."""

from dataclasses import dataclass
from pathlib import Path

from stablesweep.home import Home, StudyFolder
from stablesweep.ledger import Ledger
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from stablesweep.running_study import RunningStudy
from stablesweep.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """A study with its record, connected with MLflow."""

    place: StudyFolder
    ledger: Ledger
    record: Record
    publisher: Publisher
    state: RunningStudy


def begun(study: Study, folder: Path, uri: str | None = None, artifacts: Path | None = None) -> Begun:
    """Begin a study in a home; without ``uri`` its tracking store is an SQLite file beside it."""
    place = Home.at(folder).study(study.name)
    ledger, record = Ledger.opened(place.ledger, study), Record(place.record)
    if uri is None:
        uri, artifacts = f"sqlite:///{folder}/mlflow.db", folder / "artifacts"
    publisher = Publisher(uri, artifacts, study, ledger.trials)
    publisher.connect(record)
    publisher.begin([place.ledger], training=True)
    state = RunningStudy(study, place, ledger, record, publisher, print)
    return Begun(place=place, ledger=ledger, record=record, publisher=publisher, state=state)
