"""Every error that a user can meet, each one sentence that names what is wrong and the way out.

StablesweepError        exit code 1
├── StudyError          a study that cannot be run: exit code 2
├── LedgerError         a ledger that is damaged or belongs to another study: exit code 2
├── HomeBusy            another process runs this study: exit code 2
├── RecordUnavailable   the local record cannot be used now: exit code 1
└── TrackingError       the tracking server cannot be used: exit code 2
"""

from typing import TYPE_CHECKING

from dashboards.formats import without_passwords

if TYPE_CHECKING:
    from stablesweep.home import Home


INTERRUPTED = 130
"""The exit code of a study that was stopped with trials left, and of a command that Ctrl-C ended."""


class StablesweepError(Exception):
    """Base of the errors that end a command with a sentence instead of a traceback."""

    exit_code = 1


class StudyError(StablesweepError):
    """A study file or :class:`~stablesweep.study.Study` that cannot be run."""

    exit_code = 2


class LedgerError(StablesweepError):
    """A ledger that is damaged, or that another version of the study wrote."""

    exit_code = 2


class HomeBusy(StablesweepError):
    """Another process is running the same study in the same home, or on the same tracking store."""

    exit_code = 2


class RecordUnavailable(StablesweepError):
    """A study's local record cannot be read or written now: it is held, or its disk is at fault; nothing says it is damaged."""


class TrackingError(StablesweepError):
    """The MLflow tracking server cannot be reached or refuses the study."""

    exit_code = 2


def short(error: BaseException, limit: int | None = 200) -> str:
    """What an exception says, for a part of a sentence: one line of at most ``limit`` characters, no passwords in URIs, no full stop.

    The exception's type if it says nothing.
    """
    return without_passwords(" ".join(str(error).split()))[:limit].rstrip(".") or type(error).__name__


def still_unpublished(home: "Home", study: str, reason: str) -> str:
    """The sentence for a run whose results MLflow does not have."""
    return (
        f"the tracking server did not take everything ({reason}); all results are safe in {home.study(study).record}, "
        "run again when it is back to publish them and make the report."
    )
