"""What a study's trials say: MLflow to Arrow, distributions of errors, comparisons, figures, report.

Needs nothing but a tracking URI and a study's name; loads neither torch nor ray. Everything here is imported when it
is first used, so that importing the package costs nothing. Functions that are called as their module (``centres``,
``compare``, ``convergence``, ``leaderboard``, ``lengths``, ``optimizer_gap``, ``peak``) are not here: a package has one
attribute of a name, and importing the module would replace the function. Write ``from dashboards.compare import compare``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.colours import ArmStyle, arm_styles
    from dashboards.compare import Comparison, verdicts
    from dashboards.connection import TrackingUnreachable, quiet_mlflow
    from dashboards.delta import DeltaEdf, Reference, delta_edf, reference_error
    from dashboards.edf import Edf, arm_edf, dkw_half_width, empirical_distribution
    from dashboards.figures import convergence_figure, edf_figure, scatter_figure
    from dashboards.report import render_report, write_report
    from dashboards.selection import arms_of
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
    from dashboards.tracking import StudyNotFound, StudyRecord, StudyUnreadable, list_studies, read_study

_HOMES = {
    "ArmStyle": "colours",
    "CURVES_SCHEMA": "tables",
    "Comparison": "compare",
    "DeltaEdf": "delta",
    "Edf": "edf",
    "Reference": "delta",
    "StudyNotFound": "tracking",
    "StudyRecord": "tracking",
    "StudySummary": "summary",
    "StudyUnreadable": "tracking",
    "TrackingUnreachable": "connection",
    "TrialRecord": "tables",
    "arm_edf": "edf",
    "arm_styles": "colours",
    "arms_of": "selection",
    "build_trials": "tables",
    "convergence_figure": "figures",
    "delta_edf": "delta",
    "dkw_half_width": "edf",
    "edf_figure": "figures",
    "empirical_distribution": "edf",
    "hyperparameters_of": "tables",
    "list_studies": "tracking",
    "quiet_mlflow": "connection",
    "read_study": "tracking",
    "reference_error": "delta",
    "render_report": "report",
    "render_summary": "summary",
    "result_columns": "tables",
    "scatter_figure": "figures",
    "summarize": "summary",
    "trials_schema": "tables",
    "verdicts": "compare",
    "write_report": "report",
    "write_table": "tables",
}

__all__ = [
    "CURVES_SCHEMA",
    "ArmStyle",
    "Comparison",
    "DeltaEdf",
    "Edf",
    "Reference",
    "StudyNotFound",
    "StudyRecord",
    "StudySummary",
    "StudyUnreadable",
    "TrackingUnreachable",
    "TrialRecord",
    "arm_edf",
    "arm_styles",
    "arms_of",
    "build_trials",
    "convergence_figure",
    "delta_edf",
    "dkw_half_width",
    "edf_figure",
    "empirical_distribution",
    "hyperparameters_of",
    "list_studies",
    "quiet_mlflow",
    "read_study",
    "reference_error",
    "render_report",
    "render_summary",
    "result_columns",
    "scatter_figure",
    "summarize",
    "trials_schema",
    "verdicts",
    "write_report",
    "write_table",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
