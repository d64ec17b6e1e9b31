from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stablesweep as ss
from search_spaces import unit_point
from stablesweep.errors import LedgerError
from stablesweep.ledger import hyperparameter_names, read_ledger, to_table, to_trials, write_ledger
from stablesweep.packs import make_packs
from stablesweep.trials import plan_trials

ARMS = ["vit_p_micro/adamw", "vit_c_micro/adamw", "vit_c_micro/sgd"]


def study(draws: int = 5, arms: list[str] | None = None, epochs: int = 2, **more: Any) -> ss.Study:
    values: dict[str, Any] = {
        "name": "s",
        "dataset": "digits",
        "arms": arms or ARMS,
        "space": {
            "lr": {"around": 0.01},
            "weight_decay": {"around": 0.1},
            "sgd": {"lr": {"around": 1.0}, "momentum": {"uniform": [0.5, 0.99]}},
        },
        "phases": {"stability": {"draws": draws, "epochs": epochs}},
        **more,
    }
    return ss.Study.model_validate({name: value for name, value in values.items() if value is not None})


SGD = {"sgd": {"lr": {"around": 1.0}, "weight_decay": {"around": 0.1}}}


def adamw_only(draws: int = 5) -> ss.Study:
    space = {"lr": {"around": 0.01}, "weight_decay": {"around": 0.1}}
    return study(draws, ["vit_p_micro/adamw"], space=space)


def test_every_arm_has_every_draw_once_sorted_by_key() -> None:
    trials = plan_trials(study())
    assert [trial.key for trial in trials] == sorted({trial.key for trial in trials})
    assert {(trial.arm, trial.draw) for trial in trials} == {(arm, draw) for arm in ARMS for draw in range(5)}


def test_a_draw_is_the_same_unit_point_and_seed_in_every_arm() -> None:
    by_draw: dict[int, list[Any]] = {}
    for trial in plan_trials(study()):
        by_draw.setdefault(trial.draw, []).append(trial)
    for draw, trials in by_draw.items():
        point = unit_point(["lr", "weight_decay"], seed=0, draw=draw)
        for trial in trials:
            assert {name: trial.unit[name] for name in point} == point
        assert len({trial.seed for trial in trials}) == 1
        lrs = {trial.arm: trial.hyperparameters["lr"] for trial in trials}
        assert lrs["vit_c_micro/sgd"] == pytest.approx(100 * float(lrs["vit_c_micro/adamw"]))
    assert len({trials[0].seed for trials in by_draw.values()}) == len(by_draw)


def fixed(epochs: list[int], seeds: int, **more: Any) -> ss.Study:
    at = {"lr": 1, "weight_decay": 1e-4, "vit_p_micro/adamw": {"lr": 0.5}, "sgd": {"momentum": 0.8}}
    return study(phases={"length": {"epochs": epochs, "seeds": seeds, "at": at}}, space=None, **more)


def test_given_settings_are_the_arms_own_at_every_length_and_seed() -> None:
    trials = plan_trials(fixed([3, 1], 2))
    assert len(trials) == len({trial.key for trial in trials}) == 3 * 2 * 2
    assert {trial.sampler for trial in trials} == {"fixed"}
    by_arm = {trial.arm: dict(trial.hyperparameters) for trial in trials}
    assert by_arm == {
        "vit_p_micro/adamw": {"lr": 0.5, "weight_decay": 1e-4},
        "vit_c_micro/adamw": {"lr": 1.0, "weight_decay": 1e-4},
        "vit_c_micro/sgd": {"lr": 1.0, "weight_decay": 1e-4, "momentum": 0.8},
    }
    # A replicate is the same seed in every arm and at every length.
    assert {(trial.key[-1], trial.seed) for trial in trials} == {("0", trials[0].seed), ("1", trials[1].seed)}
    packs = make_packs(trials, 24)
    assert len({pack.name for pack in packs}) == len(packs) == 3 * 2
    assert all(len({trial.epochs for trial in pack.trials}) == 1 for pack in packs)


@given(st.lists(st.integers(1, 50), min_size=1, unique=True), st.integers(1, 4), st.integers(51, 99), st.integers(0, 3))
def test_more_lengths_and_seeds_change_no_earlier_trial(epochs: list[int], seeds: int, longer: int, more: int) -> None:
    before = {trial.key: trial for trial in plan_trials(fixed(epochs, seeds))}
    after = {trial.key: trial for trial in plan_trials(fixed([longer, *epochs], seeds + more))}
    assert {key: after[key] for key in before} == before


def test_a_ledger_of_given_settings_comes_back_and_grows(tmp_path: Path) -> None:
    file = tmp_path / "ledger.parquet"
    assert to_trials(write_ledger(file, fixed([1], 1))) == plan_trials(fixed([1], 1))
    grown = fixed([1, 2], 2)
    assert to_trials(write_ledger(file, grown)) == plan_trials(grown)
    with pytest.raises(LedgerError, match="would leave the ledger"):
        write_ledger(file, fixed([2], 2))


def test_a_hyperparameter_may_not_leave_a_trial(tmp_path: Path) -> None:
    file = tmp_path / "ledger.parquet"
    write_ledger(file, fixed([1], 1))
    at = {"lr": 1, "weight_decay": 1e-4, "vit_p_micro/adamw": {"lr": 0.5}}
    with pytest.raises(LedgerError, match=r"momentum of the trial .* was 0\.8 and would become None"):
        write_ledger(file, study(phases={"length": {"epochs": [1], "at": at}}, space=None))


def test_the_number_of_workers_may_not_change(tmp_path: Path) -> None:
    file = tmp_path / "ledger.parquet"
    write_ledger(file, study(pack={"workers": 2}))
    write_ledger(file, study(pack={"workers": 2, "size": 3, "cpus": 2}))
    with pytest.raises(LedgerError, match="another seed, recipe, dataset or number of workers"):
        write_ledger(file, study(pack={"workers": 1}))


def test_more_than_ten_seeds_leave_packs_as_they_were() -> None:
    few, many = (make_packs(plan_trials(fixed([1], seeds)), 4) for seeds in (10, 11))
    first = {pack.name: pack.trials for pack in few if len(pack.trials) == 4}
    assert first == {pack.name: pack.trials for pack in many if pack.name in first}


def test_a_model_that_a_study_defines_may_not_change(tmp_path: Path) -> None:
    file = tmp_path / "ledger.parquet"
    arms = ["mine/sgd"]
    write_ledger(file, study(arms=arms, models={"mine": {"base": "vit_c_micro", "blocks": 1}}, space=SGD))
    more: dict[str, Any] = {"mine": {"base": "vit_c_micro", "blocks": 1}, "other": {"base": "vit_p_micro"}}
    write_ledger(file, study(arms=[*arms, "other/sgd"], models=more, space=SGD))
    more["mine"]["blocks"] = 2
    with pytest.raises(LedgerError, match=r"the model mine was .*1.* and would become .*2"):
        write_ledger(file, study(arms=[*arms, "other/sgd"], models=more, space=SGD))


@given(st.integers(1, 12), st.integers(0, 12))
def test_more_draws_change_no_earlier_trial(draws: int, more: int) -> None:
    before = {trial.key: trial for trial in plan_trials(study(draws))}
    after = {trial.key: trial for trial in plan_trials(study(draws + more))}
    assert before.items() <= after.items()


def test_the_seed_changes_every_point() -> None:
    first, second = plan_trials(study()), plan_trials(study(seed=1))
    assert all(a.hyperparameters != b.hyperparameters and a.seed != b.seed for a, b in zip(first, second, strict=True))


def test_parquet_round_trip_is_exact(tmp_path: Path) -> None:
    table = write_ledger(tmp_path / "ledger.parquet", study())
    assert read_ledger(tmp_path / "ledger.parquet").equals(table, check_metadata=True)
    assert to_trials(table) == plan_trials(study())
    assert hyperparameter_names(table) == ["lr", "weight_decay", "momentum"]
    momentum = {row["arm"]: row["momentum"] for row in table.to_pylist()}
    assert momentum["vit_p_micro/adamw"] is None
    assert momentum["vit_c_micro/sgd"] is not None


def test_a_ledger_may_grow_by_draws_and_by_arms(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    assert write_ledger(path, adamw_only(3)).num_rows == 3
    assert write_ledger(path, adamw_only(5)).num_rows == 5
    assert write_ledger(path, study(5)).num_rows == 15
    before = path.stat().st_mtime_ns
    assert write_ledger(path, study(5)).num_rows == 15
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (study(4), "stability/vit_c_micro/adamw/000004/0 would leave the ledger"),
        (study(arms=ARMS[1:]), "would leave the ledger"),
        (study(epochs=3), "epochs of the trial"),
        (study(seed=1), "another seed, recipe, dataset"),
        (study(recipe={"batch_size": 32}), "another seed, recipe, dataset"),
        (study(dataset={"name": "digits", "image_size": 16}), "another seed, recipe, dataset"),
        (study(space={"lr": {"around": 0.02}, "weight_decay": {"around": 0.1}}), "lr of the trial"),
    ],
)
def test_a_ledger_may_not_change_otherwise(tmp_path: Path, other: ss.Study, words: str) -> None:
    path = tmp_path / "ledger.parquet"
    write_ledger(path, study())
    before = path.read_bytes()
    with pytest.raises(LedgerError) as error:
        write_ledger(path, other)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert path.read_bytes() == before


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    write_ledger(path, study())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LedgerError, match=r"damaged.*restore it"):
        write_ledger(path, study())
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(LedgerError, match="it lacks key"):
        read_ledger(path)


@given(st.integers(1, 9), st.integers(1, 11), st.sets(st.integers(0, 26)))
def test_packs_partition_what_is_left(draws: int, size: int, done: set[int]) -> None:
    trials = plan_trials(study(draws))
    finished = {trial.key for number, trial in enumerate(trials) if number in done}
    packs = make_packs(trials, size, finished)
    keys = [trial.key for pack in packs for trial in pack.trials]
    assert sorted(keys) == sorted({trial.key for trial in trials} - finished)
    assert all(1 <= len(pack.trials) <= size and len({t.arm for t in pack.trials}) == 1 for pack in packs)
    assert len({pack.name for pack in packs}) == len(packs)


def test_a_trial_keeps_its_pack_when_the_study_is_continued() -> None:
    trials = plan_trials(study())
    before = {trial.key: pack.name for pack in make_packs(trials, 2) for trial in pack.trials}
    after = {t.key: pack.name for pack in make_packs(trials, 2, {trials[0].key}) for t in pack.trials}
    assert after.items() <= before.items()


def test_arms_take_turns() -> None:
    packs = make_packs(plan_trials(study(4)), 2)
    assert [pack.first.arm for pack in packs[:3]] == sorted(ARMS)


def test_unchanged_metadata_marks_the_hyperparameters() -> None:
    table = to_table(study(), plan_trials(study()))
    assert set(table.column_names) >= {"unit_lr", "unit_weight_decay", "unit_momentum"}
