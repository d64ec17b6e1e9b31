"""All trials of a study: by status, by text, in any order."""

from dash import html

from dashboards.app.address import Address
from dashboards.app.listing import list_trials
from dashboards.app.parts import Parts, filter_row, trial_table
from dashboards.app.study import StudyData

ROWS = 50


def render(study: StudyData, address: Address, narrow: bool) -> Parts:
    """The page; the list itself changes without it."""
    return [html.Section([html.Div(listed(study, address, narrow), id={"piece": "trials"})], className="plain")]


def listed(study: StudyData, address: Address, narrow: bool) -> Parts:
    """The filters, and one page of the list."""
    trials = study.record.trials
    arms = address.arms or None
    page = list_trials(trials, address, size=ROWS, order="key", arms=arms)
    text = f"{page.total} of {trials.num_rows} trials" + (f" of the arms {', '.join(address.arms)}" if arms else "")
    return [
        html.Div(filter_row(study, address), className="controls"),
        html.P(f"{text}." if page.total else f"No trial fits: {text}.", className="note", id="listed", role="status"),
        trial_table(study, address, page, "key"),
    ]
