"""The user's modules: where they are looked for, what is said when they cannot be imported, and what workers are sent."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stablesweep.errors import StudyError
from stablesweep.imports import UserModules, import_modules, install_modules, other_entries, search_in
from stablesweep.study_file import load_study
from trainables import register_model
from trainables.registry import model_names

ROOT = Path(__file__).resolve().parents[2]
MODULE = "import stablesweep as ss\n\n@ss.register_model({name!r})\ndef build(*, num_classes, image_size, in_channels):\n    ...\n"


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("stablesweep.imports._folders", [])
    monkeypatch.setattr("stablesweep.imports._registered", {})


def study_file(folder: Path, module: object) -> Path:
    file = folder / "study.yaml"
    values = {
        "name": "s",
        "imports": module,
        "dataset": "digits",
        "arms": ["users_own/sgd"],
        "space": {"lr": {"around": 0.1}, "weight_decay": {"around": 1e-4}},
        "phases": {"stability": {"draws": 2, "epochs": 1}},
    }
    file.write_text(yaml.safe_dump(values))
    return file


def test_a_module_beside_the_study_file_is_found_and_registers(tmp_path: Path) -> None:
    (tmp_path / "users_module_a.py").write_text(MODULE.format(name="users_own"))
    study = load_study(study_file(tmp_path, ["users_module_a"]))
    assert study.imports == ["users_module_a"]
    assert "users_own" in model_names()


def test_a_worker_is_sent_only_what_no_module_registers(tmp_path: Path) -> None:
    (tmp_path / "users_module_b.py").write_text(MODULE.format(name="of_the_module"))
    search_in(tmp_path)
    import_modules(["users_module_b"])
    register_model("of_the_script", lambda **sizes: None)
    import_modules(["users_module_b"])
    assert set(other_entries().models) == {"of_the_script"}


def test_another_process_imports_the_module_itself(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "users_module_c.py").write_text(MODULE.format(name="users_own"))
    modules = UserModules(names=("users_module_c",), folders=("/not/on/this/machine", str(folder)))
    code = (
        f"from stablesweep.imports import UserModules, install_modules\ninstall_modules({modules!r})\n"
        "from trainables.registry import model_names\nprint('users_own' in model_names())"
    )
    path = f"{ROOT}:{ROOT / 'platform'}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env={"PYTHONPATH": path}
    )
    assert done.stdout.strip() == "True"


def test_nothing_beside_a_study_file_hides_a_library(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise RuntimeError('the wrong yaml')")
    search_in(tmp_path)
    install_modules(UserModules(names=("yaml",)))
    assert "RuntimeError" not in str(sys.modules["yaml"])


@pytest.mark.parametrize(
    ("text", "module", "words"),
    [
        (None, ["users_missing"], ["imports", "no module 'users_missing'", "users_missing.py beside the study file"]),
        ("import users_not_there\n", ["users_module_d"], ["'users_module_d' raised ModuleNotFoundError", "line 1"]),
        ("x = 1\n1 / 0\n", ["users_module_e"], ["'users_module_e' raised ZeroDivisionError", "line 2"]),
        ("def broken(:\n", ["users_module_f"], ["'users_module_f' raised SyntaxError"]),
        (None, ["../secret"], ["imports", "'../secret' is not the name of a module"]),
        (None, "users_module", ["imports", "valid list"]),
        (None, [3], ["imports", "3 is not the name of a module"]),
    ],
)
def test_a_module_that_cannot_be_imported_gets_one_sentence(
    tmp_path: Path, text: str | None, module: object, words: list[str]
) -> None:
    if text is not None and isinstance(module, list):
        (tmp_path / f"{module[0]}.py").write_text(text)
    file = study_file(tmp_path, module)
    with pytest.raises(StudyError) as caught:
        load_study(file)
    assert str(caught.value).startswith(str(file))
    assert len(str(caught.value).splitlines()) == 1
    for word in words:
        assert word in str(caught.value)
