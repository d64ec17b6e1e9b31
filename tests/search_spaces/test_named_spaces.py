import json
from pathlib import Path

import pytest

from search_spaces import (
    PAPER_BATCH_SIZE,
    LogUniform,
    SearchSpace,
    SpaceError,
    family_of,
    named_space,
    paper_centre,
    space_names,
)

INTERVALS = Path(__file__).parents[1] / "stablesweep" / "paper_intervals.json"


def test_the_intervals_are_those_of_the_paper() -> None:
    published = json.loads(INTERVALS.read_text(encoding="utf-8"))
    assert PAPER_BATCH_SIZE == 2048
    for name in space_names():
        _, family, optimizer = name.split("/")
        space = named_space(name)
        assert space == SearchSpace({key: LogUniform(*ends) for key, ends in published[family][optimizer].items()})
    assert space_names() == ("paper/vit/adamw", "paper/vit/sgd", "paper/regnety/adamw", "paper/regnety/sgd")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("paper/vit/adam", "did you mean 'paper/vit/adamw'"),
        ("paper/regnetx/sgd", "did you mean 'paper/regnety/sgd'"),
        ("mine", "no space is called 'mine'; known are paper/vit/adamw, "),
        (3, "no space is called 3; known are"),
    ],
)
def test_an_unknown_space_is_one_sentence(name: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        named_space(name)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("vit_p_4gf", "vit"),
        ("vit_c_micro", "vit"),
        ("regnety_16gf", "regnety"),
        ("timm:regnety_040", None),
        ("timm:vit_small_patch16_224", None),
        ("hybrid_small_r26_s32", None),
        ("resnet50", None),
        ("vit_p_", None),
        ("mlp", None),
    ],
)
def test_families(model: str, family: str | None) -> None:
    assert family_of(model) == family


# Table 4 of arXiv:2106.14881 on the left, section 6 from 400 epochs on: learning rate, weight decay.
@pytest.mark.parametrize(
    ("model", "optimizer", "epochs", "setting"),
    [
        ("vit_p_1gf", "adamw", 50, (2.0e-3, 0.20)),
        ("vit_p_1gf", "sgd", 399, (1.9, 1.3e-5)),
        ("vit_p_18gf", "sgd", 50, (1.1, 1.2e-5)),
        ("vit_c_1gf", "adamw", 100, (2.5e-3, 0.19)),
        ("vit_c_4gf", "sgd", 50, (1.3, 2.2e-5)),
        ("vit_c_18gf", "adamw", 50, (1.0e-3, 0.24)),
        ("regnety_1gf", "adamw", 50, (3.8e-3, 0.10)),
        ("regnety_16gf", "sgd", 50, (2.54, 2.4e-5)),
        ("vit_c_1gf", "adamw", 400, (1.0e-3, 0.24)),
        ("vit_c_1gf", "sgd", 400, (1.9, 1.3e-5)),
        ("vit_p_36gf", "adamw", 400, (6.0e-4, 0.28)),
        ("vit_c_36gf", "adamw", 800, (6.0e-4, 0.28)),
        ("vit_c_36gf", "adamw", 200, None),
        ("vit_c_36gf", "sgd", 400, None),
        ("regnety_4gf", "sgd", 400, (2.54, 2.4e-5)),
        ("regnety_4gf", "adamw", 400, (3.8e-3, 0.10)),
        ("resnet50", "sgd", 400, (2.54, 2.4e-5)),
        ("resnet50", "sgd", 100, None),
        ("resnet50", "adamw", 400, None),
        ("timm:resnet50", "sgd", 400, None),
        ("vit_c_micro", "adamw", 400, None),
        ("vit_c_micro", "sgd", 50, None),
        ("vit_c_1gf", "timm:lion", 50, None),
        ("mlp", "sgd", 50, None),
    ],
)
def test_the_papers_own_settings(model: str, optimizer: str, epochs: int, setting: tuple[float, float] | None) -> None:
    expected = None if setting is None else dict(zip(("lr", "weight_decay"), setting, strict=True))
    assert paper_centre(model, optimizer, epochs) == expected


def test_the_settings_lie_in_the_papers_intervals() -> None:
    for model in ("vit_p_1gf", "vit_p_4gf", "vit_p_18gf", "vit_c_1gf", "vit_c_4gf", "vit_c_18gf", "regnety_4gf"):
        for optimizer in ("adamw", "sgd"):
            centre = paper_centre(model, optimizer, 50)
            assert centre is not None
            space = named_space(f"paper/{family_of(model)}/{optimizer}")
            for name, interval in space.items():
                assert isinstance(interval, LogUniform)
                assert interval.low < centre[name] < interval.high
