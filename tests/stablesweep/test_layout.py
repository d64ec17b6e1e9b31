"""The traps of a source root called ``platform``: see CONTRIBUTING.md."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import stablesweep

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_platform_is_a_source_root_and_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert (ROOT / "platform" / "stablesweep" / "__init__.py").exists()


def test_a_child_process_at_the_root_gets_the_standard_module() -> None:
    child = run_python("import platform, uuid; print(platform.system()); uuid.uuid4()", ROOT)
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip() in ("Linux", "Darwin", "Windows")


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("search_spaces", ("stablesweep", "trainables", "dashboards", "torch", "ray", "mlflow")),
        ("trainables", ("stablesweep", "search_spaces", "dashboards", "torch", "ray", "mlflow")),
        ("dashboards", ("stablesweep", "search_spaces", "trainables", "torch", "ray", "mlflow")),
        ("stablesweep", ("torch", "ray", "mlflow", "pyarrow", "pydantic")),
        ("stablesweep.cli", ("torch", "ray", "mlflow", "pyarrow", "pydantic")),
    ],
)
def test_importing_a_package_loads_nothing_heavy_and_no_neighbour(package: str, forbidden: tuple[str, ...]) -> None:
    code = f"import sys, {package}; print([name for name in {forbidden!r} if name in sys.modules])"
    child = run_python(code, ROOT)
    assert child.stdout.strip() == "[]", child.stderr


def test_dashboards_reads_and_reports_without_torch_or_ray() -> None:
    code = (
        "import sys, dashboards.tracking.study, dashboards.report.page, dashboards.summary, dashboards.figures;"
        "print([name for name in ('torch', 'ray', 'stablesweep') if name in sys.modules])"
    )
    assert run_python(code, ROOT).stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["search_spaces", "trainables", "dashboards"])
def test_a_users_folder_that_hides_ours_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    child = run_python("import stablesweep", tmp_path)
    assert child.returncode != 0
    last = child.stderr.strip().splitlines()[-1]
    assert f"needs its own package '{name}'" in last
    assert str(tmp_path) in last


def test_the_wheel_holds_all_packages_and_their_files(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        path.relative_to(base).as_posix()
        for base in (ROOT / "platform", ROOT)
        for package in ("stablesweep", "search_spaces", "trainables", "dashboards")
        for path in (base / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".html", ".typed")
    }
    assert modules <= names
    assert not [name for name in names if name.startswith(("platform/", "tests/"))]


def test_public_names_are_importable() -> None:
    assert [name for name in stablesweep.__all__ if not hasattr(stablesweep, name)] == []
    expected = {"Study", "SearchSpace", "LogUniform", "Uniform", "IntUniform", "Choice", "around", "register_model"}
    expected |= {"register_dataset", "run", "load"}
    assert expected <= set(stablesweep.__all__)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_files_that_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"(?:platform|search_spaces|trainables|dashboards|tests|docs|benchmarks)/[\w./-]*\w", text)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_begins_with_the_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("    make quickstart") for line in lines[:25])
