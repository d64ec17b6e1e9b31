"""What a study does, while it runs, with what it learns: keep it, show it, and let it decide what comes next."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from stablesweep.centres import Setting
from stablesweep.checkpoints import Seal
from stablesweep.home import StudyFolder
from stablesweep.ledger import Ledger
from stablesweep.messages import Message, Remark, TrialEnded
from stablesweep.outcomes import Outcomes
from stablesweep.progress import Progress
from stablesweep.publisher import Publisher
from stablesweep.record import Record, record_errors
from stablesweep.schedule import Schedule
from stablesweep.study import Study
from stablesweep.trials import Trial


class RunningStudy:
    """The state of a study in the process that runs it.

    Args:
        study: The study.
        folder: Its files.
        ledger: Its ledger.
        record: Its record; used by the thread that made it.
        publisher: Connected.
        say: Shows a line to the user.
    """

    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        ledger: Ledger,
        record: Record,
        publisher: Publisher,
        say: Callable[[str], None],
    ) -> None:
        self._study, self._folder, self._ledger, self._record = study, folder, ledger, record
        self._publisher, self._say = publisher, say
        self._said: set[str] = set()
        self.progress = Progress(ledger.trials, record.trials())
        self.outcomes = Outcomes.of(record)

    def schedule(self, stored: Sequence[Seal]) -> Schedule:
        """What comes next; for ``stored`` see there."""
        return Schedule(
            self._study,
            self._ledger.trials,
            self.outcomes,
            settings=self._ledger.settings,
            keep=self._keep,
            give_up=self._give_up,
            at_most=self._record.pack_sizes(self._study.pack.room),
            remember=self._remember,
            stored=stored,
        )

    def take(self, messages: Sequence[Message]) -> None:
        """Take in messages that are durable."""
        self.outcomes.note(messages)
        self.progress.note(messages)
        for message in messages:
            if isinstance(message, Remark):
                self._note(message.text)

    def concurrent(self, packs: int) -> int:
        """Note how many packs can train at the same time, for the time that is left; returns it."""
        self.progress.concurrent = max(packs, 1)
        return packs

    def _keep(self, settled: Sequence[Trial], settings: Mapping[str, Setting]) -> None:
        self._ledger.settle(settled, settings)
        self._publisher.settled(settled, self._folder.ledger)

    def _give_up(self, messages: Sequence[Message]) -> None:
        with record_errors(self._folder.record):
            self._record.apply([self._with_seconds(message) for message in messages])
        self.progress.note(messages)

    def _remember(self, arm: str, size: int) -> None:
        with record_errors(self._folder.record):
            self._record.set_pack_size(arm, self._study.pack.room, size)
        self._note(f"a pack of {arm} did not fit into memory; from here on its packs have at most {size} trials.")

    def _note(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            # Where the output goes to a file on a full disk, the study goes on.
            with suppress(OSError):
                self._say(f"Note: {text}")

    def _with_seconds(self, message: Message) -> Message:
        """The end of a trial that could not say itself how long it took, with what the record has of it."""
        if not isinstance(message, TrialEnded):
            return message
        return replace(message, seconds=sum(epoch.seconds for epoch in self._record.epochs([message.key])))
