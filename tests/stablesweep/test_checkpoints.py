"""The store of checkpoints on a real disk and a real S3 server, and what any damage to it gives."""

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from pyarrow import fs

from stablesweep.checkpoints import (
    CheckpointStore,
    DamagedCheckpoint,
    in_storage,
    open_storage,
    packs_in,
    study_storage,
)
from stablesweep.cli import main
from stablesweep.errors import StablesweepError
from stablesweep.home import Home
from tests.full_disk import small_disk

KEYS = ("a", "b")
SEAL_OF_NUMBERS = b'{"sha256": "", "bytes": 1, "epoch": 1, "step": 1, "keys": [{}, 3]}'


def save(store: CheckpointStore, content: bytes, epoch: int, step: int = 0) -> None:
    store.save(lambda file: file.write(content), epoch=epoch, step=step, keys=KEYS)


def contents(store: CheckpointStore) -> list[bytes]:
    return [store.read(name, lambda file: file.read()) for name in store.names()]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket on a server that speaks S3, as a URI."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    before = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ |= dict.fromkeys(before, "testing")
    options = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    fs.FileSystem.from_uri(f"s3://sweeps?{options}&allow_bucket_creation=true")[0].create_dir("sweeps")
    yield f"s3://sweeps/checkpoints?{options}"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return in_storage(request.getfixturevalue("bucket"), tmp_path.name) if request.param == "s3" else str(tmp_path)


def test_the_two_newest_are_kept_and_read_back(place: str) -> None:
    store = CheckpointStore(in_storage(place, "pack"))
    assert store.names() == []
    for epoch, step in ((0, 9), (0, 10), (9, 0), (10, 0)):
        save(store, f"{epoch} {step}".encode(), epoch, step)
    assert contents(store) == [b"10 0", b"9 0"]
    seals = [store.seal(name) for name in store.names()]
    assert [(seal.epoch, seal.step, seal.keys) for seal in seals] == [(10, 0, KEYS), (9, 0, KEYS)]
    assert [name for name, _ in packs_in(place)] == ["pack"]
    store.delete()
    assert store.names() == []
    assert list(packs_in(place)) == []


def test_a_state_of_tensors_goes_through_any_file_system(place: str) -> None:
    state: dict[str, Any] = {"members": {"a": {"weight": torch.arange(300_000.0), "history": [1, 2.5, "x", None]}}}
    store = CheckpointStore(in_storage(place, "tensors"))
    store.save(lambda file: torch.save(state, file), epoch=1, step=2, keys=KEYS)
    read = store.read(store.names()[0], lambda file: torch.load(file, weights_only=True))
    assert torch.equal(read["members"]["a"]["weight"], state["members"]["a"]["weight"])
    assert read["members"]["a"]["history"] == [1, 2.5, "x", None]


@settings(max_examples=200, derandomize=True)
@given(st.randoms(use_true_random=False), st.sampled_from(["flip", "cut", "grow", "empty", "swap"]))
def test_no_damage_goes_unseen_and_the_one_before_is_still_read(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, damage: str
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = CheckpointStore(str(folder / "pack"))
    good, newest = (chance.randbytes(chance.randrange(1, 5000)) for _ in range(2))
    save(store, good, 1)
    save(store, newest, 2)
    file = max((folder / "pack").glob("*.pt"))
    file.write_bytes(damaged(newest, damage, chance))
    first, second = store.names()
    with pytest.raises(DamagedCheckpoint, match=file.name):
        store.read(first, lambda stream: stream.read())
    assert store.read(second, lambda stream: stream.read()) == good


def damaged(content: bytes, how: str, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    match how:
        case "flip":
            return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]
        case "cut":
            return content[:at]
        case "grow":
            return content + chance.randbytes(3)
        case "swap":
            shift = chance.randrange(1, 256)
            return bytes((byte + shift) % 256 for byte in content)
    return b""


@settings(max_examples=200, derandomize=True)
@given(
    st.binary(max_size=300)
    | st.text(max_size=100).map(str.encode)
    | st.just(b'{"keys": 3}')
    | st.just(SEAL_OF_NUMBERS)
    | st.just(b"[" * 100_000)
)
def test_a_seal_that_makes_no_sense_is_damage(tmp_path_factory: pytest.TempPathFactory, seal: bytes) -> None:
    folder = tmp_path_factory.mktemp("seals")
    store = CheckpointStore(str(folder / "pack"))
    save(store, b"good", 1)
    save(store, b"newest", 2)
    max((folder / "pack").glob("*.json")).write_bytes(seal)
    newest, before = store.names()
    with pytest.raises(DamagedCheckpoint, match=newest):
        store.read(newest, lambda file: file.read())
    assert store.read(before, lambda file: file.read()) == b"good"
    assert [(name, one.epoch) for name, one in packs_in(str(folder))] == [("pack", 1)]


def test_what_was_cut_off_while_it_was_written_does_not_count_and_goes(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    save(store, b"whole", 1)
    (tmp_path / "000002-000000000-deadbeef.pt").write_bytes(b"ha")
    assert contents(store) == [b"whole"]
    save(store, b"next", 3)
    assert len(list(tmp_path.glob("*.pt"))) == 2
    (tmp_path / max(tmp_path.glob("*.pt"))).unlink()
    with pytest.raises(DamagedCheckpoint, match="missing"):
        store.read(store.names()[0], lambda file: file.read())


def test_a_write_that_fails_leaves_those_before(tmp_path: Path) -> None:
    def fails(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    store = CheckpointStore(str(tmp_path))
    save(store, b"before", 1)
    with pytest.raises(OSError, match="No space"):
        store.save(fails, epoch=2, step=0, keys=KEYS)
    assert contents(store) == [b"before"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 5) as disk:
        store = CheckpointStore(str(disk / "pack"))
        save(store, b"before", 1)
        large = {"weights": [torch.zeros(2_000_000) for _ in range(2)]}
        with pytest.raises(OSError, match="28"):
            store.save(lambda file: torch.save(large, file), epoch=2, step=0, keys=KEYS)
        assert contents(store) == [b"before"]
        assert len(list((disk / "pack").iterdir())) == 2


def test_what_was_written_last_counts_however_far_others_had_come(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    for epoch in (8, 9):
        save(store, b"of another study, or damaged", epoch)
    save(store, b"1", 1)
    assert contents(store)[0] == b"1"
    save(store, b"2", 2)
    assert contents(store) == [b"2", b"1"]


@pytest.mark.parametrize("where", ["relative/folder", "nowhere://x", "s3://", "", "s3://b/p?colour=red"])
def test_a_place_that_is_none_is_named(where: str) -> None:
    with pytest.raises(StablesweepError, match=r"storage .*: no place for checkpoints") as caught:
        open_storage(where)
    assert len(str(caught.value).splitlines()) == 1


def test_storage_is_given_named_by_the_environment_or_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Home.at(tmp_path).study("mine")
    monkeypatch.delenv("STABLESWEEP_STORAGE", raising=False)
    assert study_storage(folder, None) == str(folder.packs)
    monkeypatch.setenv("STABLESWEEP_STORAGE", "s3://b/p?region=x")
    assert study_storage(folder, None) == "s3://b/p/mine?region=x"
    monkeypatch.chdir(tmp_path)
    assert study_storage(folder, "here") == str(tmp_path / "here" / "mine")


def test_a_stream_is_digested_as_it_is_written() -> None:
    import hashlib

    from stablesweep.checkpoints import _Digesting

    out = io.BytesIO()
    stream = _Digesting(out)
    for part in (b"ab", memoryview(b"cd"), bytearray(b"e")):
        stream.write(part)
    assert (out.getvalue(), stream.count) == (b"abcde", 5)
    assert stream.digest.hexdigest() == hashlib.sha256(b"abcde").hexdigest()


@pytest.mark.parametrize("place", ["foo://lab/x", "s3://", "~nobody-of-this-name/x"])
def test_a_run_refuses_a_storage_that_cannot_be_before_it_makes_anything(place: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = CliRunner().invoke(main, ["run", "quickstart", "--home", str(home), "--storage", place])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert not home.exists()
