from pathlib import Path

import pytest
from pydantic import ValidationError

from trainables import Recipe
from trainables.recipes.presets import PRESETS

DOCUMENT = Path(__file__).parents[3] / "docs" / "recipes.md"


def test_the_plain_recipe_augments_and_averages_nothing() -> None:
    recipe = Recipe()
    assert (recipe.crop, recipe.flip, recipe.auto_augment, recipe.pca_jitter) == ("none", 0, "none", 0)
    assert (recipe.random_erasing, recipe.mixup, recipe.cutmix, recipe.ema_horizon) == (0, 0, 0, None)
    assert recipe == Recipe.model_validate("plain")


def test_every_field_has_a_line_in_the_document() -> None:
    table = [line.split("|")[1].strip() for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert [f"`{name}`" for name in Recipe.model_fields] == [
        cell for cell in table if cell[1:-1] in Recipe.model_fields
    ]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_document_gives_every_presets_values(preset: str) -> None:
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    header = next(line for line in lines if "`paper`" in line and "`deit`" in line)
    column = [cell.strip() for cell in header.split("|")].index(f"`{preset}`")
    fields = [line.split("|") for line in lines if line.startswith("| `")]
    rows = {cells[1].strip().strip("`"): cells[column].strip() for cells in fields if len(cells) > column}
    recipe = Recipe.model_validate(preset)
    for name in Recipe.model_fields:
        if name != "base":
            assert rows[name] == _as_written(getattr(recipe, name)), name


def _as_written(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, tuple):
        return ", ".join(_as_written(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def test_what_is_given_beside_the_preset_takes_precedence() -> None:
    recipe = Recipe.model_validate({"base": "paper", "batch_size": 256, "mixup": 0.0})
    assert (recipe.batch_size, recipe.mixup, recipe.cutmix, recipe.lr_batch_size) == (256, 0.0, 1.0, 2048)


def test_deits_absolute_rates_at_its_own_base_rate() -> None:
    recipe = Recipe.model_validate("deit")
    assert recipe.lr_batch_size is not None
    base = 5e-4 * recipe.batch_size / recipe.lr_batch_size
    assert base * recipe.warmup_start == pytest.approx(1e-6)
    assert base * recipe.min_lr_fraction == pytest.approx(1e-5)


@pytest.mark.parametrize(
    "field",
    [
        {"batch_size": 0},
        {"batch_size": "64"},
        {"batch_size": 1.5},
        {"warmup_epochs": -1},
        {"label_smoothing": 1.0},
        {"grad_clip": 0.0},
        {"explode": float("inf")},
        {"momentum": 0.9},
        {"base": "papre"},
        {"crop_area": [0.9, 0.1]},
        {"crop_area": [0.1, 1.5]},
        {"randaugment_magnitude": 31},
        {"randaugment_probability": 1.5},
        {"flip": -0.1},
    ],
)
def test_a_bad_recipe_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(field))):
        Recipe.model_validate(field)


def test_a_recipe_takes_whole_numbers_and_lists_and_is_frozen() -> None:
    recipe = Recipe.model_validate({"warmup_epochs": 2, "grad_clip": 1, "crop_area": [0.5, 1]})
    assert (recipe.warmup_epochs, recipe.grad_clip, recipe.crop_area) == (2.0, 1.0, (0.5, 1.0))
    with pytest.raises(ValidationError, match="frozen"):
        recipe.batch_size = 1


def test_every_field_is_described() -> None:
    source = (Path(__file__).parents[3] / "trainables" / "recipes" / "recipe.py").read_text()
    for name in Recipe.model_fields:
        after = source.split(f"\n    {name}: ", 1)[1].splitlines()
        assert after[1].startswith('    """'), name
