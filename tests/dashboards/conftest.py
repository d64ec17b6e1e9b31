"""Ledgers, trials and studies that the tests of this folder share."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from dashboards.tables import CURVES_SCHEMA, NO_UNITS, TrialRecord, build_trials, unit_positions
from dashboards.tracking.snapshot import Snapshot
from dashboards.tracking.study import StudyRecord
from tests.browser import chromium_program, patient_page, running_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.dashboards.app_in_browser import Serving
    from tests.dashboards.rounds import Rounds

MakeLedger = Callable[..., pa.Table]
MakeRecord = Callable[..., StudyRecord]
MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]

CENTRE = {"lr": 0.5, "weight_decay": 0.25}
_NUMBERS = {name: pa.int64() for name in ("draw", "seed", "epochs", "batch")}
_NUMBERS |= {name: pa.float64() for name in ("lr", "weight_decay")}


def _ledger(
    arms: Sequence[str], draws: int, *, study: str = "demo", phase: str = "stability", sampler: str = "random"
) -> pa.Table:
    """A ledger of arms ``model/optimizer`` with the columns that the platform writes, unsorted on purpose."""
    generator = np.random.default_rng(7)
    units = generator.random((draws, 2))
    rows = []
    for arm in reversed(arms):
        model, _, optimizer = arm.rpartition("/")
        centre = 2e-3 if optimizer == "adamw" else 0.8
        for draw in range(draws):
            rows.append(
                {
                    "key": f"{phase}/{arm}/{draw:06d}/0",
                    "study": study,
                    "phase": phase,
                    "arm": arm,
                    "model": model,
                    "optimizer": optimizer,
                    "draw": draw,
                    "seed": 1_000 + draw,
                    "sampler": sampler,
                    "epochs": 10,
                    "lr": centre / 8 * 32 ** units[draw, 0],
                    "weight_decay": (0.2 if optimizer == "adamw" else 3e-5) / 8 * 32 ** units[draw, 1],
                    "unit_lr": units[draw, 0],
                    "unit_weight_decay": units[draw, 1],
                }
            )
    table = pa.Table.from_pylist(rows)
    return table.replace_schema_metadata({"stablesweep.hyperparameters": json.dumps(["lr", "weight_decay"])})


def _rows(
    phase: str,
    arm: str,
    outcomes: Sequence[float | str],
    *,
    sampler: str = "fixed",
    epochs: int = 10,
    setting: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Ledger rows beside ``outcome``: an error in percent, or a status. ``fixed`` rows differ in their seed alone.

    An empty ``setting`` is one that is not known yet.
    """
    model, _, optimizer = arm.rpartition("/")
    rows = []
    for place, outcome in enumerate(outcomes):
        draw, replicate = (epochs, place) if sampler == "fixed" else (place, 0)
        drawn = CENTRE if sampler == "fixed" else {"lr": 0.5 * (place + 1), "weight_decay": 0.25}
        rows.append(
            {
                "key": f"{phase}/{arm}/{draw:06d}/{replicate}",
                "study": "demo",
                "phase": phase,
                "arm": arm,
                "model": model,
                "optimizer": optimizer,
                "draw": draw,
                "seed": 1_000 + place,
                "sampler": sampler,
                "epochs": epochs,
                "batch": place // 2 if phase == "search" else None,
                "outcome": outcome,
                **(drawn if setting is None else setting),
            }
        )
    return rows


def _trials(*groups: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The trials table of rows from ``_rows``, made as a study's is: a ledger beside its records."""
    rows = [row for group in groups for row in group]
    names = [name for name in rows[0] if name not in ("outcome", *CENTRE)] + list(CENTRE)
    schema = pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in names])
    ledger = pa.Table.from_pylist(rows, schema=schema)
    ledger = ledger.replace_schema_metadata({"stablesweep.hyperparameters": json.dumps(list(CENTRE))})
    return build_trials(ledger, {row["key"]: _outcome_record(row["outcome"]) for row in rows})


def _outcome_record(outcome: float | str) -> TrialRecord:
    if isinstance(outcome, str):
        return TrialRecord(status=outcome)
    return TrialRecord(status="completed", error=outcome, best_error=outcome)


def _phases_record(*groups: Sequence[Mapping[str, Any]], study: str = "demo") -> StudyRecord:
    return StudyRecord(
        study=study,
        trials=_trials(*groups),
        curves=CURVES_SCHEMA.empty_table(),
        timing={},
        study_yaml="",
        experiment_id="1",
        study_run_id="0123456789abcdef",
        tracking_uri="sqlite:///home/mlflow.db",
    )


def _drawn(
    errors: Sequence[float],
    values: Mapping[str, Any],
    units: Mapping[str, Any] | None = None,
    *,
    arms: Sequence[str] | None = None,
    sampler: str = "random",
) -> StudyRecord:
    """A study of draws by hand, without curves: an error of ``inf`` is a diverged trial, of ``nan`` a failed one.

    ``values`` and ``units`` have one entry a trial, ``None`` where there is none.
    """
    arms = arms or ["m/sgd"] * len(errors)
    keys = [f"stability/{arm}/{draw:06d}/0" for draw, arm in enumerate(arms)]
    columns: dict[str, Any] = {"key": pa.array(keys, pa.string()), "study": ["demo"] * len(keys)}
    columns |= {"phase": ["stability"] * len(keys), "arm": list(arms)}
    columns |= {
        "model": [arm.rpartition("/")[0] for arm in arms],
        "optimizer": [arm.rpartition("/")[2] for arm in arms],
    }
    columns |= {"draw": list(range(len(keys))), "seed": list(range(len(keys))), "sampler": [sampler] * len(keys)}
    columns |= {"epochs": [10] * len(keys), **values}
    ledger = pa.table({name: pa.array(column) for name, column in columns.items()})
    ledger = ledger.replace_schema_metadata({"stablesweep.hyperparameters": json.dumps(list(values))})
    records = {}
    for key, error in zip(keys, errors, strict=True):
        status = "failed" if np.isnan(error) else "diverged" if np.isinf(error) else "completed"
        records[key] = TrialRecord(status=status, error=float(error) if status == "completed" else None)
    return StudyRecord(
        study="demo",
        trials=build_trials(ledger, records),
        curves=CURVES_SCHEMA.empty_table(),
        timing={},
        study_yaml="",
        experiment_id="1",
        study_run_id="0123456789abcdef",
        tracking_uri="sqlite:///home/mlflow.db",
        units=NO_UNITS if units is None else pa.table({"key": keys, **units}),
    )


def _simulated(ledger: pa.Table) -> tuple[dict[str, TrialRecord], pa.Table]:
    """Believable outcomes: the conv stem is steadier, patchify with SGD diverges at high lr, a few draws are missing."""
    generator = np.random.default_rng(11)
    records, curves = {}, []
    for number, row in enumerate(ledger.sort_by("key").to_pylist()):
        hard = {"adamw": 0.45, "sgd": 1.0}.get(row["optimizer"], 0.7) * (1.0 if "_p_" in row["model"] else 0.3)
        floor = 4.0 if "_c_" in row["model"] else 11.0
        distance = abs(row["unit_lr"] - 0.6)
        error = floor + 70 * hard * distance + abs(generator.normal(0, 2.5))
        common: dict[str, Any] = {
            "run_id": f"run{number:04d}",
            "pack": f"{row['arm']}-0",
            "started": datetime(2026, 11, 20, 9, tzinfo=UTC) + timedelta(seconds=number),
            "seconds": 1.5 + 0.01 * number,
        }
        diverged = hard > 0.9 and row["unit_lr"] > 0.75
        if number % 31 == 30:
            records[row["key"]] = TrialRecord(status="failed", reason="ValueError: <b>bad</b> image", **common)
            continue
        epochs = 4 if diverged else row["epochs"]
        errors = [error + (90 - error) * float(np.exp(-0.5 * epoch)) for epoch in range(1, epochs + 1)]
        curves += [
            {"key": row["key"], "epoch": epoch, "train_loss": value / 40, "error": value}
            for epoch, value in enumerate(errors, start=1)
        ]
        records[row["key"]] = TrialRecord(
            status="diverged" if diverged else "completed",
            error=None if diverged else errors[-1],
            best_error=min(errors),
            epochs_done=epochs,
            reason="loss is not finite at epoch 5" if diverged else None,
            **common,
        )
    return records, pa.Table.from_pylist(curves, schema=CURVES_SCHEMA)


def _record(
    arms: Sequence[str] = ("vit_c_micro/adamw", "vit_c_micro/sgd", "vit_p_micro/adamw", "vit_p_micro/sgd"),
    draws: int = 24,
    *,
    study: str = "quickstart",
    study_yaml: str = "name: quickstart\nseed: 0\nepochs: 10\n",
    records: Mapping[str, TrialRecord] | None = None,
    **ledger_options: str,
) -> StudyRecord:
    ledger = _ledger(arms, draws, study=study, **ledger_options)
    simulated, curves = _simulated(ledger)
    return StudyRecord(
        study=study,
        trials=build_trials(ledger, simulated if records is None else records),
        curves=curves,
        timing={
            "training": 96.2,
            "evaluation": 14.8,
            "Ray start and stop": 61.0,
            "recording": 7.4,
            "report": 2.1,
        },
        study_yaml=study_yaml,
        experiment_id="1",
        study_run_id="0123456789abcdef",
        tracking_uri="sqlite:///home/mlflow.db",
        versions={"stablesweep": "0.1.0", "torch": "2.13.0"},
        units=unit_positions(ledger),
    )


@pytest.fixture
def make_ledger() -> MakeLedger:
    """Makes a ledger: ``make_ledger(["m/adamw"], draws, phase=..., sampler=...)``."""
    return _ledger


@pytest.fixture
def make_record() -> MakeRecord:
    """Makes a finished study of four arms with 24 draws, some diverged and some failed."""
    return _record


@pytest.fixture
def make_rows() -> MakeRows:
    """Makes rows by hand: ``make_rows("reference", "m/sgd", [12.0, "lost"], sampler=..., epochs=..., setting=...)``."""
    return _rows


@pytest.fixture
def make_trials() -> MakeTrials:
    """Makes the trials table of such rows: ``make_trials(rows, more_rows)``."""
    return _trials


@pytest.fixture
def make_phases() -> MakeRecord:
    """Makes a study of such rows, without curves: ``make_phases(rows, more_rows, study=...)``."""
    return _phases_record


@pytest.fixture
def make_drawn() -> MakeRecord:
    """Makes a study of draws by hand: ``make_drawn(errors, {"lr": values}, {"lr": units}, arms=..., sampler=...)``."""
    return _drawn


@pytest.fixture
def tracking_uri(empty_mlflow: Path, tmp_path: Path) -> str:
    """A new SQLite MLflow store."""
    return f"sqlite:///{shutil.copy(empty_mlflow, tmp_path / 'mlflow.db')}"


@pytest.fixture
def rounds(tracking_uri: str, tmp_path: Path) -> "Iterator[Rounds]":
    """Writes a study ``demo`` of six draws."""
    from dashboards import quiet_mlflow
    from tests.dashboards.rounds import Rounds

    with quiet_mlflow():
        yield Rounds(tracking_uri, tmp_path / "writer", "demo", draws=6)


@pytest.fixture
def snapshot(tracking_uri: str, tmp_path: Path) -> Snapshot:
    """The local copy of that study."""
    return Snapshot(tracking_uri, "demo", tmp_path / "copies")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program."""
    return chromium_program()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A running browser."""
    with running_chromium() as running:
        yield running


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page of its own; at the end it must have complained of nothing and asked nobody but this machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened = patient_page(context)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url) if not _is_local(request.url) else None)
    yield opened
    context.close()
    assert complaints == []


def _is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:"))


@pytest.fixture(scope="module")
def start() -> "Iterator[Callable[..., Serving]]":
    """Serves the web app until the module ends: ``start(tracking_uri, source=..., snapshots=...)``."""
    from tests.dashboards.app_in_browser import Serving

    started: list[Serving] = []

    def begin(tracking_uri: str, **options: Any) -> Serving:
        started.append(Serving(tracking_uri, **options))
        return started[-1]

    yield begin
    for one in started:
        one.stop()
