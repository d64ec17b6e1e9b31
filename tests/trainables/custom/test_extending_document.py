"""The examples of docs/extending.md, run as they stand."""

import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables import CustomPack, LockstepPack, Member, Recipe, load_dataset, registry

DOCUMENT = Path(__file__).parents[3] / "docs" / "extending.md"


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What all code blocks print, each run as a file of its own."""
    for table in ("_user_models", "_user_datasets", "_user_optimizers", "_user_trainables"):
        monkeypatch.setattr(registry, table, {})
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    for number, block in enumerate(blocks):
        file = tmp_path / f"block_{number}.py"
        file.write_text(block, encoding="utf-8")
        runpy.run_path(str(file))
    return capsys.readouterr().out


def finished(pack: Any) -> Any:
    while not pack.finished:
        pack.run_epoch()
    return pack.results()


def members(*rates: float) -> Iterator[Member]:
    for index, lr in enumerate(rates):
        yield Member(key=f"m{index}", seed=index, hyperparameters={"lr": lr})


def test_every_part_that_is_promised_is_registered(output: str) -> None:
    entries = registry.user_entries()
    assert (list(entries.models), list(entries.datasets)) == (["two_layers"], ["bright_or_dark"])
    assert (list(entries.optimizers), list(entries.trainables)) == (["signum", "heavy_ball"], ["regression", "bowl"])
    small, large = output.splitlines()
    assert small.startswith("lr 0.001 completed 0.")
    assert float(large.removeprefix("lr 0.1 completed ")) < float(small.split()[-1])


@pytest.mark.parametrize(
    ("optimizer", "values"),
    [("signum", {"lr": 0.01, "weight_decay": 0.1}), ("heavy_ball", {"lr": 0.1, "momentum": 0.5})],
)
def test_model_dataset_and_optimizers_learn_together(output: str, optimizer: str, values: dict[str, float]) -> None:
    pack = LockstepPack(
        [Member(key="a", seed=0, hyperparameters=values)],
        model="two_layers",
        model_options={"width": 16},
        optimizer=optimizer,
        data=load_dataset("bright_or_dark", size=6),
        recipe=Recipe(batch_size=16, warmup_epochs=0),
        epochs=6,
        study_seed=0,
    )
    (result,) = finished(pack)
    assert (result.status, result.error) == ("completed", 0.0)


def custom(name: str, members: Iterator[Member], epochs: int) -> Callable[[], CustomPack]:
    own = list(members)
    return lambda: CustomPack(own, trainable=name, model="m", optimizer="o", options={}, epochs=epochs, study_seed=0)


@pytest.mark.parametrize("name", ["regression", "bowl"])
def test_trainables_depend_on_no_neighbour_and_continue_to_the_bit(output: str, name: str) -> None:
    make = custom(name, members(0.001, 0.01, 0.015), 4)
    errors = {result.key: [row.error for row in result.history] for result in finished(make())}
    for one in members(0.001, 0.01, 0.015):
        (alone,) = finished(custom(name, iter([one]), 4)())
        assert [row.error for row in alone.history] == errors[one.key]
    pack = make()
    pack.run_epoch()
    again = make()
    again.load_state_dict(pack.state_dict())
    assert again.epoch == 1
    assert {result.key: [row.error for row in result.history] for result in finished(again)} == errors


def test_the_bowl_follows_its_closed_form(output: str) -> None:
    (result,) = finished(custom("bowl", members(0.015), 3)())
    curvature, start = np.array([1.0, 10.0, 100.0]), np.random.default_rng(0).normal(size=3)
    for row in result.history:
        at = (1 - 0.015 * curvature) ** (10 * row.epoch) * start
        assert row.error == pytest.approx(0.5 * (curvature * at**2).sum(), rel=1e-9)


def test_the_regression_diverges_where_it_must(output: str) -> None:
    with torch.random.fork_rng():
        results = finished(custom("regression", members(0.05, 1e6), 3)())
    assert [result.status for result in results] == ["completed", "diverged"]


def test_links_lead_somewhere() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    names = set(re.findall(r"\]\((\w+\.md)", text))
    assert names == {"models.md", "data.md", "spaces.md"}
    headings = {
        re.sub(r"[^a-z -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line[:1] == "#"
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= headings
