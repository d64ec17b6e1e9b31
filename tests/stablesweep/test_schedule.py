"""Phases that feed each other, without Ray: packs are handed out, and a closed form stands for what training would give."""

import math
import random
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablesweep.errors import LedgerError
from stablesweep.messages import TrialEnded
from stablesweep.outcomes import Outcomes
from stablesweep.search import search_seed
from stablesweep.trials import Trial
from tests.scheduled import (
    ADAMW_ONLY,
    ARMS,
    PHASES,
    SPACE,
    Session,
    error_of,
    of,
    reopened,
    results,
    settings_of,
    study,
)

UNDISTURBED = Session(study()).run()


def best(trials: Sequence[Trial]) -> Trial:
    completed = [trial for trial in trials if float(trial.hyperparameters["lr"]) <= 0.06]
    return min(completed, key=error_of)


def test_every_trial_gets_its_setting_and_its_result_once() -> None:
    assert all(trial.settled for trial in UNDISTURBED.ledger)
    assert UNDISTURBED.outcomes.all_final(trial.key for trial in UNDISTURBED.ledger)
    assert len(set(UNDISTURBED.packs)) == len(UNDISTURBED.packs)
    assert len(UNDISTURBED.ledger) == 3 * (10 + 5 + 2 + 2 + 2)


@pytest.mark.parametrize("arm", ARMS)
def test_each_phase_feeds_the_next(arm: str) -> None:
    centre = dict(best(of(UNDISTURBED, "search", arm)).hyperparameters)
    for phase in ("reference", "length"):
        assert all(dict(trial.hyperparameters) == centre for trial in of(UNDISTURBED, phase, arm))
    for trial in of(UNDISTURBED, "stability", arm):
        for name in ("lr", "weight_decay"):
            low, high = float(centre[name]) / 8, float(centre[name]) * 4
            assert trial.hyperparameters[name] == pytest.approx(low * (high / low) ** trial.unit[name])
    # A momentum has no centre to be drawn around: it keeps the interval of the space.
    if "sgd" in arm:
        trial = of(UNDISTURBED, "stability", arm)[0]
        assert trial.hyperparameters["momentum"] == pytest.approx(0.5 + 0.49 * trial.unit["momentum"])
    longest = [*of(UNDISTURBED, "stability", arm), *of(UNDISTURBED, "reference", arm)]
    assert all(trial.hyperparameters == best(longest).hyperparameters for trial in of(UNDISTURBED, "peak", arm))


def test_draws_are_the_same_unit_points_in_every_arm() -> None:
    points = [[trial.unit["lr"] for trial in of(UNDISTURBED, "stability", arm)] for arm in ARMS]
    assert points[0] == points[1] == points[2]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 12), max_size=4), st.randoms(use_true_random=False), st.integers(1, 3))
def test_interruptions_and_the_order_of_ends_change_nothing(
    stops: list[int], order: random.Random, at_once: int
) -> None:
    """A process is killed after some packs; the next one finds the ledger and the results, and goes on."""
    session = Session(study())
    for packs in stops:
        session.run(packs, at_once, order)
        session = Session(study(), session)
    session.run(at_once=at_once, order=order)
    assert settings_of(session) == settings_of(UNDISTURBED)


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 12), max_size=3),
    st.randoms(use_true_random=False),
    st.fixed_dictionaries(dict.fromkeys(ARMS, st.integers(1, 4))),
)
def test_packs_that_do_not_fit_into_memory_are_split_until_they_do(
    stops: list[int], order: random.Random, fit: dict[str, int]
) -> None:
    session = Session(study())
    for packs in stops:
        session.run(packs, order=order, fit=fit)
        session = Session(study(), session)
    session.run(order=order, fit=fit)
    assert settings_of(session) == settings_of(UNDISTURBED)
    assert not session.lost
    assert all(len(pack.trials) <= fit[pack.first.arm] for pack in session.trained)
    assert len(set(session.packs)) == len(session.packs)
    # Halves of four: what does not fit is found out once, and remembered.
    assert session.sizes == {arm: {1: 1, 2: 2, 3: 2}[size] for arm, size in fit.items() if size < 4}


def test_the_parts_of_a_pack_go_on_from_its_checkpoint() -> None:
    session = Session(study(phases={"stability": {"draws": 4, "epochs": 1, "reference": 0}}))
    first = session.schedule.next()
    assert first is not None
    session.schedule.too_large(first, "no room")
    parts = [pack for pack in iter(session.schedule.next, None) if pack.first.arm == first.first.arm]
    assert [pack.trials for pack in parts] == [first.trials[:2], first.trials[2:]]
    assert all(pack.split_from == (first.name,) for pack in parts)


def test_a_trial_that_does_not_fit_alone_is_lost_and_says_so() -> None:
    session = Session(study(phases={"stability": {"draws": 4, "epochs": 1, "reference": 0}}))
    session.run(fit={ARMS[0]: 0})
    ends = [message for message in session.lost if isinstance(message, TrialEnded)]
    assert {message.key for message in ends} == {trial.key for trial in of(session, "stability", ARMS[0])}
    assert {message.reason for message in ends} == {"out of memory although it trained alone (no room)"}
    assert session.outcomes.all_final(trial.key for trial in session.ledger)


def test_a_search_suggests_as_many_distinct_settings_as_it_was_asked_for() -> None:
    for arm in ARMS:
        suggested = {tuple(trial.hyperparameters.items()) for trial in of(UNDISTURBED, "search", arm)}
        assert len(suggested) == 10


def test_tpe_in_packs_of_one_is_optunas_own() -> None:
    phases = {"search": {"draws": 24, "epochs": 2, "at_once": 1}}
    ours = Session(study(phases=phases, **ADAMW_ONLY)).run(at_once=1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    theirs = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=search_seed(0, ARMS[0])))
    for trial in of(ours, "search", ARMS[0]):
        asked = theirs.ask()
        values = {
            "lr": asked.suggest_float("lr", 1e-4, 1e-1, log=True),
            "weight_decay": asked.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        }
        assert dict(trial.hyperparameters) == values
        diverged = values["lr"] > 0.06
        if not diverged:
            for epoch in (1, 2):
                asked.report(error_of(trial) + 2 - epoch, epoch)
        theirs.tell(asked, 100.0 if diverged else error_of(trial))
    assert theirs.best_value < 8


def test_a_search_finds_better_settings_than_it_began_with() -> None:
    arm = ARMS[0]
    searched = Session(study(phases={"search": {"draws": 40, "epochs": 2}}, **ADAMW_ONLY)).run()
    errors = [error_of(trial) for trial in of(searched, "search", arm)]
    assert sorted(errors[20:])[10] < sorted(errors[:20])[10]


def test_a_longer_search_keeps_what_was_suggested() -> None:
    longer = study(phases={**PHASES, "search": {"draws": 13, "epochs": 2, "at_once": 3}})
    session = Session(longer, UNDISTURBED).run()
    assert settings_of(UNDISTURBED).items() <= settings_of(session).items()
    for arm in ARMS:
        assert len({tuple(trial.hyperparameters.items()) for trial in of(session, "search", arm)}) == 13


def test_a_family_has_one_centre_the_geometric_mean() -> None:
    phases = {**PHASES, "stability": {"draws": 4, "epochs": 3, "around": "family"}}
    session = Session(study(phases=phases)).run()
    centres = [best(of(session, "search", arm)).hyperparameters for arm in ARMS]
    both = of(session, "reference", ARMS[0])[0].hyperparameters
    assert both == of(session, "reference", ARMS[1])[0].hyperparameters
    for name in ("lr", "weight_decay"):
        assert both[name] == pytest.approx(math.sqrt(float(centres[0][name]) * float(centres[1][name])))
    # Another optimizer is another family, and has its own.
    assert of(session, "reference", ARMS[2])[0].hyperparameters == centres[2]
    drawn = [[trial.hyperparameters["lr"] for trial in of(session, "stability", arm)] for arm in ARMS]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_reference_that_comes_after_the_draws_moves_no_trial_to_another_pack() -> None:
    phases = {**PHASES, "stability": {"draws": 5, "epochs": 3, "reference": 1, "around": "space"}}
    session = Session(study(phases=phases)).run()
    assert len(set(session.packs)) == len(session.packs)
    assert session.outcomes.all_final(trial.key for trial in session.ledger)


def test_families_can_be_given() -> None:
    phases = {**PHASES, "stability": {"draws": 4, "epochs": 3, "around": "family"}}
    apart = Session(study(phases=phases, families={"p": ["vit_p_micro"], "c": ["vit_c_micro"]})).run()
    assert of(apart, "reference", ARMS[0])[0].hyperparameters == best(of(apart, "search", ARMS[0])).hyperparameters


def test_a_search_of_which_nothing_completed_ends_what_waits_for_it() -> None:
    space = {**SPACE, "vit_c_micro/sgd": {"lr": {"log_uniform": [0.07, 0.1]}}}
    session = Session(study(space=space)).run()
    lost = {message.key: message for message in session.lost if isinstance(message, TrialEnded)}
    assert set(lost) == {trial.key for trial in session.ledger if not trial.settled}
    assert {key.split("/0")[0] for key in lost} == {
        f"{phase}/vit_c_micro/sgd" for phase in ("reference", "stability", "length", "peak")
    }
    # Lost, not failed: a longer search may still find a centre, and `run --retry-lost` then takes them up.
    assert all(message.status == "lost" and "has completed" in (message.reason or "") for message in lost.values())
    assert all(trial.settled for trial in session.ledger if trial.arm != "vit_c_micro/sgd")


def test_lost_trials_of_a_search_do_not_hold_up_the_rest() -> None:
    session = Session(study(**ADAMW_ONLY))
    lost = session.schedule.next()
    assert lost is not None
    session.schedule.ended(lost, "the worker died")
    session.run()
    assert all(trial.settled for trial in session.ledger)
    statuses = [session.outcomes.finals([trial.key])[0].status for trial in of(session, "search", ARMS[0])]
    assert statuses[:3] == ["lost"] * 3
    assert "lost" not in statuses[3:]


def test_packs_are_made_of_trials_that_can_share_batches() -> None:
    space = {**SPACE, "batch_size": {"choice": [32, 64]}, "label_smoothing": {"uniform": [0.0, 0.2]}}
    session = Session(study(space=space, phases={"stability": {"draws": 12, "epochs": 2}}, pack={"size": 24}))
    packs = []
    while (pack := session.schedule.next()) is not None:
        packs.append(pack)
    assert len(packs) == 2 * len(ARMS)
    for pack in packs:
        assert len({trial.hyperparameters["batch_size"] for trial in pack.trials}) == 1
        assert len({trial.hyperparameters["label_smoothing"] for trial in pack.trials}) == len(pack.trials)
    assert len({pack.name for pack in packs}) == len(packs)


def test_what_was_lost_with_a_search_comes_back_with_it() -> None:
    session = Session(study(**ADAMW_ONLY))
    while (pack := session.schedule.next()) is not None:
        session.schedule.ended(pack, "the machine burned")
    assert session.schedule.done()
    everything = {trial.key for trial in session.ledger}
    assert {message.key for message in session.lost if isinstance(message, TrialEnded)} == everything
    again = reopened(session).run()
    assert all(trial.settled for trial in again.ledger)
    assert {again.outcomes.finals([trial.key])[0].status for trial in again.ledger} <= {"completed", "diverged"}


@pytest.mark.parametrize("around", ["arm", "family"])
def test_a_study_that_grows_keeps_the_centre_that_it_has_used(around: str) -> None:
    small = {**PHASES, "search": {"draws": 6, "epochs": 2}, "stability": {"draws": 3, "epochs": 3, "around": around}}
    grown = {
        **PHASES,
        "search": {"draws": 16, "epochs": 2},
        "stability": {"draws": 6, "epochs": 3, "around": around, "reference": 2},
    }
    before = Session(study(phases=small)).run()
    after = Session(study(phases=grown), before).run()
    for arm in ARMS:
        settings = [dict(trial.hyperparameters) for trial in of(after, "reference", arm)]
        assert settings == [dict(of(before, "reference", arm)[0].hyperparameters)] * 2
        for trial in of(after, "stability", arm):
            low = float(settings[0]["lr"]) / 8
            assert trial.hyperparameters["lr"] == pytest.approx(low * 32 ** trial.unit["lr"])


def test_an_arm_that_joins_a_family_follows_its_centre() -> None:
    phases = {**PHASES, "stability": {"draws": 3, "epochs": 3, "around": "family", "reference": 0}}
    before = Session(study(phases=phases, arms=[ARMS[0], ARMS[2]])).run()
    after = Session(study(phases=phases, arms=[ARMS[0], ARMS[2], ARMS[1]]), before).run()
    drawn = [[dict(trial.hyperparameters) for trial in of(after, "stability", arm)] for arm in ARMS[:2]]
    assert drawn[0] == drawn[1]


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"phases": {"stability": {"draws": 3, "epochs": 3}}},
        {"phases": {**PHASES, "stability": {"draws": 6, "epochs": 3}}},
    ),
    ({}, {"space": {**SPACE, "lr": {"log_uniform": [1e-4, 1.0]}}}),
    ({}, {"phases": {**PHASES, "stability": {"draws": 5, "epochs": 3, "reference": 2, "around": "family"}}}),
    ({}, {"phases": {**PHASES, "search": {**PHASES["search"], "sampler": {"name": "tpe", "n_startup_trials": 3}}}}),
    ({}, {"phases": {**PHASES, "search": {**PHASES["search"], "pruning": "median"}}}),
    ({}, {"phases": {**PHASES, "peak": {**PHASES["peak"], "seeds": 3, "at": "centre"}}}),
]


@pytest.mark.parametrize(("first", "then"), CHANGES)
def test_settled_trials_are_never_joined_by_trials_settled_otherwise(
    first: dict[str, Any], then: dict[str, Any]
) -> None:
    before = Session(study(**first)).run()
    with pytest.raises(LedgerError, match="in another way") as caught:
        Session(study(**then), before)
    assert len(str(caught.value).splitlines()) == 1


def test_draws_that_are_settled_later_come_in_packs_of_their_own() -> None:
    small = {"search": {"draws": 4, "epochs": 2}, "stability": {"draws": 3, "epochs": 3, "reference": 0}}
    session = Session(study(phases=small, pack={"size": 24}, **ADAMW_ONLY))
    search = session.schedule.next()
    assert search is not None
    session.outcomes.note(results(search.trials))
    assert not session.schedule.done()  # The draws are settled now, and wait.
    grown = {"search": {"draws": 8, "epochs": 2}, "stability": {"draws": 6, "epochs": 3, "reference": 0}}
    after = Session(study(phases=grown, pack={"size": 24}, **ADAMW_ONLY), session).run()
    assert len(set(after.packs)) == len(after.packs)
    assert after.outcomes.all_final(trial.key for trial in after.ledger)


def test_a_result_that_comes_while_the_schedule_is_asked_is_not_missed() -> None:
    """The recorder's thread notes the last results of a round between two steps of :meth:`Schedule.done`."""
    session = Session(study(phases={"search": {"draws": 8, "epochs": 2}}, **ADAMW_ONLY))
    pack = session.schedule.next()
    assert pack is not None

    late = results(pack.trials)

    class Late(Outcomes):
        def all_final(self, keys: Any) -> bool:
            answer = super().all_final(keys)
            self.note(late)
            return answer

    session.outcomes.__class__ = Late
    assert not session.schedule.done()


def test_an_extended_search_is_asked_again_as_it_was_asked() -> None:
    phases = [{"search": {"draws": draws, "epochs": 2, "at_once": 4}} for draws in (10, 20)]
    first = Session(study(phases=phases[0], **ADAMW_ONLY)).run()
    in_one = Session(study(phases=phases[1], **ADAMW_ONLY), first).run()
    begun = Session(study(phases=phases[1], **ADAMW_ONLY), first).run(packs=1)
    in_two = Session(study(phases=phases[1], **ADAMW_ONLY), begun).run()
    assert settings_of(in_one) == settings_of(in_two)
    rounds = [trial.round for trial in of(in_one, "search", ARMS[0])]
    assert rounds == [0] * 4 + [1] * 4 + [2] * 2 + [3] * 4 + [4] * 4 + [5] * 2


def test_a_condition_may_fail_to_hold_around_a_centre() -> None:
    space = {**SPACE, "grad_clip": {"uniform": [1.0, 2.0], "when": {"lr": {"at_least": 0.09}}}}
    session = Session(study(space=space)).run()
    assert all(trial.settled for trial in session.ledger)
    assert not any("grad_clip" in trial.hyperparameters for trial in session.ledger if trial.phase == "stability")


def test_a_familys_centre_has_only_what_an_arm_knows() -> None:
    space = {**SPACE, "vit_c_micro/adamw": {"drop_path": {"uniform": [0.0, 0.2]}}}
    phases = {**PHASES, "stability": {"draws": 4, "epochs": 3, "around": "family"}}
    session = Session(study(space=space, phases=phases)).run()
    names = [set(of(session, "reference", arm)[0].hyperparameters) for arm in ARMS]
    assert names == [
        {"lr", "weight_decay"},
        {"lr", "weight_decay", "drop_path"},
        {"lr", "weight_decay", "momentum"},
    ]


def test_a_familys_centre_is_a_value_that_can_be_had() -> None:
    space = {**SPACE, "batch_size": {"choice": [32, 64]}, "randaugment_ops": {"int_uniform": [1, 9], "step": 4}}
    phases = {**PHASES, "stability": {"draws": 4, "epochs": 3, "around": "family"}}
    session = Session(study(space=space, phases=phases)).run()
    for arm in ARMS:
        reference = of(session, "reference", arm)[0].hyperparameters
        assert reference["batch_size"] in (32, 64)
        assert reference["randaugment_ops"] in (1, 5, 9)


def test_a_sampler_that_has_no_more_to_suggest_ends_its_search_and_not_the_study() -> None:
    space = {"weight_decay": 1e-4, "lr": {"choice": [0.001, 0.01, 0.02]}}
    phases = {"search": {"draws": 6, "epochs": 2, "sampler": "brute_force", "at_once": 2}, "length": {"epochs": [3]}}
    session = Session(study(space=space, phases=phases, arms=ARMS[:1])).run()
    searched = of(session, "search", ARMS[0])
    tried = {trial.hyperparameters["lr"] for trial in searched if trial.settled}
    assert tried == {0.001, 0.01, 0.02}
    assert session.outcomes.all_final(trial.key for trial in session.ledger)
    assert of(session, "length", ARMS[0])[0].hyperparameters["lr"] == 0.01


def test_a_familys_centre_stays_in_an_arms_own_interval() -> None:
    def intervals(low: float) -> dict[str, Any]:
        return {"grad_clip": {"log_uniform": [low, 2 * low]}}

    space = {**SPACE, "vit_p_micro/adamw": intervals(1.0), "vit_c_micro/adamw": intervals(100.0)}
    phases = {**PHASES, "stability": {"draws": 4, "epochs": 3, "around": "family"}}
    session = Session(study(space=space, phases=phases)).run()
    for arm, low in zip(ARMS[:2], (1.0, 100.0), strict=True):
        for trial in [*of(session, "stability", arm), *of(session, "reference", arm)]:
            assert low <= float(trial.hyperparameters["grad_clip"]) <= 2 * low
