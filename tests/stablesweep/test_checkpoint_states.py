"""A checkpoint whose digest fits and whose state is anything at all: it is taken up or refused in a sentence, never a traceback."""

import copy
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from stablesweep import pack_start
from stablesweep.checkpoints import CheckpointStore
from stablesweep.job import PackJob
from stablesweep.outbox import Outbox
from tests.pack_job import pack_job
from trainables import Ranks, load_dataset

ROUNDS = 300


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackJob:
    # Outside of a Ray worker there is nothing to ask for the device.
    monkeypatch.setattr(pack_start, "device", lambda: "cpu")
    return pack_job(storage=str(tmp_path))


def places(state: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in a nested state."""
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return [path, *(inner for key, value in items for inner in places(value, (*path, key)))]


def spoiled(state: dict[str, Any], chance: random.Random) -> Any:
    """The state with one thing in it replaced, or missing."""
    state = copy.deepcopy(state)
    *way, last = chance.choice([path for path in places(state) if path])
    holder: Any = state
    for key in way:
        holder = holder[key]
    if chance.random() < 0.3:
        del holder[last]
    else:
        anything: list[Any] = [
            None,
            -1,
            10**30,
            float("nan"),
            "x",
            b"\0",
            [],
            {},
            (1,),
            torch.zeros(3),
            torch.zeros(0),
            True,
        ]
        holder[last] = chance.choice(anything)
    return state


def test_any_state_is_taken_up_or_refused(job: PackJob) -> None:
    data = load_dataset(job.dataset, **job.dataset_options)
    pack = pack_start.build(job, Ranks(), data)
    pack.run_epoch()
    good = pack.state_dict()
    chance, refused = random.Random(0), 0
    store = CheckpointStore(f"{job.storage}/pack")
    for number in range(ROUNDS):
        state = good if number == 0 else spoiled(good, chance)
        store.save(lambda file, state=state: torch.save(state, file), epoch=number, step=0, keys=("a", "b"))  # type: ignore[misc]
        found, problem = pack_start._loaded(job, Ranks(), data, f"{job.storage}/pack", store.names()[0])
        assert (found is None) == (problem is not None)
        if number == 0:
            assert problem is None
        if problem is not None:
            refused += 1
            assert "cannot be used" in problem
            assert len(problem.splitlines()) == 1
    assert refused > ROUNDS / 4


def test_no_code_is_read(job: PackJob, tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "planted",))

    store = CheckpointStore(f"{job.storage}/pack")
    store.save(lambda file: torch.save({"format": 2, "asked": Planted()}, file), epoch=1, step=0, keys=("a", "b"))
    found, problem = pack_start._loaded(
        job, Ranks(), load_dataset("digits", image_size=16), f"{job.storage}/pack", store.names()[0]
    )
    assert found is None
    assert problem is not None
    assert "cannot be used" in problem
    assert not (tmp_path / "planted").exists()


def test_the_pack_goes_on_from_whichever_pack_was_furthest(job: PackJob) -> None:
    """Own and earlier packs' checkpoints; each pack's own are in order of writing, so that one of no use goes in its turn."""
    for name, epochs in {"pack": (1,), "whole": (0, 3), "half": (2,)}.items():
        for epoch in epochs:
            CheckpointStore(f"{job.storage}/{name}").save(
                lambda file: file.write(b"x"), epoch=epoch, step=7, keys=("a", "b")
            )
    job = replace(job, earlier_packs=("half", "whole", "none"))
    found = pack_start._checkpoints(job, cast(Outbox, None))
    places = [(Path(folder).name, int(checkpoint.partition("-")[0])) for folder, checkpoint in found]
    assert places == [("whole", 3), ("whole", 0), ("half", 2), ("pack", 1)]
