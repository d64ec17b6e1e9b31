import subprocess
import sys
from pathlib import Path

import pytest

import trainables

ROOT = Path(__file__).parents[2]


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_names_are_known_without_torch() -> None:
    code = """
import sys, trainables
print(trainables.model_names(), trainables.dataset_names(), trainables.optimizer_names())
print(sorted(trainables.optimizer_hyperparameters("sgd")), trainables.VIT_SPECS["vit_p_micro"].width, trainables.Member)
print(sorted({"torch", "timm", "sklearn", "numpy", "pydantic"} & set(sys.modules)))
"""
    assert run_python(code).splitlines()[-1] == "[]"


def test_recipe_needs_no_torch() -> None:
    assert run_python("import sys, trainables; trainables.Recipe(); print('torch' in sys.modules)").strip() == "False"


def test_every_public_name_resolves() -> None:
    assert sorted(trainables.__all__) == sorted(trainables._HOME)
    assert all(getattr(trainables, name) is not None for name in trainables.__all__)
    assert set(trainables.__all__) <= set(dir(trainables))


def test_an_unknown_attribute_is_named() -> None:
    with pytest.raises(AttributeError, match="no attribute 'create_modle'"):
        trainables.create_modle  # noqa: B018
