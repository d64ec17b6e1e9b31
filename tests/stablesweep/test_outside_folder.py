"""The worked example of a table, copied to a folder outside the repository, against the installed wheel."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import scipy.stats

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my sweep"
    shutil.copytree(ROOT / "examples" / "tabular_mlp", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def call(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as it is installed from the wheel, in the user's folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        # Before everything else, the clone of an editable install too.
        env={**environment, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def test_the_example_runs_from_the_users_own_folder(site: Path, users_folder: Path) -> None:
    where = call(
        site, users_folder, "-c", "import stablesweep, trainables; print(stablesweep.__file__, trainables.__file__)"
    )
    assert all(Path(path).is_relative_to(site) for path in where.stdout.split("\n")[0].rsplit(" ", 1)), where

    ran = call(site, users_folder, "-m", "stablesweep", "run", "study.yaml", "--set", "phases.stability.draws=16")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    exported = call(site, users_folder, "-m", "stablesweep", "export", "study.yaml", "--out", "trials.parquet")
    assert exported.returncode == 0, exported.stderr
    table = pq.read_table(users_folder / "trials.parquet")
    rows = table.to_pylist()
    assert len(rows) == 32
    assert {row["status"] for row in rows} <= {"completed", "diverged"}

    # Five dimensions for adam and six for sgd, whole numbers whole, conditional ones only where their condition holds.
    names = json.loads(table.schema.metadata[b"stablesweep.hyperparameters"])
    assert set(names) == {"lr", "alpha", "layers", "width", "second_width", "momentum"}
    for row in rows:
        assert (row["second_width"] is None) == (row["layers"] == 1)
        assert (row["momentum"] is None) == (row["optimizer"] == "adam")
        assert isinstance(row["layers"], int)
        assert isinstance(row["width"], int)
    assert {row["layers"] for row in rows} == {1, 2, 3}

    # The EDF over them, against scipy's.
    code = "import stablesweep as ss; e = ss.load('tabular-mlp').edf('mlp/adam'); print([e(x) for x in (2, 5, 10, 50)])"
    shares = call(site, users_folder, "-c", code)
    errors = [row["error"] for row in rows if row["arm"] == "mlp/adam"]
    assert None not in errors
    expected = scipy.stats.ecdf(errors).cdf.evaluate([2, 5, 10, 50])
    assert json.loads(shares.stdout) == pytest.approx(list(expected))


def test_the_example_is_what_scikit_learn_gives(users_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One trial by hand, with scikit-learn alone."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    import stablesweep as ss
    from stablesweep.study_file import load_study
    from stablesweep.trials import plan_trials

    monkeypatch.syspath_prepend(str(users_folder))
    study = load_study(users_folder / "study.yaml", ["phases.stability.draws=4"])
    trial = next(one for one in plan_trials(study) if one.optimizer == "sgd" and one.hyperparameters["layers"] == 2)
    from trainables.registry import user_trainable

    train = user_trainable("tabular_mlp")
    assert train is not None
    member = ss.Member(key=trial.key, seed=trial.seed, hyperparameters=trial.hyperparameters)
    context = ss.TrainingContext(
        model="mlp", optimizer="sgd", epochs=3, study_seed=study.seed, options={"batch_size": 32}
    )
    metrics = [epoch[trial.key] for epoch in train([member], context)]

    values = trial.hyperparameters
    data = load_breast_cancer(return_X_y=True)
    rows, held_out, labels, held_out_labels = train_test_split(*data, test_size=0.3, stratify=data[1], random_state=0)
    scaler = StandardScaler().fit(rows)
    network = MLPClassifier(
        [values["width"], values["second_width"]],
        solver="sgd",
        learning_rate_init=values["lr"],
        alpha=values["alpha"],
        momentum=values["momentum"],
        batch_size=32,
        random_state=trial.seed,
    )
    for epoch in metrics:
        assert not isinstance(epoch, Exception)
        network.partial_fit(scaler.transform(rows), labels, classes=[0, 1])
        wrong = network.predict(scaler.transform(held_out)) != held_out_labels
        assert epoch["error"] == pytest.approx(100 * wrong.mean())
