"""Plotly figures. Drawing only: every number comes in computed, and plotly is imported when something is drawn."""

from dashboards.figures.best_of_n import best_of_n_figure
from dashboards.figures.convergence import convergence_figure
from dashboards.figures.divergence import divergence_figure
from dashboards.figures.edfs import edf_figure
from dashboards.figures.importance import importance_figure
from dashboards.figures.length import length_figure
from dashboards.figures.maps import map_figure
from dashboards.figures.optimizers import optimizer_figure
from dashboards.figures.peak import peak_figure
from dashboards.figures.scatter import scatter_figure
from dashboards.figures.stability import stability_figure

__all__ = [
    "best_of_n_figure",
    "convergence_figure",
    "divergence_figure",
    "edf_figure",
    "importance_figure",
    "length_figure",
    "map_figure",
    "optimizer_figure",
    "peak_figure",
    "scatter_figure",
    "stability_figure",
]
