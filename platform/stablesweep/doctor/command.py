"""The command ``stablesweep doctor``."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stablesweep.command_options import home_option, set_option, storage_option
from stablesweep.errors import StablesweepError
from stablesweep.home import Home

if TYPE_CHECKING:
    from stablesweep.doctor.examination import Asked
    from stablesweep.findings import Finding
    from stablesweep.study import Study


@click.command()
@click.argument("study", required=False)
@home_option
@set_option
@storage_option
@click.option("--json", "as_json", is_flag=True, help="Print one line for programs.")
@click.option("--no-ray", is_flag=True, help="Neither start nor join Ray, which takes some ten seconds.")
def doctor(
    study: str | None, home: Path | None, settings: Sequence[str], storage: str | None, as_json: bool, no_ray: bool
) -> None:
    """Check installation, GPU, Ray, MLflow and STUDY's data, and say what to do. Trains nothing, keeps nothing."""
    from stablesweep.doctor.examination import Asked
    from stablesweep.doctor.text import closing_sentence, json_line

    loaded, findings = _load(study, settings)
    asked = Asked(home=Home.at(home), study=loaded, source=study or "", storage=storage, ray=not no_ray)
    if as_json:
        # What Ray or another library prints meanwhile must not get into the line.
        with _output_to_errors():
            findings += _examined(asked)
        click.echo(json_line(findings))
    else:
        _show(findings)
        findings += _examined(asked, _show)
        command = "stablesweep run" if study is None else f"stablesweep run {study}"
        click.echo(f"\n{closing_sentence(findings, command)}")
    sys.exit(int(any(finding.ok is False for finding in findings)))


def _load(study: str | None, settings: Sequence[str]) -> "tuple[Study | None, list[Finding]]":
    """The study, if one is given and can be read, and what is wrong with it."""
    if study is None:
        return None, []
    from stablesweep.findings import Finding, from_error
    from stablesweep.study_file import load_study

    try:
        loaded = load_study(study, settings)
    except StablesweepError as error:
        return None, [from_error("study", error, "mend the study file")]
    return loaded, [Finding(name="study", ok=True, found=f"{loaded.name}: {len(loaded.arms)} arms")]


def _examined(asked: "Asked", show: "Callable[[Sequence[Finding]], None] | None" = None) -> "list[Finding]":
    """All findings; shown as they come, if ``show`` is given."""
    from rich.console import Console

    from stablesweep.doctor.examination import checks, examine

    console, findings = Console(stderr=True), []
    for check in checks(asked):
        # A moving line on a terminal, nothing in a file or a pipe.
        with console.status(f"looking at {check.name}"):
            found = examine(check)
        findings += found
        if show is not None:
            show(found)
    return findings


def _show(findings: "Sequence[Finding]") -> None:
    from stablesweep.doctor.text import finding_lines

    for finding in findings:
        for line in finding_lines(finding):
            click.echo(line)


@contextlib.contextmanager
def _output_to_errors() -> Iterator[None]:
    """Inside the block all that this process and those that it starts print goes to the error stream."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
