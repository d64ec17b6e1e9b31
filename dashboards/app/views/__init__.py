"""The pages of a study, by the name of their view: what each shows, and its parts that change on their own."""

from collections.abc import Callable, Mapping

from dashboards.app.address import Address
from dashboards.app.parts import Parts
from dashboards.app.study import StudyData
from dashboards.app.views import (
    comparison,
    leaderboard,
    length,
    optimizers,
    progress,
    stability,
    trial,
    trials,
)

View = Callable[[StudyData, Address, bool], Parts]
"""The content of a page; the flag says that the screen is narrow."""

TITLES = {
    "progress": "Progress",
    "stability": "Stability",
    "comparison": "Comparison",
    "optimizers": "Optimizers",
    "length": "Length",
    "leaderboard": "Leaderboard",
    "trials": "Trials",
}
"""In the order of the tabs; the page of one trial has none."""

VIEWS: Mapping[str, View] = {
    "progress": progress.render,
    "stability": stability.render,
    "comparison": comparison.render,
    "optimizers": optimizers.render,
    "length": length.render,
    "leaderboard": leaderboard.render,
    "trials": trials.render,
    "trial": trial.render,
}

PIECES: Mapping[str, View] = {
    "brushed": stability.brushed,
    "edf": stability.distributions,
    "sample": stability.listed,
    "trials": trials.listed,
}
"""Parts of pages that depend on what :attr:`dashboards.app.address.Address.frame` leaves out."""
