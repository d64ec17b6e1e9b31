import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import stablesweep as ss
from stablesweep.cli import main
from stablesweep.early_session import EarlySession
from stablesweep.errors import StudyError
from stablesweep.study_file import apply_settings, load_study, make_study, parse_yaml, read_study_file

GOOD: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "digits", "image_size": 32},
    "arms": {"models": ["vit_p_micro", "vit_c_micro"], "optimizers": ["adamw", "sgd"]},
    "space": {
        "lr": {"around": 0.01},
        "weight_decay": {"log_uniform": [1e-5, 1e-3]},
        "adamw": {"lr": {"around": 0.002}},
        "vit_c_micro/sgd": {"momentum": {"uniform": [0.5, 0.99]}},
    },
    "phases": {"stability": {"draws": 4, "epochs": 2}},
}


def test_spaces_are_layered_shared_then_optimizer_then_arm() -> None:
    study = ss.Study.model_validate(GOOD)
    spaces = {arm.name: study.space_of(arm) for arm in study.arms}
    assert spaces["vit_p_micro/adamw"]["lr"] == ss.around(0.002)
    assert spaces["vit_p_micro/sgd"]["lr"] == ss.around(0.01)
    assert set(spaces["vit_c_micro/sgd"]) == {"lr", "weight_decay", "momentum"}
    assert set(spaces["vit_p_micro/sgd"]) == {"lr", "weight_decay"}


def test_python_and_yaml_say_the_same() -> None:
    from_python = ss.Study(
        name="small",
        dataset="digits",  # type: ignore[arg-type]
        arms=["vit_p_micro/sgd"],  # type: ignore[list-item]
        space={"sgd": ss.SearchSpace(lr=ss.around(0.1), weight_decay=ss.LogUniform(1e-5, 1e-3))},
        phases={"stability": {"draws": 4, "epochs": 2}},  # type: ignore[arg-type]
    )
    text = yaml.safe_dump(from_python.to_config())
    assert ss.Study.model_validate(parse_yaml(text)) == from_python


def test_the_built_in_study_is_what_the_paper_asks_small() -> None:
    study = load_study("quickstart")
    assert {arm.name for arm in study.arms} == {
        "vit_p_micro/adamw",
        "vit_p_micro/sgd",
        "vit_c_micro/adamw",
        "vit_c_micro/sgd",
    }
    assert study.phases.stability is not None
    draws = study.phases.stability.draws
    assert draws is not None
    assert draws * len(study.arms) >= 96
    assert draws >= 24
    for arm in study.arms:
        for name in ("lr", "weight_decay"):
            interval = study.space_of(arm)[name]
            assert isinstance(interval, ss.LogUniform)
            assert interval.high / interval.low == pytest.approx(32)


def test_numbers_without_a_point_are_numbers() -> None:
    assert parse_yaml("a: [1e-3, -2E+4, 1.5e3, .5e-1]")["a"] == [1e-3, -2e4, 1.5e3, 0.05]
    assert parse_yaml("a: e3")["a"] == "e3"


def test_settings_override_keys() -> None:
    study = load_study("quickstart", ["pack.size=4", "phases.stability.draws=2", "space.sgd.lr={around: 1e-2}"])
    assert study.pack.size == 4
    assert study.phases.stability is not None
    assert study.phases.stability.draws == 2
    assert study.space_of(study.arms[1])["lr"] == ss.around(0.01)


def nested(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    words = ["lr", "adamw", "stability", "draws", "around", "choice", "uniform", "int_uniform", "models", "optimizers"]
    return st.lists(values, max_size=3) | st.dictionaries(
        st.sampled_from(words) | st.text(max_size=5), values, max_size=3
    )


def edited(**changes: Any) -> dict[str, Any]:
    values = yaml.safe_load(yaml.safe_dump(GOOD))
    for key, value in changes.items():
        if value is None:
            del values[key]
        else:
            values[key] = value
    return dict(values)


ARMS = ["vit_p_micro/adamw", "vit_c_micro/sgd"]
BAD = [
    (edited(phasis={}), ["phasis", "unknown key", "phases"]),
    (edited(recipe={"batchsize": 3}), ["recipe.batchsize", "batch_size"]),
    (edited(phases={"stability": {"draws": 4, "epocs": 2}}), ["phases.stability.epocs", "epochs"]),
    (edited(space={}), ["space"]),
    (edited(space={"lr": {"around": 0.1}}), ["weight_decay"]),
    (edited(space={"lr": {"log_uniform": [0.1, 0.01]}, "weight_decay": {"around": 1}}), ["space.lr", "not below"]),
    (edited(space={"lr": {"log_uniform": [0.1, 0.1]}, "weight_decay": {"around": 1}}), ["space.lr", "not below"]),
    (edited(space={"lr": {"arround": 0.1}, "weight_decay": {"around": 1}}), ["space.lr", "around"]),
    (edited(space={"sgd": {}, "adamw": {"lr": {"around": 1}}}), ["space.sgd", "at least one dimension"]),
    (edited(space={**GOOD["space"], "adam": {"lr": {"around": 1}}}), ["space.adam", "no arm"]),
    (edited(space={**GOOD["space"], "adamw": {"momentum": {"around": 1}}}), ["momentum", "adamw"]),
    (edited(arms=["vit_q_micro/sgd"]), ["vit_q_micro", "vit_p_micro"]),
    (edited(arms=["vit_p_micro/sdg"]), ["sdg", "sgd"]),
    (edited(arms=["vit_p_micro"]), ["arms", "model/optimizer"]),
    (edited(arms=["vit_p_micro/sgd", "vit_p_micro/sgd"], space=GOOD["space"]), ["vit_p_micro/sgd", "2 times"]),
    (edited(arms=[]), ["arms"]),
    (edited(arms=None), ["arms", "missing"]),
    (edited(name="../escape"), ["name", "letters"]),
    (edited(name=None), ["name", "missing"]),
    (edited(seed="seven"), ["seed", "integer"]),
    (edited(phases={"stability": {"draws": 0, "epochs": 2}}), ["phases.stability.draws", "greater"]),
    (edited(phases={"stability": {"draws": 2.5, "epochs": 2}}), ["phases.stability.draws", "integer"]),
    (edited(phases={"serach": {"draws": 2, "epochs": 2}}), ["phases"]),
    (edited(dataset="imagnet"), ["imagnet"]),
    (edited(dataset={"name": "digits", "image_sise": 32}), ["image_sise", "image_size"]),
    (edited(dataset={"name": "digits", "image_size": "big"}), ["image_size"]),
    (edited(recipe={"batch_size": 5000}), ["batch_size"]),
    (edited(pack={"size": -1}), ["pack.size"]),
    (edited(pack={"gpus": 1.5}), ["pack.gpus", "whole number"]),
    (edited(pack={"cpus": float("inf")}), ["pack.cpus", "finite"]),
    (edited(seed=True), ["seed", "integer"]),
    (edited(phases={"stability": {"draws": "24", "epochs": 2}}), ["phases.stability.draws", "integer"]),
    (edited(dataset={"name": "digits", "image_size": 30}), ["30", "patch"]),
    (edited(space={**GOOD["space"], "lr": {"uniform": [-1, 1]}}), ["vit_p_micro/sgd", "lr"]),
    (
        edited(space={**GOOD["space"], "lr": {"choice": ["a", "b"]}}),
        ["space.lr", "a text for vit_p_micro/sgd", "a number for vit_p_micro/adamw"],
    ),
    (edited(space={**GOOD["space"], "lr": {"int_uniform": [0, 10**30]}}), ["space.lr", "2**53"]),
    (edited(space={**GOOD["space"], "lr": {"around": 10**400}}), ["space.lr", "positive number"]),
    (edited(recipe="papr"), ["recipe.base", "plain", "paper", "deit"]),
    (edited(recipe={"base": "paper", "crop_area": [0.5, 0.2]}), ["crop_area", "lower end first"]),
    (edited(recipe={"warmup": "before"}), ["recipe.warmup", "before_cosine"]),
    (edited(phases={}), ["phases", "stability, length or peak"]),
    (edited(phases={"length": {"epochs": [2, 2], "at": {"lr": 0.1, "weight_decay": 0.1}}}), ["epochs", "twice"]),
    (edited(phases={"length": {"epochs": [], "at": {"lr": 0.1, "weight_decay": 0.1}}}), ["phases.length.epochs"]),
    (edited(phases={"length": {"epochs": 2, "at": {"lr": 0.1}}}), ["at", "weight_decay", "missing"]),
    (edited(phases={"peak": {"epochs": 2, "at": {"lr": [1], "weight_decay": 0.1}}}), ["lr", "[1]"]),
    (
        edited(phases={"peak": {"epochs": 2, "at": {"adam": {"lr": 1}, "lr": 1, "weight_decay": 0}}}),
        ["at.adam", "no arm"],
    ),
    (edited(phases={"peak": {"epochs": 2, "at": {"lr": "high", "weight_decay": 0}}}), ["vit_p_micro/adamw", "lr"]),
    (edited(phases={"peak": {"epochs": 2, "at": {"lr": float("nan"), "weight_decay": 0}}}), ["lr", "nan", "finite"]),
    (edited(phases={"peak": {"epochs": 2, "at": {"lr": 10**400, "weight_decay": 0}}}), ["lr", "finite"]),
    (edited(phases={"peak": {"epochs": 2, "at": {"lr": True, "weight_decay": 0}}}), ["lr", "True"]),
    (edited(phases={"length": {"epochs": 2, "at": {"lr": 1}}}), ["phases.length.at", "weight_decay", "missing"]),
    (edited(phases={"peak": {"epoch": 2, "at": {"lr": 1, "weight_decay": 0}}}), ["phases.peak.epoch", "'epochs'"]),
    (edited(models={"vit_p_micro": {"base": "vit_c_micro"}}), ["models", "vit_p_micro", "already"]),
    (edited(models={"mine": {"base": "vit_x"}}), ["models.mine.base", "vit_x"]),
    (edited(models={"mine": {"stem": "s1"}}), ["models.mine.base", "missing"]),
    (edited(models={"a/b": {"base": "vit_p_micro"}}), ["models"]),
    (
        edited(
            models={"mine": {"base": "vit_p_micro", "stem": "s9"}},
            arms=["mine/sgd", "vit_p_micro/adamw", "vit_c_micro/sgd"],
        ),
        ["s9", "s1"],
    ),
    (
        edited(
            models={"mine": {"base": "vit_p_micro", "depth": 9}},
            arms=["mine/sgd", "vit_p_micro/adamw", "vit_c_micro/sgd"],
        ),
        ["depth", "blocks"],
    ),
    (edited(arms=["timm:resnet5/sgd"]), ["timm:resnet5", "resnet50"]),
    (edited(arms=["vit_p_micro/torch:RMSprp"]), ["RMSprp", "RMSprop"]),
    (edited(dataset="torchvision:CIFAR"), ["CIFAR", "CIFAR10"]),
    (edited(dataset={"name": "parquet", "path": 5}), ["'parquet'", "path is 5"]),
    (edited(dataset={"name": "parquet", "path": "~nobody-here/x"}), ["~nobody-here/x", "write it out"]),
    (edited(dataset={"name": "digits", "image_size": b"\x80"}), ["image_size", "not plain"]),
    (edited(models={"mine": {"base": "timm:test_resnet", "drop_rate": 5}}, arms=["mine/sgd", *ARMS]), ["dropout", "5"]),
    (edited(recipe={"batch_size": 6, "mixup": 0.8}, pack={"workers": 2}), ["batch_size", "odd"]),
    (edited(dataset={"name": "imagefolder", "path": "/nowhere/at/all"}), ["/nowhere/at/all"]),
    (edited(pack={"workers": 3}, recipe={"batch_size": 64}), ["batch_size", "3 workers"]),
]


def test_a_recipe_is_a_name_a_mapping_or_both() -> None:
    from trainables import Recipe

    assert load_study("quickstart", ["recipe=paper"]).recipe == Recipe.model_validate("paper")
    both = load_study("quickstart", ["recipe=paper", "recipe.batch_size=512", "recipe.mixup=0"]).recipe
    assert (both.base, both.batch_size, both.mixup, both.cutmix) == ("paper", 512, 0.0, 1.0)
    # What a study says of itself is read back as the same study, overridden fields included.
    study = load_study("quickstart", ["recipe=paper", "recipe.mixup=0.0", "recipe.lr_batch_size=null"])
    assert ss.Study.model_validate(study.to_config()) == study


def test_a_new_field_of_the_recipe_would_change_no_fingerprint() -> None:
    plain = load_study("quickstart")
    assert plain.fingerprint() == load_study("quickstart", ["recipe.base=plain", "recipe.mixup=0.0"]).fingerprint()
    assert plain.fingerprint() != load_study("quickstart", ["recipe.mixup=0.1"]).fingerprint()
    # The values count, not the way in which they are written.
    named = load_study("quickstart", ["recipe=paper"])
    spelled = load_study(
        "quickstart",
        [
            "recipe="
            + str({**named.recipe.model_dump(mode="json"), "base": "plain"})
            .replace("None", "null")
            .replace("True", "true")
        ],
    )
    assert spelled.fingerprint() == named.fingerprint()


@pytest.mark.parametrize(("values", "words"), BAD, ids=[" ".join(words) for _, words in BAD])
def test_a_bad_study_file_gets_one_sentence_before_anything_is_made(
    tmp_path: Path, values: dict[str, Any], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray starts beside the loading of the data, and is of no use here.
    monkeypatch.setattr(EarlySession, "begin", lambda _: None)
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(main, ["run", str(file), "--home", str(tmp_path / "home")])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert str(file) in result.stderr
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", ["not valid YAML"]),
        ("- a\n- b\n", ["a mapping"]),
        ("name: a\nname: b\n", ["'name' stands twice", "line 2"]),
        ("name: !!python/object/apply:os.system [true]", ["not valid YAML"]),
        ("\0", ["not valid YAML"]),
        ("name: 2020-13-45", ["not valid YAML"]),
        ("{}: 1", ["not valid YAML"]),
        ("name: !!int zz", ["not valid YAML"]),
        ("a: " + "[" * 3000, ["not valid YAML"]),
    ],
)
def test_a_file_that_is_no_study(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(StudyError) as error:
        read_study_file(file)
    assert str(file) in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_missing_file_names_the_built_in_studies(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no such file.*quickstart"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(tmp_path)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), nested, max_leaves=9)
)
def test_nothing_in_a_study_gives_anything_but_a_sentence(value: Any) -> None:
    for key in (*GOOD, "recipe", "pack", "other"):
        with contextlib.suppress(StudyError):
            make_study({**GOOD, key: value}, "file")


@pytest.mark.parametrize("setting", ["pack", "=3", "pack..size=3", "name.x=1", "pack.size=["])
def test_a_bad_setting_is_named(setting: str) -> None:
    with pytest.raises(StudyError) as error:
        apply_settings(dict(GOOD), [setting])
    assert setting in str(error.value)
