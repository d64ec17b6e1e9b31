"""What a study found: tables, statistics and the report, read from MLflow."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stablesweep.home import Home

if TYPE_CHECKING:
    import pyarrow as pa

    from dashboards.compare import Comparison
    from dashboards.delta import DeltaEdf
    from dashboards.edf import Edf
    from dashboards.summary import StudySummary
    from dashboards.tracking import StudyRecord


@dataclass(frozen=True, repr=False)
class Results:
    """The results of one study as MLflow has them now.

    Args:
        record: What was read.
        home: Where its report goes.
    """

    record: "StudyRecord"
    home: Home

    def __repr__(self) -> str:
        statuses = Counter(self.trials["status"].to_pylist())
        counts = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
        return (
            f"<Results of {self.record.study}: {self.trials.num_rows} trials ({counts}); print() shows what they say>"
        )

    def __str__(self) -> str:
        from dashboards.summary import render_summary

        return render_summary(self.summary())

    @property
    def trials(self) -> "pa.Table":
        """One row a trial of the ledger, sorted by key; see :mod:`dashboards.tables`."""
        return self.record.trials

    @property
    def curves(self) -> "pa.Table":
        """One row a trial and epoch: key, epoch, train_loss (nats), error (percent)."""
        return self.record.curves

    def edf(self, arm: str) -> "Edf":
        """The distribution of an arm's final errors over all its draws. Raises ValueError for an unknown arm."""
        from dashboards.edf import arm_edf

        return arm_edf(self.trials, arm)

    def delta_edf(self, arm: str) -> "DeltaEdf":
        """The same distribution as points above the arm's reference run (its centre, trained as long as the draws).

        Where none ran, they are points above the lowest error of the sample; ``reference.source`` says which. Raises
        ValueError for an unknown arm.
        """
        from dashboards.delta import delta_edf

        return delta_edf(self.trials, arm)

    def centres(self) -> "pa.Table":
        """Per arm with a search, what it found: the best setting, its error, and how its trials ended."""
        from dashboards.centres import centres

        return centres(self.trials)

    def peak(self) -> "pa.Table":
        """Per arm and length of the phase ``peak``, the mean error over the seeds, lowest first."""
        from dashboards.peak import peak

        return peak(self.trials)

    def lengths(self) -> "pa.Table":
        """Per arm and length of the phases of one setting, the error over the seeds and the gap to the longest training."""
        from dashboards.lengths import lengths

        return lengths(self.trials)

    def compare(self, arm_a: str, arm_b: str) -> "Comparison":
        """Two arms on their common draws. Raises ValueError for an unknown arm."""
        from dashboards.compare import compare

        return compare(self.trials, arm_a, arm_b)

    def leaderboard(self) -> "pa.Table":
        """Arms by their best final error."""
        from dashboards.leaderboard import leaderboard

        return leaderboard(self.trials)

    def optimizer_gap(self) -> "pa.Table":
        """Per model, how far its optimizers lie apart."""
        from dashboards.optimizer_gap import optimizer_gap

        return optimizer_gap(self.trials)

    def convergence(self) -> "pa.Table":
        """Per arm and epoch, the median error and its 10 % and 90 % quantiles."""
        from dashboards.convergence import convergence

        return convergence(self.trials, self.curves)

    def summary(self) -> "StudySummary":
        """All of it in numbers and sentences."""
        from dashboards.summary import summarize

        return summarize(self.record)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the self-contained HTML report, log it to MLflow, and return where it is."""
        from stablesweep.reporting import make_report

        return make_report(self.home, self.record.study, None if path is None else Path(path)).path


def load(name: str, home: str | Path | None = None) -> Results:
    """The results of a study that has run, or is running.

    Args:
        name: The study's name.
        home: The home it ran in; ``$STABLESWEEP_HOME`` or ``./stablesweep-home`` by default. ``MLFLOW_TRACKING_URI``
            decides, where it is set, from which server the results are read.

    Raises:
        ValueError: If the tracking store cannot be read or has no such study.
    """
    from dashboards.tracking import read_study

    place = Home.at(home)
    return Results(record=read_study(place.tracking_uri, name), home=place)
