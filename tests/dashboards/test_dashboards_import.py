"""Importing the package costs nothing, and its names are what they say."""

import subprocess
import sys
from pathlib import Path

import dashboards

HEAVY = ("torch", "ray", "mlflow", "plotly", "scipy", "pandas", "sklearn", "jinja2", "numpy", "pyarrow")


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, dashboards; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_statistics_load_neither_mlflow_nor_plotly() -> None:
    code = (
        "import sys; from dashboards import Edf, figures, summary, tables; import dashboards.tracking.study\n"
        f"print([name for name in {HEAVY[:7]} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists_and_hides_no_module() -> None:
    modules = {path.stem for path in Path(dashboards.__file__).parent.glob("*.py")}
    for name in dashboards.__all__:
        assert getattr(dashboards, name) is not None
        # Importing the module later would put it in the place of the function.
        assert name not in modules
    assert set(dashboards.__all__) <= set(dir(dashboards))
    assert not hasattr(dashboards, "no_such_name")
