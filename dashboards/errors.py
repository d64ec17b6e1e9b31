"""What can be wrong with a study that somebody asks for."""


class StudyNotFound(ValueError):
    """There is no study of this name at this tracking URI."""


class StudyUnreadable(ValueError):
    """The study is there, but an artifact that it must have is not, or is damaged."""
