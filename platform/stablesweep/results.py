"""What a study found: tables, statistics and the report, read from MLflow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from stablesweep.home import Home

if TYPE_CHECKING:
    import pyarrow as pa

    from dashboards.statistics.compare import Comparison
    from dashboards.statistics.delta import DeltaEdf
    from dashboards.statistics.edf import Edf
    from dashboards.statistics.edfs import Edfs
    from dashboards.summary import StudySummary
    from dashboards.tracking.study import StudyRecord


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

    @overload
    def edf(self, arm: str) -> "Edf": ...
    @overload
    def edf(self, arm: None = None) -> "Edfs": ...
    def edf(self, arm: str | None = None) -> "Edf | Edfs":
        """The distribution of an arm's final errors over all its draws; without an arm, those of all arms.

        Both have ``plot()``, which returns a Plotly figure. Raises ValueError for an unknown arm.
        """
        from dashboards.statistics.edf import arm_edf
        from dashboards.statistics.edfs import every_edf

        return every_edf(self.trials) if arm is None else arm_edf(self.trials, arm)

    def delta_edf(self, arm: str) -> "DeltaEdf":
        """The same distribution as points above the arm's reference run (its centre, trained as long as the draws).

        Where none ran, they are points above the lowest error of the sample; ``reference.source`` says which. Raises
        ValueError for an unknown arm.
        """
        from dashboards.statistics.delta import delta_edf

        return delta_edf(self.trials, arm)

    def centres(self) -> "pa.Table":
        """Per arm with a search, what it found: the best setting, its error, and how its trials ended."""
        from dashboards.statistics.centres import centres

        return centres(self.trials)

    def peak(self, *, published: bool = False) -> "pa.Table":
        """Per arm and length of the phase ``peak``, the mean error over the seeds, lowest first, beside what it cost.

        Args:
            published: Add the paper's Table 2 as reference rows.
        """
        from dashboards.statistics.peak import peak

        return peak(self.trials, costs=self.record.costs, published=published)

    def lengths(self) -> "pa.Table":
        """Per arm and length of the phases of one setting, the error over the seeds and the gap to the longest training."""
        from dashboards.statistics.lengths import lengths

        return lengths(self.trials)

    def compare(self, arm_a: str, arm_b: str) -> "Comparison":
        """Two arms on their common draws. Raises ValueError for an unknown arm."""
        from dashboards.statistics.compare import compare

        return compare(self.trials, arm_a, arm_b)

    def steepness(self) -> "pa.Table":
        """Per arm, how many draws end close to the reference: shares within 0.5 to 8 points, area up to 10 points."""
        from dashboards.statistics.steepness import steepness_table

        return steepness_table(self.trials)

    def best_of_n(self) -> "pa.Table":
        """Per arm and n, the error of the best of n draws: what n trials of tuning would reach."""
        from dashboards.statistics.best_of_n import best_of_n

        return best_of_n(self.trials)

    def leaderboard(self) -> "pa.Table":
        """Arms by their best final error, beside what they cost."""
        from dashboards.statistics.leaderboard import leaderboard

        return leaderboard(self.trials, costs=self.record.costs)

    def optimizer_gap(self) -> "pa.Table":
        """Per model, how far its optimizers lie apart over their common draws."""
        from dashboards.statistics.optimizer_gap import optimizer_gap

        return optimizer_gap(self.trials)

    def optimizer_gap_by_length(self) -> "pa.Table":
        """Per model and training length, how far its optimizers lie apart at one given setting each."""
        from dashboards.statistics.optimizer_gap import optimizer_gap_by_length

        return optimizer_gap_by_length(self.trials)

    def best_regions(self) -> "pa.Table":
        """Per arm and hyperparameter, the best draw's value, its bootstrap range, and the edge that this touches."""
        from dashboards.space.positions import positions
        from dashboards.space.regions import best_regions

        return best_regions(positions(self.record))

    def importances(self, arm: str, evaluator: str = "fanova") -> dict[str, float]:
        """The share of each hyperparameter in the variation of an arm's errors, largest first; by Optuna's evaluators."""
        from dashboards.space.importance import importances
        from dashboards.space.positions import positions

        return importances(positions(self.record), arm, evaluator)

    def where(self, *conditions: str) -> "Results":
        """The results of the trials that fulfil all conditions, e.g. ``where("lr<0.01", "optimizer=sgd")``.

        Raises ValueError for an unknown column, and for one that holds results: it would take trials out of the denominator.
        """
        from dashboards.filters import filtered

        return replace(self, record=filtered(self.record, conditions))

    def convergence(self) -> "pa.Table":
        """Per arm and epoch, the median error and its 10 % and 90 % quantiles."""
        from dashboards.statistics.convergence import convergence

        return convergence(self.trials, self.curves)

    def summary(self) -> "StudySummary":
        """All of it in numbers and sentences."""
        from dashboards.summary import summarize

        return summarize(self.record)

    def figures(self, folder: str | Path, formats: "Sequence[str]" = ("pdf",)) -> "list[Path]":
        """Write each figure of the report at publication size (png, svg, pdf). Needs a Chrome or Chromium."""
        from dashboards.figures.export import write_figures

        return write_figures(self.record, Path(folder), formats=formats)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the self-contained HTML report, and return where it is.

        The report of a whole study is logged to MLflow as well. That of a selection, of several studies or of an imported one
        is not; by default it goes to ``selection.html`` in the home.
        """
        whole = self.record.study_run_id and not self.record.conditions and not self.record.source
        if whole:
            from stablesweep.reporting import make_report

            return make_report(self.home, self.record.study, None if path is None else Path(path)).path
        from dashboards.report.page import render_report
        from stablesweep.files import write_text

        target = self.home.path / "selection.html" if path is None else Path(path)
        write_text(target, render_report(self.record))
        return target


def load(name: str | Sequence[str], home: str | Path | None = None, *, where: Sequence[str] = ()) -> Results:
    """The results of a study that has run or is running, or was imported; of several names, merged into one.

    Args:
        name: The study's name, or several.
        home: The home it ran in; ``$STABLESWEEP_HOME`` or ``./stablesweep-home`` by default. ``MLFLOW_TRACKING_URI``
            decides, where it is set, from which server the results are read.
        where: Conditions that trials must fulfil, see :meth:`Results.where`.

    Raises:
        ValueError: If the tracking store cannot be read or has no such study.
    """
    place = Home.at(home)
    names = [name] if isinstance(name, str) else list(name)
    return Results(record=place.studies().read(names, where), home=place)
