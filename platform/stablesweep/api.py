"""``stablesweep.run``: a study from Python."""

from pathlib import Path

from stablesweep.errors import TrackingError, still_unpublished
from stablesweep.home import Home
from stablesweep.results import Results, load
from stablesweep.study import Study
from stablesweep.study_file import load_study


def run(
    study: Study | str | Path,
    home: str | Path | None = None,
    *,
    retry_lost: bool = False,
    storage: str | None = None,
    wait_for_nodes: bool = False,
) -> Results:
    """Run a study, or continue it, and return its results.

    Args:
        study: A :class:`Study`, a study file, or the name of a built-in study.
        home: Where everything is kept; ``$STABLESWEEP_HOME`` or ``./stablesweep-home`` by default.
        retry_lost: Train trials again that were lost with a machine or a process.
        storage: A folder for checkpoints that all nodes see, a path or a URI; ``$STABLESWEEP_STORAGE`` or the home by default.
        wait_for_nodes: Wait for nodes to join the cluster where no pack fits.

    Ctrl-C stops it cleanly: the results are then those of the trials that are finished, and running again continues.

    Raises:
        StablesweepError: If the study cannot be run, or its results could not be published: one sentence that says
            which, and what to do.
    """
    from rich.console import Console

    from stablesweep.reporting import make_report
    from stablesweep.run import run_study

    place = Home.at(home)
    chosen = study if isinstance(study, Study) else load_study(study)
    outcome = run_study(chosen, place, Console(), retry_lost=retry_lost, storage=storage, wait_for_nodes=wait_for_nodes)
    if outcome.unpublished is not None:
        raise TrackingError(still_unpublished(place, chosen.name, outcome.unpublished))
    make_report(place, chosen.name)
    return load(chosen.name, place.path)
