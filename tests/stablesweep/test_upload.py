"""Which files of a working directory are sent to a cluster."""

import os
from pathlib import Path

import pytest

from stablesweep.submission import rules, upload
from stablesweep.submission.environment import EnvironmentRefused, job_variables, runtime_environment
from stablesweep.submission.upload import UploadError, check_size, choose_files, describe, stage


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with one of everything."""
    root = tmp_path / "sweep"
    for name in ("study.yaml", "my_models.py", "package/__init__.py", "package/labels.csv"):
        write(root / name)
    return root


def sent(root: Path, **options: object) -> set[str]:
    return {str(piece.path) for piece in choose_files(root, **options).sent}  # type: ignore[arg-type]


CODE = {"study.yaml", "my_models.py", "package/__init__.py", "package/labels.csv"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".git/config", rules.HIDDEN),
        (".env", rules.HIDDEN),
        ("package/.cache/x.py", rules.HIDDEN),
        ("env/lib/x.py", rules.VIRTUAL_ENVIRONMENT),
        ("venv/lib/x.py", rules.VIRTUAL_ENVIRONMENT),
        ("my-home/mlflow.txt", rules.HOME),
        ("mlruns/0/meta.yaml", rules.TRACKING),
        ("mlartifacts/0/x.txt", rules.TRACKING),
        ("mlflow.db", rules.TRACKING),
        ("mlflow.db-wal", rules.TRACKING),
        ("package/__pycache__/x.pyc", rules.COMPILED),
        ("weights.pt", rules.DATA),
        ("package/IMAGE.PNG", rules.DATA),
        ("images/cats/1.txt", rules.DATASET),
        ("scratch/notes.txt", rules.IGNORED),
        ("package/private.txt", rules.IGNORED),
        ("package/tmp.txt", rules.IGNORED),
    ],
)
def test_what_is_left_out_and_why(folder: Path, name: str, reason: str) -> None:
    write(folder / name, "1234")
    write(folder / "env/pyvenv.cfg")
    write(folder / "my-home/studies/s/ledger.parquet")
    write(folder / ".gitignore", "scratch/\n")
    write(folder / ".rayignore", "private.txt\n")
    write(folder / "package/.gitignore", "tmp.*\n")
    chosen = choose_files(folder, dataset=folder / "images")
    (piece,) = [piece for piece in chosen.pieces if str(piece.path) == name]
    assert (piece.left_out, piece.size) == (reason, 4)
    assert {str(piece.path) for piece in chosen.sent} == CODE
    assert any(reason in line for line in describe(chosen))


@pytest.mark.parametrize("variable", ["RAY_AUTH_TOKEN_PATH", "GOOGLE_APPLICATION_CREDENTIALS"])
def test_a_token_in_the_folder_stays_here(folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    write(folder / "keys/token")
    (folder / "link").symlink_to(folder / "keys/token")
    write(folder / "package/token")
    monkeypatch.setenv(variable, str(folder / "keys" / ".." / "keys/token"))
    assert sent(folder) == {*CODE, "package/token"}


def test_the_ignore_files_of_the_repository_around_it_hold_too(folder: Path) -> None:
    write(folder.parent / ".git/config")
    write(folder.parent / ".gitignore", "/sweep/package/\n")
    assert sent(folder) == {"study.yaml", "my_models.py"}
    (folder.parent / ".git/config").unlink()
    (folder.parent / ".git").rmdir()
    assert sent(folder) == CODE


def test_links_that_point_outside_are_left_out(folder: Path) -> None:
    outside = write(folder.parent / "secret.txt")
    (folder / "a.txt").symlink_to(outside)
    (folder / "b.py").symlink_to(folder / "my_models.py")
    (folder / "c").symlink_to(folder.parent, target_is_directory=True)
    (folder / "d").symlink_to(folder.parent / "nowhere")
    os.mkfifo(folder / "pipe")
    chosen = choose_files(folder)
    reasons = {str(piece.path): piece.left_out for piece in chosen.pieces if str(piece.path) not in CODE}
    assert reasons == {
        "a.txt": rules.OUTSIDE,
        "b.py": None,
        "c": rules.OUTSIDE,
        "d": rules.OUTSIDE,
        "pipe": rules.SPECIAL,
    }


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (".env", rules.HIDDEN),
        (".git/config", rules.HIDDEN),
        ("env/lib/x.py", rules.VIRTUAL_ENVIRONMENT),
        ("my-home/report.html", rules.HOME),
        ("mlflow.db", rules.TRACKING),
        ("weights.pt", rules.DATA),
        ("scratch/notes.txt", rules.IGNORED),
        ("package/tmp.txt", rules.IGNORED),
        ("package/labels.csv", None),
    ],
)
def test_a_link_does_not_send_what_is_left_out_itself(folder: Path, target: str, reason: str | None) -> None:
    write(folder / target)
    write(folder / "env/pyvenv.cfg")
    write(folder / "my-home/studies/s/ledger.parquet")
    write(folder / ".gitignore", "scratch/\n")
    write(folder / "package/.gitignore", "tmp.*\n")
    write(folder / "links/.gitignore", "labels.csv\n")
    (folder / "links/settings.txt").symlink_to(folder / target)
    (folder / "links/again.txt").symlink_to("settings.txt")
    reasons = {str(piece.path): piece.left_out for piece in choose_files(folder).pieces}
    assert [reasons["links/settings.txt"], reasons["links/again.txt"]] == [reason, reason]


def test_include_sends_what_a_rule_leaves_out_and_the_study_always_goes(folder: Path) -> None:
    write(folder / "weights/base.pt")
    write(folder / "weights/other.pt")
    write(folder / ".gitignore", "*.yaml\n")
    assert sent(folder, include=["weights/base.*", ".gitignore"]) == CODE - {"study.yaml"} | {"weights/base.pt"}
    assert sent(folder, always=folder / "study.yaml") == CODE


def test_what_is_staged_is_what_is_said(folder: Path, tmp_path: Path) -> None:
    write(folder / "data.npz", "y" * 2048)
    write(folder / "run.sh").chmod(0o755)
    chosen, staged = choose_files(folder), tmp_path / "staged"
    stage(chosen, staged)
    files = {str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file()}
    assert files == {str(piece.path) for piece in chosen.sent} == CODE | {"run.sh"}
    assert os.access(staged / "run.sh", os.X_OK)
    lines = describe(chosen)
    assert lines[0].startswith(f"Sending 5 files, 5 B of {folder}")
    assert "Left out, data and pictures: 1 file, 2 KiB (data.npz)" in lines


def test_too_much_is_refused_with_the_largest_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_size(choose_files(folder))
    monkeypatch.setattr(upload, "LARGEST_UPLOAD", 10_000)
    write(folder / "package/large.csv", "x" * 20_000)
    with pytest.raises(UploadError, match=r"19\.5 KiB would be sent.*package/large\.csv.*\.rayignore"):
        check_size(choose_files(folder))


def test_a_clone_of_this_project_brings_its_package(tmp_path: Path) -> None:
    assert runtime_environment(tmp_path, {}) == {"working_dir": str(tmp_path)}
    write(tmp_path / "platform/stablesweep/__init__.py")
    assert runtime_environment(tmp_path, {"A": "1"}) == {
        "working_dir": str(tmp_path),
        "py_modules": [str(tmp_path / "platform/stablesweep")],
        "env_vars": {"A": "1"},
    }
    assert runtime_environment(None, {}) == {}


def test_variables_are_handed_over_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert job_variables(["WANDB_MODE"]) == {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": "http://tracking:5000"}
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert job_variables([]) == {}


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("postgresql://ray:hunter2@db/mlflow", "holds a password"),
        ("https://me:hunter2/more@mlflow", "holds a password"),
        ("sqlite:////home/me/mlflow.db", "cannot see this file"),
        ("./mlruns", "cannot see this file"),
    ],
)
def test_a_tracking_server_that_the_cluster_cannot_use(monkeypatch: pytest.MonkeyPatch, uri: str, message: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(EnvironmentRefused, match=message) as refused:
        job_variables([])
    assert "hunter2" not in str(refused.value)
    assert job_variables(["MLFLOW_TRACKING_URI"]) == {"MLFLOW_TRACKING_URI": uri}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RAY_AUTH_TOKEN", "not handed over"),
        ("NOT_SET_HERE", "export it first"),
        ("KEY=hunter2", "the name of a variable alone"),
    ],
)
def test_variables_that_are_not_handed_over(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2")
    with pytest.raises(EnvironmentRefused, match=message) as refused:
        job_variables([name])
    assert "hunter2" not in str(refused.value)
