"""Descriptions, numbers and names of runs, hardware in words: what MLflow's pages show, without MLflow."""

import math
from pathlib import Path

import markdown_it
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablesweep.arm_results import arm_results
from stablesweep.hardware import Node, cpu_model, in_words, with_more
from stablesweep.markdown import escaped, table, with_part
from stablesweep.run_names import MAX_LENGTH, arm_run_name, trial_run_name
from stablesweep.trials import Trial, plan_trials
from tests.support import small_study

MARKER = "<!-- marker -->"


def tokens(text: str) -> list[str]:
    """What a Markdown parser other than MLflow's finds in a list item of this text."""
    parser = markdown_it.MarkdownIt("gfm-like", {"html": True, "linkify": False})
    found = []
    for token in parser.parse(f"- {text}"):
        found += [child.type for child in token.children or ()] or [token.type]
    return found


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1).filter(str.strip))
def test_escaped_text_is_text_in_a_list_and_in_a_cell(text: str) -> None:
    assert set(tokens(escaped(text))) <= {
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "text",
        "text_special",
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
    }
    shown = markdown_it.MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(
        table(["name", "n"], [[escaped(text), "1"]])
    )
    inline = [token for token in shown if token.type == "inline"]
    assert "".join(child.content for child in inline[2].children or ()) == " ".join(text.split())


def test_names_stay_readable_as_they_are_stored() -> None:
    assert (
        escaped("vit_c_micro/sgd beats vit_p_micro/sgd (12 to 0)") == "vit_c_micro/sgd beats vit_p_micro/sgd (12 to 0)"
    )


def test_what_people_wrote_stays_below_ours() -> None:
    first = with_part("theirs", "ours", MARKER)
    assert first == f"ours\n\n{MARKER}\n\ntheirs"
    assert with_part(first, "new", MARKER) == f"new\n\n{MARKER}\n\ntheirs"
    assert with_part("", "ours", MARKER) == f"ours\n\n{MARKER}"


def trials_of(rows: list[tuple[str, str, str, float | None]]) -> pa.Table:
    """A trials table: sampler, arm, status, error."""
    return pa.table(
        {
            "key": [f"stability/{arm}/{place:06d}/0" for place, (_, arm, _, _) in enumerate(rows)],
            "phase": ["search" if sampler == "tpe" else "stability" for sampler, _, _, _ in rows],
            "arm": [arm for _, arm, _, _ in rows],
            "model": [arm.split("/")[0] for _, arm, _, _ in rows],
            "optimizer": [arm.split("/")[1] for _, arm, _, _ in rows],
            "sampler": [sampler for sampler, _, _, _ in rows],
            "status": [status for _, _, status, _ in rows],
            "error": pa.array([error for _, _, _, error in rows], pa.float64()),
        }
    )


def test_an_arms_numbers_by_hand() -> None:
    done = [("random", "m/sgd", "completed", error) for error in (30.0, 10.0, 20.0)]
    (result,) = arm_results(trials_of([*done, ("random", "m/sgd", "diverged", None)]))
    assert result.metrics == {
        "trials": 4.0,
        "completed": 3.0,
        "diverged": 1.0,
        "missing": 0.0,
        "best_final_error": 10.0,
        "median_final_error": 20.0,
        "diverged_percent": 25.0,
    }


def test_a_median_that_is_infinite_or_not_known_yet_is_left_out() -> None:
    diverged = [("random", "m/sgd", "diverged", None)] * 3
    (result,) = arm_results(trials_of([*diverged, ("random", "m/sgd", "completed", 10.0)]))
    assert math.isinf(result.median)
    assert "median_final_error" not in result.metrics
    (result,) = arm_results(trials_of([("random", "m/sgd", "pending", None), ("random", "m/sgd", "completed", 10.0)]))
    assert math.isnan(result.median)
    assert result.metrics["missing"] == 1


def test_a_search_says_nothing_about_the_space() -> None:
    (result,) = arm_results(trials_of([("tpe", "m/sgd", "completed", 10.0), ("tpe", "m/sgd", "pruned", None)]))
    assert result.metrics == {
        "trials": 2.0,
        "completed": 1.0,
        "diverged": 0.0,
        "missing": 0.0,
        "pruned": 1.0,
        "best_final_error": 10.0,
    }


def trial_named(model: str) -> Trial:
    trial = plan_trials(small_study())[0]
    return Trial(**{name: getattr(trial, name) for name in Trial.__slots__} | {"arm": f"{model}/sgd"})


@pytest.mark.parametrize("length", [1, 80, 240, 241, 250, 1000])
def test_long_names_keep_their_ends(length: int) -> None:
    model = "m" * length
    for name in (trial_run_name(trial_named(model)), arm_run_name("stability", f"{model}/sgd")):
        assert len(name) <= MAX_LENGTH
        assert "m/sgd" in name
    assert trial_run_name(trial_named(model)).startswith("draw 000 · m")


def test_hardware_in_words(tmp_path: Path) -> None:
    here = Node(cpus=2, gpus=0, cpu_model="Some CPU @ 2 GHz")
    far = Node(cpus=64, gpus=8, gpu_model="H100")
    assert in_words([here]) == "2 CPUs (Some CPU @ 2 GHz)"
    assert in_words([far, far]) == "2 machines, each 64 CPUs and 8 GPUs (H100)"
    assert in_words([here, far, far]) == "2 CPUs (Some CPU @ 2 GHz); 2 machines, each 64 CPUs and 8 GPUs (H100)"
    assert in_words([Node(cpus=0, gpus=0), Node(cpus=1, gpus=1)]) == "1 CPU and 1 GPU"
    assert in_words([]) == ""
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some  CPU\nprocessor\t: 1\nmodel name\t: Some CPU\n")
    assert cpu_model(info) == "Some CPU"
    assert cpu_model(tmp_path / "nothing")


def test_hardware_of_a_study_that_moved() -> None:
    assert with_more("", "a") == "a"
    assert with_more("a", "a") == "a"
    assert with_more("a", "b") == "a; then b"
    assert with_more("a; then b", "a") == "a; then b"
