"""Study files and settings that were damaged in every way: a study comes out, or one sentence; never another error. No Ray.

The mutations are drawn from fixed seeds: the same texts on every machine.
"""

import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from stablesweep.errors import StudyError
from stablesweep.study import Study
from stablesweep.study_file import BUILT_IN, apply_settings, load_study, make_study, read_study_file
from tests.support import SMALL

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("examples/**/*.yaml"))
}
TEXTS = {
    **{name: resources.files("stablesweep.studies").joinpath(f"{name}.yaml").read_text() for name in BUILT_IN},
    # Those with models of their own need their folder.
    **{name: text for name, text in EXAMPLES.items() if "arms:" in text and "imports:" not in text},
    "small": yaml.safe_dump(SMALL),
}
MUTANTS = 60
"""Of each text and kind."""

STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 10**400, -(10**400), 2**63, 1e308, 1e-320, float("nan"), float("inf"), float("-inf"),
    "", " ", "\0", "\n", "a\nb", "../../etc", "/", "é😀\u202e", "x" * 10_000, "1e-3", "nan", "{}", "<script>", "%s", "{0}",
    [], [[]], [None], [1, "a"], [[[[1]]]], {}, {"": 1}, {"a": {}}, {1: 2}, {None: None}, {"around": 0}, {"around": "x"},
    {"log_uniform": [1, 0]}, {"log_uniform": [0, 0]}, {"log_uniform": [float("nan"), 1]}, {"uniform": [1]},
    {"choice": []}, {"choice": [[], {}]}, {"int_uniform": [0, 10**30]}, {"int_uniform": [0.5, 2]}, {"uniform": [-1e308, 1e308]},
]  # fmt: skip
SNIPPETS = [
    "!!python/object/apply:os.system ['false']", "!!python/name:os.system", "!!binary x", "!!binary '*'", "!!set {a, b}",
    "!!omap [a: 1]", "!!pairs [a]", "!!timestamp 2001-99-99", "2001-99-99", "!!int x", "!!float x", "!!int ''", "!!bool x",
    "!!null x", "!mine {a: 1}", "&a [*a]", "*nothing", "&a {<<: *a}", "{<<: 1}", "{<<: [1]}", "{? [a] : b}", "{? {a: 1} : b}",
    "{a: 1, a: 2}", "{[1]: 2, [1]: 3}", "0x", "0b2", "1:99:99", "._", "-.", "1e999", "1_000", "0o17", "'\\x00'", '"\\x00"', '"\\ud800"',
    "[" * 50, "[" * 5000, "{a: " * 5000, "- " * 5000, "%YAML 9.9", "---\n---", "...", "\t", "|", ">-", "?", ": :", "@", "`",
    "9" * 5000, "0x" + "f" * 5000, "1" + "e9" * 3, "\ufeff", "\x85", "\u2028", "=", "<<",
]  # fmt: skip


def study_or_sentence(make: Callable[[], Study]) -> bool:
    """Whether a study came out, not one sentence."""
    try:
        study = make()
    except StudyError as error:
        message = str(error)
        problems = (len(message.splitlines()) != 1, len(message) >= 2_000, not message.isprintable())
        assert not any(problems), f"{problems}: {message[:1000]!r}"
        return False
    assert isinstance(study, Study)
    return True


def read(path: Path, text: str | bytes) -> bool:
    """Whether a study file of this content makes a study."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return study_or_sentence(lambda: load_study(path))


def seeded(name: str, kind: str) -> random.Random:
    return random.Random(f"{name} {kind}")


@pytest.mark.parametrize("name", TEXTS)
def test_bytes_that_changed(tmp_path: Path, name: str) -> None:
    content, chance = TEXTS[name].encode(), seeded(name, "bytes")
    assert read(tmp_path / "study.yaml", content), "it must be a study before it is damaged"
    for _ in range(MUTANTS):
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 3, 30))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        read(tmp_path / "study.yaml", bytes(changed))


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_were_cut_and_moved(tmp_path: Path, name: str) -> None:
    text, chance = TEXTS[name], seeded(name, "cut")
    for _ in range(MUTANTS):
        start, end = sorted(chance.randrange(len(text)) for _ in range(2))
        moved = chance.randrange(len(text))
        read(
            tmp_path / "study.yaml",
            chance.choice((text[:end], text[:start] + text[end:], text[:moved] + text[start:end])),
        )


@pytest.mark.parametrize("name", TEXTS)
def test_lines_that_hold_something_else(tmp_path: Path, name: str) -> None:
    lines, chance = TEXTS[name].splitlines(), seeded(name, "lines")
    for snippet in SNIPPETS:
        changed, place = list(lines), chance.randrange(len(lines))
        key, colon, _ = changed[place].partition(":")
        changed[place] = f"{key}: {snippet}" if colon else snippet
        read(tmp_path / "study.yaml", "\n".join(changed))


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in plain data, the containers' too."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        yield (*path, key)
        yield from paths(value, (*path, key))


def replaced(node: Any, path: tuple[Any, ...], value: object) -> Any:
    head, *rest = path
    new = replaced(node[head], tuple(rest), value) if rest else value
    if isinstance(node, dict):
        return {**node, head: new}
    return [new if place == head else old for place, old in enumerate(node)]


@pytest.mark.parametrize("name", TEXTS)
def test_values_of_other_kinds(tmp_path: Path, name: str) -> None:
    values, chance = yaml.safe_load(TEXTS[name]), seeded(name, "values")
    places = list(paths(values))
    for _ in range(4 * MUTANTS):
        changed = values
        for _ in range(chance.choice((1, 1, 2))):
            place = chance.choice(list(paths(changed)) or places)
            changed = replaced(changed, place, chance.choice(STRANGE))
        study_or_sentence(lambda: make_study(changed, "study.yaml"))  # noqa: B023 - called at once


@pytest.mark.parametrize("name", TEXTS)
def test_keys_that_are_not_known(name: str) -> None:
    values, chance = yaml.safe_load(TEXTS[name]), seeded(name, "keys")
    inner = [path for path in paths(values) if not isinstance(path[-1], int)]
    for _ in range(MUTANTS):
        place = chance.choice(inner)
        key = chance.choice([1, None, 1.5, True, "", "\n", "x" * 500, "dräws", "__class__", ("a", 1)])
        above = values
        for part in place[:-1]:
            above = above[part]
        changed = {**above, key: chance.choice(STRANGE)}
        whole = replaced(values, place[:-1], changed) if place[:-1] else changed
        study_or_sentence(lambda: make_study(whole, "study.yaml"))  # noqa: B023 - called at once


def test_settings_on_the_command_line() -> None:
    chance = random.Random(0)
    keys = [
        "name",
        "seed",
        "arms",
        "arms.0",
        "space",
        "space.lr",
        "phases.stability.draws",
        "pack.size",
        "dataset",
        "dataset.name",
    ]
    keys += [
        "recipe",
        "recipe.base",
        "recipe.adamw.betas",
        "",
        ".",
        "a..b",
        "=",
        "\0",
        "é",
        "models.x",
        "imports",
        "trainable",
    ]
    _, values = read_study_file("quickstart")
    for _ in range(300):
        text = chance.choice([*SNIPPETS, *(repr(value)[:200] for value in STRANGE)])
        settings = [f"{chance.choice(keys)}={text}" for _ in range(chance.choice((1, 1, 2)))]
        study_or_sentence(lambda: make_study(apply_settings(values, settings), "quickstart"))  # noqa: B023 - called at once
    for setting in ("", "=", "a", "a.=1", ".a=1", "name", "\0", "a=b=c", "name==", "x" * 5000):
        study_or_sentence(lambda: make_study(apply_settings(values, [setting]), "quickstart"))  # noqa: B023 - called at once


LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
BOMBS = {
    "a list of lists of lists": LAUGHS + "name: *a9\n",
    "in the place of the arms": LAUGHS + "name: x\ndataset: digits\narms: *a9\nphases: {stability: {draws: 1, epochs: 1}}\n",
    "merged keys": "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10)),
    "a mapping of mappings": "a0: &a0 {x: y}\n" + "".join(
        f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}\n" for n in range(1, 10)
    ) + "models: *a9\nname: x\n",
    "itself": "&a {name: *a, arms: [*a], space: *a}",
    "deep": "name: " + "[" * 100_000,
    "many digits": "seed: " + "9" * 1_000_000,
    "sexagesimal": "seed: 1" + ":59" * 200_000,
    "many draws": "name: x\ndataset: digits\narms: [vit_c_micro/sgd]\nspace: {lr: {around: 1}}\nphases: {stability: {draws: 1.0e+300, epochs: 1}}",
    "many keys": "".join(f"k{n}: 1\n" for n in range(20_000)),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_text_that_unfolds_without_end_is_refused_soon(tmp_path: Path, bomb: str) -> None:
    """In a process of its own, which may use a minute and 2 GB more than it has."""
    file = tmp_path / "study.yaml"
    file.write_text(BOMBS[bomb])

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))

    done = subprocess.run(
        [sys.executable, "-m", "stablesweep", "plan", str(file), "--home", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=300, preexec_fn=bounded,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert len(done.stderr) < 2_000
