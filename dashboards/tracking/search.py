"""Finding runs and studies in MLflow."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dashboards import tags
from dashboards.errors import StudyNotFound
from dashboards.formats import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1_000
"""Runs asked for at a time; SQLite gives a thousand in 0.9 s."""


def search_runs(
    client: "MlflowClient", experiment_ids: list[str], role: str, *, more: str = "", deleted: bool = False
) -> "Iterator[Run]":
    """All runs of these experiments with this role, oldest first (so that runs added meanwhile shift no page).

    Args:
        client: Of the tracking server.
        experiment_ids: At least one.
        role: ``study``, ``arm`` or ``trial``.
        more: A further condition in MLflow's filter language, which starts with ``and``.
        deleted: The deleted runs instead of the active ones.
    """
    from mlflow.entities import ViewType

    token: str | None = None
    while True:
        page = client.search_runs(
            experiment_ids,
            filter_string=f"tags.`{tags.ROLE}` = '{role}' {more}".strip(),
            run_view_type=ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY,
            max_results=PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def find_study(client: "MlflowClient", tracking_uri: str, study: str) -> "tuple[str, Run]":
    """The experiment's id and the study run; the newest one if there are several.

    Raises:
        StudyNotFound: If there is no such study; names those that are.
    """
    experiment = client.get_experiment_by_name(study)
    if experiment is not None and experiment.lifecycle_stage == "active":
        runs = list(search_runs(client, [experiment.experiment_id], "study"))
        if runs:
            return experiment.experiment_id, runs[-1]
    names = study_names(client)
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    raise StudyNotFound(
        f"No study {study!r} in MLflow at {without_password(tracking_uri)}; studies there: {shown or 'none'}."
    )


def study_names(client: "MlflowClient") -> list[str]:
    """Names of the active experiments that have a study run, sorted."""
    names: dict[str, str] = {}
    token: str | None = None
    while True:
        page = client.search_experiments(max_results=PAGE, page_token=token)
        names |= {experiment.experiment_id: experiment.name for experiment in page}
        token = page.token
        if not token:
            break
    if not names:
        return []
    return sorted({names[run.info.experiment_id] for run in search_runs(client, list(names), "study")})
