"""What several pages are made of: links that keep the rest of the state, legends, tables, figures with captions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dash import dcc, html

from dashboards.app.address import Address
from dashboards.app.listing import Page
from dashboards.app.plots import CONFIG, PLAIN_CONFIG, fitted
from dashboards.app.study import Drawn, StudyData
from dashboards.figures.colours import ArmStyle
from dashboards.formats import counts, percent, setting
from dashboards.report.tables import Table
from dashboards.tables import hyperparameters_of
from dashboards.tags import STATUSES

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Parts = list[Any]
Attributes = dict[str, Any]
"""Of an element: what Python cannot name."""

MARKS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "pentagon": "⬟"}
MANY_ARMS = 12
"""Arms that are shown as switches at once; more of them unfold."""


def link(text: Any, address: Address, *, stay: bool = False, **properties: Any) -> html.A:
    """A link to another state of the app.

    Args:
        text: What it says.
        address: Where it leads.
        stay: Whether the page keeps its place instead of going to its top.
        properties: Of the element.
    """
    # app.js follows these without loading the page again; opened in a new tab they are ordinary links.
    go = Attributes({"data-go": "stay" if stay else "top", "data-base": address.base})
    return html.A(text, href=address.query, **(go | properties))


def switches(label: str, options: Iterable[tuple[Any, Address, bool]]) -> html.Div:
    """A row of links of which some are on: text, where it leads, whether it is on."""
    items = [
        link(
            text,
            address,
            stay=True,
            className="switch on" if on else "switch",
            **Attributes({"aria-current": _flag(on)}),
        )
        for text, address, on in options
    ]
    return html.Div([html.Span(label, className="label"), *items], className="switches", role="group")


def arm_switches(study: StudyData, address: Address) -> html.Div | html.Details:
    """The legend of all figures of the page: a click shows an arm or hides it."""
    arms = study.arms(study.phase(address))
    shown = study.shown(address)
    options: list[tuple[Any, Address, bool]] = []
    for arm in arms:
        rest = tuple(name for name in arms if (name in shown) != (name == arm))
        options.append(
            ([swatch(study.styles[arm]), arm], address.but(arms=() if len(rest) == len(arms) else rest), arm in shown)
        )
    options = [("all", address.but(arms=()), len(shown) == len(arms)), *options] if len(arms) > 2 else options
    row = switches("Arms", options)
    if len(arms) <= MANY_ARMS:
        return row
    return html.Details([html.Summary(f"{len(shown)} of {len(arms)} arms shown"), row], open=len(shown) < len(arms))


def phase_switches(study: StudyData, address: Address) -> Parts:
    """One link per phase that has a distribution; nothing where there is one alone."""
    if len(study.phases) < 2:
        return []
    here = study.phase(address)
    options = [(phase, address.but(phase=phase, brush=None, page=1), phase == here) for phase in study.phases]
    return [switches("Phase", options)]


def swatch(style: ArmStyle) -> html.Span:
    """An arm's colour, marker and dash."""
    return html.Span(
        [html.Span(className=f"line {style.dash}"), html.Span(MARKS.get(style.symbol, "●"), className="mark")],
        className="swatch",
        style={"--colour": style.colour},
        **Attributes({"aria-hidden": "true"}),
    )


def dot(style: ArmStyle | None) -> html.Span:
    """An arm's colour in a table or a list; an open dot stands for none."""
    if style is None:
        return html.Span(className="dot open")
    return html.Span(className="dot", style={"background": style.colour})


def figure(
    name: str, drawing: "Figure | dict[str, Any]", label: str, caption: Any, *, brush: bool = False
) -> html.Figure:
    """A figure with its caption.

    Args:
        name: Its id in the page.
        drawing: The figure.
        label: What it is, for those who do not see it.
        caption: Says n, and what diverged or is missing.
        brush: Whether a box can be drawn in it.
    """
    config: Any = CONFIG if brush else PLAIN_CONFIG
    content = drawing if isinstance(drawing, dict) else drawing.to_dict()
    layout = content["layout"]
    height = {"height": f"{layout['height']}px"} if layout.get("height") else {}
    several = sum(part.startswith("xaxis") for part in layout) > 1 and not brush
    graph = dcc.Graph(id=name, figure=content, config=config, style=height, responsive=True)
    return html.Figure(
        [
            html.Div(
                graph,
                role="img",
                className="figure several" if several else "figure",
                **Attributes({"aria-label": label}),
            ),
            html.Figcaption(caption),
        ]
    )


def report_figures(study: StudyData, phase: str, names: Sequence[str], narrow: bool) -> Parts:
    """Figures of the report with their words, a section each; those that the study has no data for are left out."""
    shown = study.figures_so_far(phase)
    if shown is None:
        return [waiting(study, phase)]
    return [_report_figure(name, shown[name], study, narrow) for name in names if name in shown]


def _report_figure(name: str, shown: Drawn, study: StudyData, narrow: bool) -> html.Section:
    caption = [html.P([html.Strong(f"{about}. ") if about else "", text]) for about, text in shown.text.caption]
    drawing = fitted(shown.figure, f"{study.record.study} {name}", narrow=narrow)
    reading = [html.P(shown.text.reading, className="note")] if shown.text.reading else []
    return html.Section([html.H2(shown.text.heading), figure(name, drawing, shown.text.label, caption), *reading])


def table(content: Table, styles: Mapping[str, ArmStyle] | None = None, name: str | None = None) -> html.Div:
    """A table of the report; with ``styles``, its first column holds arms."""
    head = html.Tr(
        [html.Th(text, scope="col", className=_number(place, content)) for place, text in enumerate(content.header)]
    )
    body = []
    for row in content.rows:
        cells: Parts = [html.Td(text, className=_number(place, content)) for place, text in enumerate(row)]
        if styles is not None and row[0] in styles:
            cells[0] = html.Td([dot(styles[row[0]]), row[0]])
        body.append(html.Tr(cells))
    parts: Parts = [
        _scroll(html.Table([html.Thead(head), html.Tbody(body)], **Attributes({"id": name} if name else {})))
    ]
    return html.Div([*parts, *([html.P(content.note, className="note")] if content.note else [])])


def trial_table(
    study: StudyData, address: Address, page: Page, order: str, *, name: str = "trials", sortable: bool = True
) -> html.Div:
    """A list of trials: its headers order it (where ``sortable``), its first column leads to the trial."""
    names = hyperparameters_of(study.record.trials)
    columns = ["key", "status", "error", "best_error", "epochs_done", *names]
    sort = address.sort or order
    head = html.Tr([_header(address, column, sort, sortable=sortable) for column in columns])
    body = [
        html.Tr(_trial_cells(study, address, row, columns)) for row in page.rows.select(["arm", *columns]).to_pylist()
    ]
    content: Parts = [_scroll(html.Table([html.Thead(head), html.Tbody(body)], id=name, className="trials"))]
    if page.num_pages > 1:
        content.append(_pager(address, page))
    return html.Div(content)


def filter_row(study: StudyData, address: Address) -> Parts:
    """Links by status and a field for text, which narrow a list of trials."""
    numbers = study.counts
    options = [(f"all {sum(numbers.values())}", address.but(status="", page=1), not address.status)]
    options += [
        (f"{status} {numbers[status]}", address.but(status=status, page=1), address.status == status)
        for status in STATUSES
        if numbers.get(status)
    ]
    find = dcc.Input(
        id="find",
        value=address.find,
        type="search",
        debounce=True,
        placeholder="key or reason holds …",
        className="find",
    )
    hidden = html.Span("Show only trials whose key or reason holds this text", className="unseen")
    return [switches("Status", options), html.Label([hidden, find], className="finder")]


def sentences(study: StudyData, comparisons: Sequence[Any]) -> html.Ul:
    """Verdicts, each with the colour of the arm that wins; only the first ones where there are very many."""
    return html.Ul(
        [html.Li([dot(study.styles[one.winner] if one.winner else None), f"{one.sentence}."]) for one in comparisons],
        className="verdicts",
    )


def counts_caption(study: StudyData, phase: str, shown: Sequence[str]) -> str:
    """n, diverged and missing of the shown arms, and what is in no distribution."""
    edfs = [edf for arm, edf in study.edfs(phase).items() if arm in shown]
    if not edfs:
        return ""
    sizes = sorted({edf.n for edf in edfs})
    n = f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"
    total = sum(edf.n for edf in edfs)
    diverged, missing = sum(edf.n_diverged for edf in edfs), sum(edf.n_missing for edf in edfs)
    text = f"{n} draws per arm, {total} in all: {diverged} diverged ({100 * diverged / total:.1f} %), {missing} missing"
    others = study.others(phase)
    return f"{text}; in no distribution: {counts(others)}." if others else f"{text}."


def waiting(study: StudyData, phase: str) -> html.Section:
    """What is shown until the summary is there."""
    error = study.error(phase)
    if error:
        return message("The numbers cannot be computed", html.P(error, className="trouble", role="status"))
    return html.Section(html.P("The numbers are being computed …", className="lead", role="status"), className="plain")


def message(title: str, *content: Any) -> html.Section:
    """A page, or a part of it, that has nothing to show but words."""
    return html.Section([html.H2(title), *content], className="message")


_TEXT_COLUMNS = ("key", "status")
_TITLES = {"key": "trial", "best_error": "lowest error", "epochs_done": "epochs"}


def _header(address: Address, column: str, sort: str, *, sortable: bool) -> html.Th:
    look = "" if column in _TEXT_COLUMNS else "number"
    if not sortable:
        return html.Th(_TITLES.get(column, column.replace("_", " ")), scope="col", className=look)
    current = sort.removeprefix("-") == column
    down = sort == column
    arrow = (" ↑" if down else " ↓") if current else ""
    text = f"{_TITLES.get(column, column.replace('_', ' '))}{arrow}"
    target = address.but(sort=f"-{column}" if down else column, page=1)
    order = Attributes({"aria-sort": ("ascending" if down else "descending")} if current else {})
    return html.Th(link(text, target, stay=True), scope="col", className=look, **order)


def _trial_cells(study: StudyData, address: Address, row: Mapping[str, Any], columns: Sequence[str]) -> Parts:
    leads = link(row["key"], address.but(view="trial", trial=row["key"]))
    cells: Parts = [html.Td([dot(study.styles.get(row["arm"])), leads])]
    for column in columns[1:]:
        text = percent(row[column]) if column in ("error", "best_error") else setting(row[column])
        cells.append(html.Td(text, className="number" if column not in _TEXT_COLUMNS else f"status {row[column]}"))
    return cells


def _pager(address: Address, page: Page) -> html.Nav:
    def step(text: str, number: int) -> Any:
        if number == page.number or not 1 <= number <= page.num_pages:
            return html.Span(text, className="off")
        return link(text, address.but(page=number), stay=True)

    here = f"page {page.number} of {page.num_pages}"
    steps = [step("first", 1), step("← back", page.number - 1), html.Span(here), step("next →", page.number + 1)]
    return html.Nav(
        [*steps, step("last", page.num_pages)], className="pager", **Attributes({"aria-label": "Pages of the list"})
    )


def _scroll(content: Any) -> html.Div:
    return html.Div(content, className="scroll", tabIndex="0")


def _number(place: int, content: Table) -> str:
    return "number" if place >= content.text_columns else ""


def _flag(on: bool) -> str:
    return "true" if on else "false"
