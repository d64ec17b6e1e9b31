"""Members of one pack with recipes and models of their own: each gets what it gets alone, and what a study of its own gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables import LockstepPack, Member, Recipe, register_model
from trainables.hyperparameters import SHARED_FIELDS

MakePack = Callable[..., LockstepPack]
Numbers = Callable[[LockstepPack], dict[str, list[tuple[Any, ...]]]]
BASE: dict[str, Any] = {"batch_size": 32, "warmup_epochs": 0.4}
OWN: list[dict[str, Any]] = [
    {},
    {"lr": 0.05},
    {"label_smoothing": 0.3},
    {"warmup_epochs": 1.0},
    {"warmup_start": 0.5},
    {"warmup": "over_cosine"},
    {"min_lr_fraction": 0.5},
    {"lr_update": "epoch"},
    {"lr_batch_size": 16.0},
    {"grad_clip": 0.1},
    {"decay_embeddings": False, "weight_decay": 0.1},
    {"weight_decay": 0.1},
    {"explode": 0.5},
    {"ema_horizon": 0.5},
    {"ema_horizon": 0.5, "ema_every": 2.0},
    {"precision": "bfloat16"},
    {"drop_path": 0.5},
    {"blocks": 3.0, "mlp_ratio": 2.0, "momentum": 0.5},
]
OPTIMIZERS = {"lr", "weight_decay", "momentum"}
MODELS = {"drop_path", "blocks", "mlp_ratio"}


def trial(own: dict[str, Any], index: int = 0) -> Member:
    # One seed: what members differ in is what they were given.
    return Member(key=f"m{index}", seed=7, hyperparameters={"lr": 0.02, "weight_decay": 1e-4, **own})


def whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_each_gets_what_it_gets_alone_and_by_a_recipe_of_its_own(make_pack: MakePack, numbers: Numbers) -> None:
    members = [trial(own, index) for index, own in enumerate(OWN)]
    together = numbers(make_pack(members, recipe=Recipe(**BASE)))
    for own, member in zip(OWN, members, strict=True):
        assert numbers(make_pack([member], recipe=Recipe(**BASE))) == {member.key: together[member.key]}
        by_name = {name: value for name, value in own.items() if name in OPTIMIZERS}
        recipe = {name: whole(value) for name, value in own.items() if name not in OPTIMIZERS | MODELS}
        options = {name: whole(value) for name, value in own.items() if name in MODELS}
        pack = make_pack([trial(by_name)], recipe=Recipe(**{**BASE, **recipe}), model_options=options)
        assert numbers(pack) == {"m0": together[member.key]}, own
    assert len({str(rows) for rows in together.values()}) == len(OWN)


def test_every_field_of_the_recipe_is_a_members_own_here_or_shared() -> None:
    # sync_batch_norm is a matter of several workers, and tested with two.
    own = {name for values in OWN for name in values} & set(Recipe.model_fields) | {"sync_batch_norm"}
    assert own | SHARED_FIELDS | {"base"} == set(Recipe.model_fields)
    assert not own & SHARED_FIELDS


def test_a_pack_of_members_with_own_recipes_continues_to_the_bit(
    make_pack: MakePack, numbers: Numbers, tmp_path: Path
) -> None:
    owns = [{"ema_horizon": 0.5}, {"drop_path": 0.5, "label_smoothing": 0.0}, {"grad_clip": 0.1, "blocks": 1}]
    members = [trial(own, index) for index, own in enumerate(owns)]
    pack = make_pack(members, recipe=Recipe(**BASE))
    expected = numbers(make_pack(members, recipe=Recipe(**BASE)))
    pack.run_epoch(iter([False, True]).__next__)
    torch.save(pack.state_dict(), tmp_path / "pack.pt")
    second = make_pack(members[1:], recipe=Recipe(**BASE))
    second.load_state_dict(torch.load(tmp_path / "pack.pt", weights_only=True))
    assert numbers(second) == {member.key: expected[member.key] for member in members[1:]}


def test_a_checkpoint_from_before_further_metrics_still_loads(make_pack: MakePack, numbers: Numbers) -> None:
    expected = numbers(make_pack([trial({})]))
    pack = make_pack([trial({})])
    pack.run_epoch()
    state = pack.state_dict()
    assert [row.pop("more") for row in state["members"]["m0"]["history"]] == [{}]
    second = make_pack([trial({})])
    second.load_state_dict(state)
    assert numbers(second) == expected
    assert second.results()[0].history[0].more == {}


def test_what_all_share_is_as_the_recipe_says_it(make_pack: MakePack, numbers: Numbers) -> None:
    shared = {"batch_size": 40.0, "mixup": 0.5, "flip": 0.5, "precise_batch_norm": 80.0}
    pack = make_pack([trial({**shared, "label_smoothing": 0.0}), trial(shared, 1)], recipe=Recipe(**BASE))
    changed = Recipe(warmup_epochs=0.4, batch_size=40, mixup=0.5, flip=0.5, precise_batch_norm=80)
    assert numbers(pack)["m1"] == numbers(make_pack([trial({})], recipe=changed))["m0"]


def test_members_that_cannot_share_their_batches_are_refused(make_pack: MakePack) -> None:
    with pytest.raises(ValueError, match=r"'m0' and 'm1' have mixup 0\.0 and 0\.5, .*; give them packs of their own"):
        make_pack([trial({}), trial({"mixup": 0.5}, 1)])
    with pytest.raises(ValueError, match="have batch_size 32 and 16"):
        make_pack([trial({"batch_size": 32}), trial({"batch_size": 16}, 1)])
    # The recipe's own value, given as a hyperparameter, is no difference.
    make_pack([trial({"batch_size": 32.0}), trial({}, 1)])
    with pytest.raises(ValueError, match="batch_size: got 161, expected 1 to 160"):
        make_pack([trial({"batch_size": 161})])
    with pytest.raises(ValueError, match=r"'mixup' is -0\.5, but it should be greater than or equal to 0"):
        make_pack([trial({"mixup": -0.5})])


def test_a_value_out_of_range_fails_its_member_alone(make_pack: MakePack, numbers: Numbers) -> None:
    members = [trial({}), trial({"label_smoothing": 1.5}, 1), trial({"drop_path": 1.0}, 2), trial({}, 3)]
    pack = make_pack(members)
    ends = numbers(pack)
    assert [result.status for result in pack.results()] == ["completed", "failed", "failed", "completed"]
    reasons = [result.reason or "" for result in pack.results()]
    assert "'label_smoothing' is 1.5, but it should be less than 1" in reasons[1]
    assert "drop_path: got 1.0; it is a probability" in reasons[2]
    assert ends["m0"] == ends["m3"] == numbers(make_pack([trial({})]))["m0"]
    alone = make_pack([members[1]])
    assert alone.finished
    restored = make_pack([members[1]])
    restored.load_state_dict(alone.state_dict())
    assert restored.results() == alone.results()


def test_a_models_own_keywords_are_hyperparameters(make_pack: MakePack, numbers: Numbers) -> None:
    def factory(
        *, num_classes: int, image_size: int, in_channels: int, width: int = 8, dropout: float = 0.0
    ) -> nn.Module:
        layers = [nn.Flatten(), nn.Linear(in_channels * image_size**2, width), nn.Dropout(dropout)]
        return nn.Sequential(*layers, nn.ReLU(), nn.Linear(width, num_classes))

    register_model("wide", factory)
    members = [trial({}), trial({"width": 16.0}, 1), trial({"width": 16.0, "dropout": 0.5}, 2)]
    together = numbers(make_pack(members, model="wide", model_options={"dropout": 0.25}))
    for options, key in (
        ({"dropout": 0.25}, "m0"),
        ({"width": 16, "dropout": 0.25}, "m1"),
        ({"width": 16, "dropout": 0.5}, "m2"),
    ):
        assert numbers(make_pack([trial({})], model="wide", model_options=options))["m0"] == together[key]
    assert len({str(rows) for rows in together.values()}) == 3


def test_a_pruned_member_keeps_what_it_did_and_changes_nothing(
    make_pack: MakePack, numbers: Numbers, tmp_path: Path
) -> None:
    members = [trial(own, index) for index, own in enumerate([{}, {"lr": 0.05}, {"ema_horizon": 0.5}, {"lr": 1e30}])]
    expected = numbers(make_pack(members, epochs=3))
    pack = make_pack(members, epochs=3)
    rows = {row.key: row for row in pack.run_epoch()}
    pack.stop({"m1": "too slow", "m3": "too late"})
    pruned = pack.results()[1]
    assert (pruned.status, pruned.reason, pruned.error, pruned.epochs_done) == ("pruned", "too slow", None, 1)
    assert (pruned.best_error, pruned.history) == (rows["m1"].error, (rows["m1"],))
    assert pack.results()[3].status == "diverged"
    state = pack.state_dict()
    assert state["members"]["m1"]["model"] is None
    torch.save(state, tmp_path / "pack.pt")
    restored = make_pack(members, epochs=3)
    restored.load_state_dict(torch.load(tmp_path / "pack.pt", weights_only=True))
    assert restored.results() == pack.results()
    for continued in (pack, restored):
        found = numbers(continued)
        assert {key: found[key] for key in ("m0", "m2", "m3")} == {key: expected[key] for key in ("m0", "m2", "m3")}
        assert continued.results()[1] == pruned


def test_a_member_is_pruned_within_an_epoch_as_well(make_pack: MakePack, numbers: Numbers) -> None:
    members = [trial({}), trial({"lr": 0.05}, 1)]
    pack = make_pack(members)
    pack.run_epoch(iter([False, True]).__next__)
    pack.stop({"m0": "enough"})
    assert pack.results()[0].best_error is None
    assert numbers(pack)["m1"] == numbers(make_pack(members))["m1"]
    pack = make_pack(members)
    pack.stop({"m0": "a", "m1": "b"})
    assert pack.finished


def test_a_key_that_no_member_has_stops_nobody(make_pack: MakePack) -> None:
    pack = make_pack([trial({})])
    with pytest.raises(ValueError, match="no member of the pack has the key 'm9'"):
        pack.stop({"m0": "a", "m9": "b"})
    assert pack.results()[0].status == "running"
