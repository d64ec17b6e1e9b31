"""Every error that a user can meet, each one sentence that names what is wrong and the way out.

StablesweepError        exit code 1
├── StudyError          a study that cannot be run: exit code 2
├── LedgerError         a ledger that is damaged or belongs to another study: exit code 2
├── HomeBusy            another process runs this study: exit code 2
└── TrackingError       the tracking server cannot be used: exit code 2
"""


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
    """Another process is running the same study in the same home."""

    exit_code = 2


class TrackingError(StablesweepError):
    """The MLflow tracking server cannot be reached or refuses the study."""

    exit_code = 2
