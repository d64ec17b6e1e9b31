import io

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from stablesweep.cli import main
from stablesweep.model_table import (
    MeasuredRow,
    ModelSetting,
    count_model,
    model_settings,
    render_measurements,
    render_models,
    shown_one_by_one,
)
from trainables import UnknownName, model_names
from trainables.models.measure import Measurement

WIDTH = 120
"""Columns of the terminal that the table must fit."""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments])


def table(output: str) -> dict[str, list[str]]:
    """The cells of each line, by the first."""
    rows = [line.split() for line in output.partition("\n\n")[0].splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_models_by_name_beside_the_papers_figures() -> None:
    result = invoke("vit_c_1gf", "resnet50", "vit_p_micro", "timm:resnet18")
    assert result.exit_code == 0
    rows = table(result.stdout)
    assert list(rows) == ["model", "vit_c_1gf", "resnet50", "vit_p_micro", "timm:resnet18"]
    # fmt: off
    assert rows["vit_c_1gf"] == [
        "4,567,936", "4.6", "0", "1.076", "1.1", "0", "5.628", "5.7", "-0.38", "224", "px", "1000",
    ]
    assert rows["resnet50"] == [
        "25,557,032", "25.6", "0", "4.089", "4.1", "0", "11.115", "11.3", "-1.19", "224", "px", "1000",
    ]
    # fmt: on
    assert rows["timm:resnet18"] == ["11,689,512", "1.814", "2.485", "224", "px", "1000"]
    assert rows["vit_p_micro"][0] == "34,922"
    assert rows["vit_p_micro"][-3:] == ["32", "px", "10"]
    assert "images/s" not in result.stdout


def test_the_widest_rows_fit_a_terminal() -> None:
    wide = ["hybrid_small_r26_s32", "efficientnet_b5", "vit_p_36gf", "vit_c_36gf"]
    output = render_models([count_model(setting) for setting in model_settings(wide)])
    assert max(map(len, output.splitlines())) <= WIDTH


def test_all_models_are_listed_smaller_sizes_first() -> None:
    names = [setting.name for setting in model_settings()]
    assert sorted(names) == list(model_names())
    assert [name for name in names if name.startswith("vit_c") and name.endswith("gf")] == [
        *("vit_c_1gf", "vit_c_4gf", "vit_c_18gf", "vit_c_36gf")
    ]


def test_each_model_is_counted_at_the_size_of_its_published_figures() -> None:
    sizes = {setting.name: (setting.num_classes, setting.image_size) for setting in model_settings()}
    assert sizes["vit_p_36gf"] == (1000, 224)
    assert sizes["regnety_1gf"] == (1000, 232)
    assert sizes["efficientnet_b4"] == (1000, 380)
    assert sizes["vit_c_tiny"] == (10, 64)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_p_2gf", "Error: unknown model 'vit_p_2gf'; did you mean"),
        ("timm:resnet-18", "Error: unknown model 'timm:resnet-18'; did you mean 'timm:resnet18'?"),
        ("timm:efficientformer_l1_", "did you mean 'timm:efficientformer_l1'"),
    ],
)
def test_an_unknown_model_is_one_sentence(name: str, message: str) -> None:
    result = invoke("vit_p_micro", name)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_settings_of_unknown_models() -> None:
    with pytest.raises(UnknownName, match="did you mean 'vit_p_micro'"):
        model_settings(["vit_p_mikro"])


def test_measuring_adds_a_table_and_says_what_it_does() -> None:
    result = invoke("vit_p_micro", "--measure")
    assert result.exit_code == 0
    assert "measuring vit_p_micro (1/1)" in result.stderr
    counted, _, measured = result.stdout.split("\n\n")
    assert counted.startswith("model")
    assert "training: forward, backward and a step of AdamW" in measured
    cells = measured.splitlines()[2].split()
    assert cells[:3] == ["vit_p_micro", "32", "px"]
    assert all(float(cell.replace(",", "")) > 0 for cell in cells[3:6])


@pytest.mark.parametrize("terminal", [True, False])
def test_each_setting_comes_once_and_is_named(terminal: bool) -> None:
    text = io.StringIO()
    settings = model_settings(["vit_p_micro", "vit_c_micro"])
    console = Console(file=text, force_terminal=terminal, width=WIDTH)
    assert list(shown_one_by_one(settings, "counting", console, lines=False)) == settings
    assert ("counting vit_c_micro" in text.getvalue()) == terminal


def test_a_model_that_could_not_be_measured_has_a_line_that_says_why() -> None:
    setting = ModelSetting(name="vit_p_36gf", num_classes=10, image_size=224, in_channels=3)
    measurement = Measurement(
        device="cuda",
        batch_size=64,
        train_images_per_s=1234.56,
        inference_images_per_s=5000.0,
        peak_memory_bytes=3 * 2**30,
    )
    output = render_measurements(
        [
            MeasuredRow(setting=setting, measurement=None, failure="CUDA out of memory"),
            MeasuredRow(setting=setting, measurement=measurement),
        ]
    )
    lines = output.splitlines()
    assert lines[0].startswith("On cuda, float32")
    assert lines[2].split() == ["vit_p_36gf", "224", "px", "–", "–", "–", "–"]
    assert lines[3].split() == ["vit_p_36gf", "224", "px", "64", "1,234.6", "5,000.0", "3,072", "MiB"]
    assert lines[4] == "vit_p_36gf: CUDA out of memory"
    assert max(map(len, lines)) <= WIDTH
