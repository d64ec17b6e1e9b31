"""A pack that was saved, read back and continued is the pack that was never stopped."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from trainables import LockstepPack, Member, Recipe, load_dataset, register_model

MakePack = Callable[..., LockstepPack]
MakeMember = Callable[..., Member]
Numbers = Callable[[LockstepPack], dict[str, list[tuple[Any, ...]]]]


def through_a_file(pack: LockstepPack, folder: Path) -> Any:
    torch.save(pack.state_dict(), folder / "pack.pt")
    return torch.load(folder / "pack.pt", weights_only=True)


def add_dropout() -> None:
    def factory(*, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(in_channels * image_size**2, num_classes))

    register_model("dropout", factory)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("model", ["vit_c_micro", "dropout"])
def test_continued_is_uninterrupted_to_the_bit(
    model: str, optimizer: str, make_pack: MakePack, member: MakeMember, numbers: Numbers, tmp_path: Path
) -> None:
    add_dropout()
    members = [member(0), member(1, lr=1e30), member(2)]
    asked: dict[str, Any] = {"model": model, "optimizer": optimizer, "epochs": 3}
    expected = numbers(make_pack(members, **asked))
    first = make_pack(members, **asked)
    first.run_epoch()
    state = through_a_file(first, tmp_path)
    first.run_epoch()  # a state is a copy: it does not move on with the pack it came from
    second = make_pack(members, **asked)
    torch.rand(7)
    second.load_state_dict(state)
    assert (second.epoch, second.finished) == (1, False)
    second.run_epoch()
    third = make_pack(members, **asked)
    third.load_state_dict(through_a_file(second, tmp_path))
    assert numbers(third) == numbers(first) == expected
    assert [result.epochs_done for result in third.results()][::2] == [3, 3]
    assert third.results()[1].status == "diverged"


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("model", ["vit_c_micro", "dropout"])
def test_paused_within_an_epoch_is_uninterrupted_to_the_bit(
    model: str, optimizer: str, make_pack: MakePack, member: MakeMember, numbers: Numbers, tmp_path: Path
) -> None:
    add_dropout()
    recipe = Recipe(
        batch_size=32,
        ema_horizon=0.2,
        mixup=0.8,
        cutmix=1.0,
        flip=0.5,
        crop="random_resized",
        auto_augment="randaugment",
    )
    members = [member(0), member(1, lr=1e30), member(2)]
    asked: dict[str, Any] = {"model": model, "optimizer": optimizer, "epochs": 3, "recipe": recipe}
    expected = numbers(make_pack(members, **asked))
    pack, pauses = make_pack(members, **asked), 0
    while not pack.finished:
        begun_at = (pack.epoch, pack.step)
        done = pack.run_epoch(iter([False, True]).__next__)
        assert (done == []) == (pack.step > 0)
        assert (pack.epoch, pack.step) == ((begun_at[0], 2) if begun_at[1] == 0 else (begun_at[0], 4)) or not pack.step
        pauses += pack.step > 0
        state = through_a_file(pack, tmp_path)
        pack = make_pack(members, **asked)
        pack.load_state_dict(state)
    assert pauses >= 6
    assert numbers(pack) == expected


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """96 training and 16 evaluation images of four classes, JPEG in two Parquet shards of groups of 16."""
    random = np.random.default_rng(0)
    for name, count in {"train-0": 48, "train-1": 48, "val": 16}.items():
        encoded, labels = [], []
        for row in range(count):
            stream = io.BytesIO()
            pixels = random.integers(0, 120, (20 + row % 5, 22, 3)) + 40 * (row % 4)
            Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG")
            encoded.append(stream.getvalue())
            labels.append(row % 4)
        pq.write_table(pa.table({"image": encoded, "label": labels}), tmp_path / f"{name}.parquet", row_group_size=16)
    return tmp_path


def test_a_pack_that_reads_shards_continues_at_its_step(
    shards: Path, make_pack: MakePack, member: MakeMember, numbers: Numbers, tmp_path: Path
) -> None:
    recipe = Recipe(batch_size=16, crop="random_resized", flip=0.5, auto_augment="autoaugment", mixup=0.8)
    data = load_dataset("parquet", path=str(shards), image_size=16, shuffle_rows=32)
    asked: dict[str, Any] = {"data": data, "recipe": recipe, "model": "vit_c_micro"}
    expected = numbers(make_pack([member(0), member(1)], **asked))
    first = make_pack([member(0), member(1)], **asked)
    assert first.run_epoch(iter([False, False, True]).__next__) == []
    assert (first.epoch, first.step) == (0, 3)
    # Another number of decoding processes, as on another machine.
    second = make_pack([member(0), member(1)], decode_workers=1, **asked)
    second.load_state_dict(through_a_file(first, tmp_path))
    assert numbers(second) == expected


def test_an_epoch_that_an_exception_ended_is_not_continued(make_pack: MakePack, member: MakeMember) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    pack = make_pack([member(0)])
    with pytest.raises(KeyboardInterrupt):
        pack.run_epoch(interrupted)
    with pytest.raises(RuntimeError, match="make a new pack and load the last checkpoint"):
        pack.run_epoch()
    with pytest.raises(RuntimeError, match="interrupted half-way"):
        pack.state_dict()


def test_a_part_of_the_members_continues_from_the_state_of_all(
    make_pack: MakePack, member: MakeMember, numbers: Numbers, tmp_path: Path
) -> None:
    members = [member(index) for index in range(4)]
    whole = make_pack(members, epochs=3)
    whole.run_epoch()
    state = through_a_file(whole, tmp_path)
    expected = numbers(whole)
    part = make_pack([members[3], members[1]], epochs=3)
    part.load_state_dict(state)
    assert numbers(part) == {member.key: expected[member.key] for member in (members[3], members[1])}


def test_seconds_and_history_are_kept(make_pack: MakePack, member: MakeMember, tmp_path: Path) -> None:
    first = make_pack([member(0)])
    first.run_epoch()
    before = first.results()[0]
    second = make_pack([member(0)])
    second.load_state_dict(through_a_file(first, tmp_path))
    assert second.results()[0] == before
    assert second.train_seconds == 0
    second.run_epoch()
    after = second.results()[0]
    assert after.history[0] == before.history[0]
    assert after.seconds == pytest.approx(sum(row.seconds for row in after.history))


def test_states_before_the_first_epoch_and_after_the_last(
    make_pack: MakePack, member: MakeMember, numbers: Numbers, tmp_path: Path
) -> None:
    first = make_pack([member(0)])
    second = make_pack([member(0)])
    second.load_state_dict(through_a_file(first, tmp_path))
    assert numbers(second) == numbers(first)
    third = make_pack([member(0)])
    third.load_state_dict(through_a_file(second, tmp_path))
    assert third.finished
    assert third.results() == second.results()


@pytest.fixture
def state(make_pack: MakePack, member: MakeMember) -> dict[str, Any]:
    pack = make_pack([member(0)])
    pack.run_epoch()
    return pack.state_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vit_p_micro"}, "model = 'vit_c_micro', the study asks for 'vit_p_micro'"),
        ({"optimizer": "adamw"}, "optimizer = 'sgd', the study asks for 'adamw'"),
        ({"epochs": 3}, "epochs = 2, the study asks for 3"),
        ({"study_seed": 6}, "study_seed = 5, the study asks for 6"),
        ({"recipe": Recipe(batch_size=16)}, "made with recipe = "),
    ],
)
def test_another_studys_state_is_refused(
    changes: dict[str, Any], message: str, state: dict[str, Any], make_pack: MakePack, member: MakeMember
) -> None:
    with pytest.raises(ValueError, match=message):
        make_pack([member(0)], **changes).load_state_dict(state)


def test_another_members_state_is_refused(state: dict[str, Any], make_pack: MakePack, member: MakeMember) -> None:
    asked = member(0)
    with pytest.raises(ValueError, match=r"'stability/arm/000000/0': the checkpoint has hyperparameters .*0\.5"):
        make_pack([member(0, lr=0.5)]).load_state_dict(state)
    reseeded = Member(key=asked.key, seed=1, hyperparameters=asked.hyperparameters)
    with pytest.raises(ValueError, match="has seed 100, the study asks for 1"):
        make_pack([reseeded]).load_state_dict(state)
    with pytest.raises(ValueError, match="the checkpoint has no member 'stability/arm/000001/0'"):
        make_pack([member(0), member(1)]).load_state_dict(state)


@pytest.mark.parametrize("damaged", [None, [], {}, {"format": 99}, {"format": 1}, {"format": 1, "asked": {}}])
def test_something_else_is_refused(damaged: Any, make_pack: MakePack, member: MakeMember) -> None:
    with pytest.raises(ValueError, match="the checkpoint"):
        make_pack([member(0)]).load_state_dict(damaged)


def test_damaged_members_are_refused(state: dict[str, Any], make_pack: MakePack, member: MakeMember) -> None:
    saved = state["members"][member(0).key]
    del saved["model"]["head.bias"]
    with pytest.raises(ValueError, match=r"does not fit model 'vit_c_micro'.*head\.bias.*delete the checkpoint"):
        make_pack([member(0)]).load_state_dict(state)
    del saved["history"]
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        make_pack([member(0)]).load_state_dict(state)
