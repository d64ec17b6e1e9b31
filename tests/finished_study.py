"""A finished study in a home, published into its own MLflow without being trained, and commands on it."""

from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from stablesweep.cli import main
from stablesweep.home import Home
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from stablesweep.recorder import publish_all
from tests.mlflow_server import story
from tests.support import small_study

ARMS = ("vit_c_micro/sgd", "vit_p_micro/sgd")


def published(folder: Path) -> Home:
    """A home with a finished study of six draws, of which the first diverged in one arm."""
    home = Home.at(folder)
    study = small_study(
        name="done",
        arms=list(ARMS),
        space={"weight_decay": {"around": 1e-4}, "lr": {"around": 0.1}},
        phases={"stability": {"draws": 6, "epochs": 2}},
    )
    files = home.study("done")
    files.path.mkdir(parents=True)
    trials = to_trials(write_ledger(files.ledger, study))
    files.study_file.write_text(yaml.safe_dump(study.to_config()))
    record = Record(files.record)
    publisher = Publisher(home.tracking_uri, home.artifact_root, study, trials)
    publisher.connect(record)
    publisher.begin([files.ledger, files.study_file], training=True)
    for trial in trials:
        worse = 30.0 if trial.arm == ARMS[1] else 0.0
        status = "diverged" if trial.arm == ARMS[1] and trial.draw == 0 else "completed"
        record.apply(story(trial, 2, status, 5.0 + trial.draw + worse))
    assert publish_all(publisher, record) is None
    publisher.end(finished=True, timing={"total": 1.0})
    record.close()
    return home


def call(home: Home, *arguments: str) -> Result:
    """``stablesweep`` with these arguments on a home, in this process."""
    return CliRunner().invoke(main, [*arguments, "--home", str(home.path)])
