"""Workers that stay from pack to pack: which ones train a pack, without Ray, and that they do, on a real one."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray

import stablesweep as ss
from stablesweep import crew
from stablesweep.crew import Crew
from stablesweep.mailbox import _Mailbox
from tests.support import run_here, small_study
from tests.waiting import wait_until


class Method:
    """A method of an object as that of an actor; what it answers is there at once."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.remote = method


class Actor:
    """The mailbox as an actor in this process."""

    def __init__(self) -> None:
        self.box = _Mailbox()

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self.box, name))

    @property
    def wait_end(self) -> Method:
        return Method(lambda crew, pack: lambda: self.box.has_ended(crew, pack))


class Workers:
    """Workers that train packs until one kills them."""

    started: list["Workers"]
    deadly: set[str]

    def __init__(self, mailbox: Any, *_: object) -> None:
        self.crew = f"crew {len(self.started)}"
        self.reason: str | None = None
        self.trained: list[str] = []
        self._mailbox, self._alive = mailbox, False

    def start(self) -> None:
        self.started.append(self)
        self._alive = True

    def is_alive(self) -> bool:
        """Whether they are there; looking at them is what makes them work."""
        for pack in list(self._mailbox.box._crews[self.crew].ends)[len(self.trained) :]:
            if self._alive:
                self.trained.append(pack)
                self._alive = pack not in self.deadly and self._has_not_trained(pack)
                self.reason = None if self._alive else f"{pack} killed it"
                if self._alive:
                    self._mailbox.box.note_end(self.crew, pack)
        return self._alive

    def _has_not_trained(self, pack: str) -> bool:
        # What leaks takes the room of every pack after the first.
        return "leaks" not in self.deadly or self.trained == [pack]

    def join(self, _seconds: float) -> None:
        """Nothing to wait for."""


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Crew:
    def wait(asked: list[Callable[[], bool]], timeout: float) -> tuple[list[Any], list[Any]]:
        return ([one for one in asked if one()], [])

    monkeypatch.setattr(Workers, "started", [], raising=False)
    monkeypatch.setattr(Workers, "deadly", set(), raising=False)
    monkeypatch.setattr(crew, "_Workers", Workers)
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    monkeypatch.setattr(ray, "wait", wait)
    return Crew(Actor(), ss.Study.model_validate(small_study().to_config()).pack, "nowhere")


def test_the_same_workers_train_pack_after_pack(own: Crew) -> None:
    assert [own.train(name) for name in "abc"] == [None] * 3
    assert [workers.trained for workers in Workers.started] == [["a", "b", "c"]]


def test_workers_that_left_for_want_of_a_pack_are_replaced(own: Crew) -> None:
    assert own.train("a") is None
    own.mailbox.box._crews["crew 0"].dismissed = True
    assert own.train("b") is None
    assert [workers.trained for workers in Workers.started] == [["a"], ["b"]]


def test_a_pack_that_others_before_it_made_fail_gets_workers_of_its_own(own: Crew) -> None:
    Workers.deadly.add("leaks")
    assert [own.train(name) for name in "ab"] == [None, None]
    assert [workers.trained for workers in Workers.started] == [["a", "b"], ["b"]]


def test_a_pack_that_fails_alone_too_is_given_up_with_the_reason(own: Crew) -> None:
    Workers.deadly.add("b")
    assert [own.train(name) for name in "abc"] == [None, "b killed it", None]
    assert [workers.trained for workers in Workers.started] == [["a", "b"], ["b"], ["c"]]


def note_process(members: Sequence[Any], context: Any) -> Iterator[dict[str, dict[str, float]]]:
    """A trainable that says in which process it ran."""
    Path(context.options["folder"], members[0].key.replace("/", "-")).write_text(str(os.getpid()))
    yield {member.key: {"error": 1.0} for member in members}


@pytest.mark.cluster
def test_one_process_trains_all_packs_and_goes_at_the_end(ray_here: None, tmp_path: Path) -> None:
    ss.register_trainable("note", note_process)
    said = tmp_path / "said"
    said.mkdir()
    study = small_study(
        name="crews",
        dataset=None,
        trainable={"name": "note", "folder": str(said)},
        arms=["one/sgd", "other/sgd"],
        space={"lr": {"around": 0.1}},
        phases={"stability": {"draws": 2, "epochs": 1}},
        # All CPUs for one pack, and a pack for each trial.
        pack={"size": 1, "cpus": os.cpu_count()},
    )
    ran = run_here(study, tmp_path / "home")
    assert set(ran.results.trials["status"].to_pylist()) == {"completed"}
    processes = {file.name: int(file.read_text()) for file in said.iterdir()}
    assert len(processes) == 4
    assert len(set(processes.values())) == 1
    wait_until(lambda: not Path(f"/proc/{set(processes.values()).pop()}").exists(), "the worker has gone")
