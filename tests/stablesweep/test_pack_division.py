"""How packs are divided among workers and along checkpoints, without Ray."""

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablesweep.checkpoints import Seal
from stablesweep.packs import TrialPack, along_checkpoints
from stablesweep.trials import Trial
from tests.scheduled import ADAMW_ONLY, ARMS, SPACE, Session, study


def handed_out(arms: int, slots: int, *, draws: int = 24, stored: Sequence[Seal] = (), **pack: Any) -> list[TrialPack]:
    """All packs of a study of so many arms, when nothing ends before the last is handed out."""
    asked = {"draws": draws, "epochs": 1, "reference": 0}
    space = {name: SPACE[name] for name in ("lr", "weight_decay")}
    own = study(arms=ARMS[:arms], space=space, phases={"stability": asked}, pack={"size": 24, **pack})
    session = Session(own, stored=stored)
    packs = list(iter(partial(session.schedule.next, slots), None))
    trained = [trial.key for pack in packs for trial in pack.trials]
    assert sorted(trained) == sorted(trial.key for trial in session.ledger)
    assert len({pack.name for pack in packs}) == len(packs)
    return packs


@pytest.mark.parametrize(
    ("arms", "slots", "sizes"),
    [
        (1, 1, [24]),
        (1, 2, [12, 12]),
        (1, 5, [5, 5, 5, 5, 4]),
        (1, 1000, [1] * 24),
        (2, 2, [24, 12, 12]),
        (3, 2, [24, 24, 12, 12]),
        (2, 4, [12, 12, 6, 6, 6, 6]),
        (2, 1, [24, 24]),
    ],
)
def test_the_last_packs_are_divided_so_that_no_worker_idles(arms: int, slots: int, sizes: list[int]) -> None:
    packs = handed_out(arms, slots)
    assert sorted((len(pack.trials) for pack in packs), reverse=True) == sizes
    assert [len(pack.trials) for pack in handed_out(arms, slots, spread=False)] == [24] * arms


def test_rounds_that_prune_stay_together() -> None:
    for pruning, sizes in ((None, [1, 1, 1]), ({"rule": "median"}, [3])):
        phases = {"search": {"draws": 6, "epochs": 4, "at_once": 3, "pruning": pruning}}
        session = Session(study(phases=phases, **ADAMW_ONLY))
        packs = list(iter(partial(session.schedule.next, 8), None))
        assert [len(pack.trials) for pack in packs] == sizes


def sealed(trials: Iterable[Trial], epoch: int) -> Seal:
    return Seal(sha256="", bytes=0, epoch=epoch, step=0, keys=tuple(trial.key for trial in trials))


def test_a_continued_study_divides_its_packs_as_they_were_trained() -> None:
    parts = handed_out(1, 3)
    seals = [sealed(pack.trials, 1) for pack in parts]
    # A storage lists its folders in any order.
    for stored in itertools.permutations(seals):
        again = handed_out(1, 1, stored=stored)
        assert {pack.name: pack.trials for pack in again} == {pack.name: pack.trials for pack in parts}
    # What is without a checkpoint is a part by itself.
    rest = handed_out(1, 1, stored=seals[1:])
    assert {pack.name: pack.trials for pack in rest} == {pack.name: pack.trials for pack in parts}


def test_each_trial_goes_on_from_where_it_is_furthest() -> None:
    whole = handed_out(1, 1)[0].trials
    early, late = sealed(whole, 3), sealed(whole, 9)
    half = sealed(whole[:12], 7)
    assert [pack.trials for pack in handed_out(1, 1, stored=[early, half])] == [whole[:12], whole[12:]]
    assert [pack.trials for pack in handed_out(1, 1, stored=[half, late])] == [whole]
    assert [pack.trials for pack in handed_out(1, 1, stored=[early])] == [whole]


@given(st.data())
def test_however_a_pack_is_divided_its_trials_are_there_once_and_a_name_says_which(data: st.DataObject) -> None:
    pack = handed_out(1, 1)[0]
    subsets = st.lists(st.sampled_from(pack.trials), unique_by=lambda trial: trial.key)
    stored = [sealed(data.draw(subsets), data.draw(st.integers(0, 3))) for _ in range(data.draw(st.integers(0, 4)))]
    divided = along_checkpoints(pack, stored)
    assert sorted(trial.key for part in divided for trial in part.trials) == sorted(t.key for t in pack.trials)
    again = along_checkpoints(pack, data.draw(st.permutations(stored)))
    assert [(part.name, part.trials) for part in again] == [(part.name, part.trials) for part in divided]
    for part in divided:
        # No checkpoint of the part's trials is further than one that holds all of them.
        furthest = {
            trial.key: max((s.epoch for s in stored if trial.key in s.keys), default=-1) for trial in part.trials
        }
        whole = max((s.epoch for s in stored if {t.key for t in part.trials} <= set(s.keys)), default=-1)
        assert set(furthest.values()) == {whole}


def test_rounds_that_prune_stay_as_they_are_whatever_is_stored() -> None:
    phases = {"search": {"draws": 6, "epochs": 4, "at_once": 3, "pruning": {"rule": "median"}}}
    own = study(phases=phases, **ADAMW_ONLY)
    first = Session(own).schedule.next()
    assert first is not None
    stored = [sealed(first.trials[:1], 2), sealed(first.trials[1:], 1)]
    again = Session(own, stored=stored).schedule.next()
    assert again is not None
    assert again.trials == first.trials
