"""Models are compared without TF32, and what the process has chosen is as it was afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from trainables import ImageData, Member, Recipe
from trainables.training.fused import members as module
from trainables.training.fused.members import FusedMembers
from trainables.training.fused.pack import FusedPack
from trainables.training.fused.precision import without_tf32
from trainables.training.member import MemberTraining

MakeMember = Callable[..., Member]

CHOICES: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "by the older names": lambda: torch.set_float32_matmul_precision("medium"),
    "by the newer names": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
}


def settings() -> list[Any]:
    def read(setting: Callable[[], Any]) -> Any:
        try:
            return setting()
        except RuntimeError as error:
            return type(error)

    return [
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        read(lambda: torch.backends.cuda.matmul.allow_tf32),
        read(lambda: torch.backends.cudnn.allow_tf32),
        read(torch.get_float32_matmul_precision),
    ]


@pytest.fixture
def as_before() -> Iterator[None]:
    before = settings()
    yield
    torch.set_float32_matmul_precision(before[4])
    torch.backends.cuda.matmul.fp32_precision = before[0]
    assert settings() == before


@pytest.mark.usefixtures("as_before")
@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="the newer names are those of torch 2.9")
@pytest.mark.parametrize("chosen", CHOICES)
def test_tf32_is_off_inside_and_as_it_was_afterwards(chosen: str) -> None:
    CHOICES[chosen]()
    before = settings()
    with without_tf32(torch.device("cuda")):
        assert "tf32" not in settings()[:2]
    assert settings() == before
    with without_tf32(torch.device("cpu")):
        assert settings() == before


def test_both_passes_are_compared_without_it(
    small_data: ImageData, member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[str] = []

    @contextmanager
    def watched(_device: torch.device) -> Iterator[None]:
        passes.append("begin")
        yield
        passes.append("end")

    def noted(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def watched_pass(*of: Any, **asked: Any) -> Any:
            passes.append(name)
            return real(*of, **asked)

        monkeypatch.setattr(kind, name, watched_pass)

    noted(FusedMembers, "_logits")
    noted(MemberTraining, "training_logits")
    monkeypatch.setattr(module, "without_tf32", watched)
    recipe = Recipe(batch_size=32)
    asked: dict[str, Any] = {"model": "vit_p_micro", "optimizer": "adamw", "data": small_data, "recipe": recipe}
    FusedPack([member(0), member(1)], epochs=1, study_seed=5, **asked).run_epoch()
    begin, end = passes.index("begin"), passes.index("end")
    assert passes[begin + 1 : end] == ["_logits", "training_logits", "training_logits"]
    assert "training_logits" not in passes[end:]
