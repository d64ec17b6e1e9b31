"""One trial: how it went, with which setting, and where MLflow has it."""

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc
from dash import html

from dashboards.app.address import Address
from dashboards.app.mlflow_page import run_page
from dashboards.app.parts import Parts, dot, figure, link, message
from dashboards.app.plots import curve_figure
from dashboards.app.study import StudyData
from dashboards.formats import duration, percent, setting, without_password
from dashboards.tables import hyperparameters_of


def render(study: StudyData, address: Address, narrow: bool) -> Parts:
    """Facts, curves and hyperparameters of the trial that the address names."""
    row = study.trial(address.trial)
    if row is None:
        return [
            message(
                "No such trial",
                html.P(["There is no trial ", html.Code(address.trial or "without a name"), " in this study."]),
            )
        ]
    curves = study.record.curves
    curve = curves.filter(pc.equal(curves["key"], row["key"])).to_pylist()
    back = address.but(view="stability" if row["phase"] in study.phases else "trials", trial="")
    names = [name for name in hyperparameters_of(study.record.trials) if row[name] is not None]
    parts: Parts = [
        html.Section(
            [
                html.P(link("← back", back), className="back"),
                html.H2([dot(study.styles.get(row["arm"])), row["key"]], className="key-title"),
                html.P(_outcome(row), className="verdict", id="outcome"),
                html.Div(
                    [
                        _list("Hyperparameters", [(name.replace("_", " "), _exact(row[name])) for name in names]),
                        _list("Circumstances", _facts(study, row)),
                    ],
                    className="columns",
                ),
            ],
            className="plain",
        )
    ]
    if curve:
        epochs = [point["epoch"] for point in curve]
        colour = study.styles[row["arm"]].colour
        caption = f"{_epochs(len(curve), row['epochs'])} epochs."
        for name, title in (("error", "validation top-1 error, %"), ("train_loss", "training loss, nats")):
            drawing = curve_figure(epochs, [point[name] for point in curve], title, colour)
            parts.append(
                html.Section(
                    [
                        html.H2("Error" if name == "error" else "Training loss"),
                        figure(f"curve-{name}", drawing, title, caption),
                    ]
                )
            )
    else:
        parts.append(message("No curve", html.P("No epoch of this trial was recorded.")))
    return parts


def _outcome(row: Mapping[str, Any]) -> str:
    if row["status"] == "completed":
        epochs = row["epochs_done"] or row["epochs"]
        return f"Completed with an error of {percent(row['error'])} %" + (f" after {epochs} epochs." if epochs else ".")
    reason = f": {row['reason']}" if row["reason"] else ""
    return f"{row['status'].capitalize()}{reason}."


def _facts(study: StudyData, row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("Arm", row["arm"]),
        ("Phase", row["phase"]),
    ]
    for title, name in (("Draw", "draw"), ("Sampler", "sampler"), ("Seed", "seed")):
        if row[name] is not None:
            facts.append((title, str(row[name])))
    if row["best_error"] is not None:
        facts.append(("Lowest error of any epoch", f"{percent(row['best_error'])} %"))
    if row["epochs_done"] is not None or row["epochs"] is not None:
        facts.append(("Epochs done", _epochs(row["epochs_done"], row["epochs"])))
    if row["started"] is not None:
        facts.append(("Started", f"{row['started']:%Y-%m-%d %H:%M:%S} UTC"))
    if row["seconds"] is not None:
        facts.append(("Its own training and evaluation time", duration(row["seconds"])))
    if row["pack"]:
        facts.append(("Pack", row["pack"]))
    if study.record.source and not row["run_id"]:
        return [*facts, ("Imported from", study.record.source)]
    return [*facts, ("MLflow", _mlflow(study, row["run_id"]))]


def _epochs(done: int | None, asked: int | None) -> str:
    return setting(done) if asked is None else f"{setting(done)} of {asked}"


def _mlflow(study: StudyData, run_id: str | None) -> Any:
    record = study.record
    if not run_id:
        return "It has no run there yet."
    address = run_page(record.tracking_uri, record.experiment_id, run_id)
    if address is not None:
        return html.A("its page", href=address, target="_blank", rel="noopener noreferrer", id="mlflow")
    hint = f"mlflow ui --backend-store-uri {without_password(record.tracking_uri)}"
    return html.Span(["run ", html.Code(run_id), "; to open it, start ", html.Code(hint)], id="mlflow")


def _exact(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _list(title: str, rows: list[tuple[str, Any]]) -> html.Div:
    items: Parts = []
    for name, value in rows:
        items += [html.Dt(name), html.Dd(value)]
    return html.Div([html.H3(title), html.Dl(items)])
