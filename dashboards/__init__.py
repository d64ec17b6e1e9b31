"""What a study's trials say: MLflow to Arrow, distributions of errors, comparisons, figures, report, web app.

Needs nothing but a tracking URI and a study's name; loads neither torch nor ray. Everything here is imported when it
is first used, so that importing the package costs nothing.

| package | what it does |
|---|---|
| ``tracking`` | reads a study from MLflow, in full or by what changed |
| ``imports`` | reads results of other tools |
| ``statistics`` | distributions, comparisons, gaps, leaderboards |
| ``space`` | best regions, divergence, importance, maps of the search space |
| ``figures`` | draws what was computed, in Plotly or as a picture |
| ``report`` | the HTML file |
| ``app`` | the web app |
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.figures import best_of_n_figure, convergence_figure, edf_figure, scatter_figure, stability_figure
    from dashboards.figures.colours import ArmStyle, arm_styles
    from dashboards.figures.export import CannotDraw, NoBrowser, write_figures
    from dashboards.filters import filtered
    from dashboards.report.page import render_report, write_report
    from dashboards.selection import arms_of
    from dashboards.statistics.compare import Comparison, Verdict, verdicts
    from dashboards.statistics.delta import DeltaEdf, Reference, delta_edf, reference_error
    from dashboards.statistics.edf import Edf, arm_edf, dkw_half_width, empirical_distribution
    from dashboards.statistics.edfs import Edfs, every_edf
    from dashboards.statistics.steepness import Steepness, steepness_table
    from dashboards.statistics.unpaired import UnpairedComparison, compare_unpaired
    from dashboards.studies import Studies
    from dashboards.summary import StudySummary, render_summary, summarize
    from dashboards.tables import (
        CURVES_SCHEMA,
        TrialRecord,
        build_trials,
        hyperparameters_of,
        result_columns,
        trials_schema,
        write_table,
    )
    from dashboards.tracking.connection import TrackingUnreachable, quiet_mlflow
    from dashboards.tracking.snapshot import Snapshot
    from dashboards.tracking.study import StudyNotFound, StudyRecord, StudyUnreadable, list_studies, read_study

_HOMES = {
    "ArmStyle": "figures.colours",
    "CURVES_SCHEMA": "tables",
    "Comparison": "statistics.compare",
    "DeltaEdf": "statistics.delta",
    "Edf": "statistics.edf",
    "Edfs": "statistics.edfs",
    "CannotDraw": "figures.export",
    "NoBrowser": "figures.export",
    "Reference": "statistics.delta",
    "Snapshot": "tracking.snapshot",
    "Steepness": "statistics.steepness",
    "Studies": "studies",
    "StudyNotFound": "tracking.study",
    "StudyRecord": "tracking.study",
    "StudySummary": "summary",
    "StudyUnreadable": "tracking.study",
    "TrackingUnreachable": "tracking.connection",
    "TrialRecord": "tables",
    "UnpairedComparison": "statistics.unpaired",
    "Verdict": "statistics.compare",
    "arm_edf": "statistics.edf",
    "arm_styles": "figures.colours",
    "arms_of": "selection",
    "best_of_n_figure": "figures",
    "build_trials": "tables",
    "compare_unpaired": "statistics.unpaired",
    "convergence_figure": "figures",
    "delta_edf": "statistics.delta",
    "dkw_half_width": "statistics.edf",
    "edf_figure": "figures",
    "empirical_distribution": "statistics.edf",
    "every_edf": "statistics.edfs",
    "filtered": "filters",
    "hyperparameters_of": "tables",
    "list_studies": "tracking.study",
    "quiet_mlflow": "tracking.connection",
    "read_study": "tracking.study",
    "reference_error": "statistics.delta",
    "render_report": "report.page",
    "render_summary": "summary",
    "result_columns": "tables",
    "scatter_figure": "figures",
    "stability_figure": "figures",
    "steepness_table": "statistics.steepness",
    "summarize": "summary",
    "trials_schema": "tables",
    "verdicts": "statistics.compare",
    "write_figures": "figures.export",
    "write_report": "report.page",
    "write_table": "tables",
}

__all__ = [
    "CURVES_SCHEMA",
    "ArmStyle",
    "CannotDraw",
    "Comparison",
    "DeltaEdf",
    "Edf",
    "Edfs",
    "NoBrowser",
    "Reference",
    "Snapshot",
    "Steepness",
    "Studies",
    "StudyNotFound",
    "StudyRecord",
    "StudySummary",
    "StudyUnreadable",
    "TrackingUnreachable",
    "TrialRecord",
    "UnpairedComparison",
    "Verdict",
    "arm_edf",
    "arm_styles",
    "arms_of",
    "best_of_n_figure",
    "build_trials",
    "compare_unpaired",
    "convergence_figure",
    "delta_edf",
    "dkw_half_width",
    "edf_figure",
    "empirical_distribution",
    "every_edf",
    "filtered",
    "hyperparameters_of",
    "list_studies",
    "quiet_mlflow",
    "read_study",
    "reference_error",
    "render_report",
    "render_summary",
    "result_columns",
    "scatter_figure",
    "stability_figure",
    "steepness_table",
    "summarize",
    "trials_schema",
    "verdicts",
    "write_figures",
    "write_report",
    "write_table",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
