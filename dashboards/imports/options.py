"""What a user says about results of another tool, checked before anything is read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dashboards.selection import STABILITY
from dashboards.tags import STATUSES

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
"""Of the name of a study, an import and a phase: none can leave the folder that it is put in."""

ROLES = (
    *("error", "accuracy", "best_error", "arm", "model", "optimizer", "phase", "sampler", "status", "reason"),
    *("draw", "seed", "key", "epochs", "epochs_done", "seconds", "started", "train_loss", "run_id", "pack"),
)
"""What a column of the source can stand for; any other column is a hyperparameter."""

FAILED, DIVERGED = "failed", "diverged"
PRUNED, COMPLETED = "pruned", "completed"
PERCENT, FRACTION = "percent", "fraction"

SYNONYMS = {name: name for name in STATUSES} | {
    **dict.fromkeys(("complete", "finished", "success", "succeeded", "done", "terminated", "ok"), "completed"),
    **dict.fromkeys(("fail", "error", "errored", "crashed"), "failed"),
    **dict.fromkeys(("waiting", "queued", "scheduled"), "pending"),
    **dict.fromkeys(("nan", "divergence"), "diverged"),
}
"""Statuses as other tools write them, in lower case; the user's own come before them."""


class UnusableResults(ValueError):
    """Results of another tool cannot be read, or do not say what must be known about them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportOptions:
    """What is said about the results of one source."""

    name: str
    """Of the study that they become: letters, digits, ``.``, ``_`` and ``-``, at most 80."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """By role (one of :data:`ROLES`) the column, parameter, attribute or metric of the source that has it."""
    ignored: tuple[str, ...] = ()
    """Roles that no column of a table has, even if one is called like it."""
    hyperparameters: tuple[str, ...] | None = None
    """Columns that are hyperparameters; by default all that have no role and are numbers or texts."""
    sampler: str | None = None
    """How settings were drawn, where no column says so, e.g. ``random``; ``None``: not known, in no distribution."""
    arm: str | None = None
    """The arm of all trials, by convention ``model/optimizer``, where no column says so."""
    phase: str = STABILITY
    """The phase of all trials, where no column says so."""
    epochs: int | None = None
    """How long each trial was to be trained, where no column says so."""
    error_scale: str = PERCENT
    """``percent`` or ``fraction``: of errors and accuracies in the source."""
    missing: str = FAILED
    """What a finished trial without a number is: ``failed`` (not known, widens bounds) or ``diverged`` (infinite)."""
    short: str = PRUNED
    """What a trial of Ray Tune is that ended before ``epochs``: ``pruned``, or ``completed`` with its last error."""
    enqueued: str = "enqueued"
    """The sampler of Optuna trials whose setting was enqueued, not sampled."""
    statuses: Mapping[str, str] = field(default_factory=dict)
    """By status of the source (in any case) one of :data:`dashboards.tags.STATUSES`."""
    studies: tuple[str, ...] = ()
    """Optuna studies to take; all of the storage by default."""
    delimiter: str | None = None
    """Between the fields of a text file; a tab in ``.tsv`` and a comma elsewhere by default."""

    def __post_init__(self) -> None:
        require_name("name", self.name)
        require_name("phase", self.phase)
        for role in (*self.columns, *self.ignored):
            if role not in ROLES:
                raise UnusableResults(f"columns: got {role!r}, expected one of {', '.join(ROLES)}.")
        if {"error", "accuracy"} <= set(self.columns):
            raise UnusableResults("columns: got both error and accuracy; name the one that the statistics are about.")
        _require("error_scale", self.error_scale, (PERCENT, FRACTION))
        _require("missing", self.missing, (FAILED, DIVERGED))
        _require("short", self.short, (PRUNED, COMPLETED))
        for status in self.statuses.values():
            _require("statuses", status, STATUSES)
        for name, text in (("sampler", self.sampler), ("enqueued", self.enqueued), ("arm", self.arm)):
            if text is not None:
                require_text(name, text)
        if self.epochs is not None and self.epochs < 1:
            raise UnusableResults(f"epochs: got {self.epochs}, expected a whole number from 1.")

    def status_of(self, text: str) -> str | None:
        """The status that ``text`` stands for; ``None`` if it stands for none."""
        own = {name.strip().lower(): status for name, status in self.statuses.items()}
        return (SYNONYMS | own).get(text.strip().lower())


def require_name(field_name: str, name: str) -> None:
    """Lets only names through that are safe as the name of a folder.

    Raises:
        UnusableResults: If it is another one.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise UnusableResults(
            f"{field_name}: got {name!r}, expected up to 80 letters, digits, '.', '_' and '-', a letter or digit first."
        )


def require_text(field_name: str, text: str) -> None:
    """Lets only texts of one line through that are not empty.

    Raises:
        UnusableResults: If it is another one.
    """
    if not text.strip() or not text.isprintable() or len(text) > 200:
        raise UnusableResults(f"{field_name}: got {text!r}, expected a text of one line, 1 to 200 characters.")


def _require(field_name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UnusableResults(f"{field_name}: got {value!r}, expected one of {', '.join(allowed)}.")
