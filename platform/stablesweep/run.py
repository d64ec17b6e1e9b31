"""Running a study from its ledger to its report, or continuing it."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import yaml
from rich.console import Console

from dashboards import tags
from stablesweep.arm_costs import ImageSizes, cost_tags
from stablesweep.checkpoints import CheckpointStore, in_storage, open_storage, packs_in, study_storage
from stablesweep.early_session import EarlySession, wants_ray
from stablesweep.errors import StablesweepError
from stablesweep.files import write_text
from stablesweep.hardware import cluster_hardware
from stablesweep.home import Home, StudyFolder, locked
from stablesweep.jobs import JobSource
from stablesweep.ledger import Ledger
from stablesweep.messages import FINAL
from stablesweep.nodes import check_nodes
from stablesweep.preflight import check_data
from stablesweep.progress_view import shown
from stablesweep.publisher import Publisher
from stablesweep.ray_session import Capacity
from stablesweep.record import Record, record_errors
from stablesweep.report_libraries import import_libraries
from stablesweep.run_tags import RunTags
from stablesweep.running_study import RunningStudy
from stablesweep.stopping import stop_on_signal
from stablesweep.stopwatch import Stopwatch
from stablesweep.study import Study
from stablesweep.trials import Trial

ALL_WORKERS = "all workers"
"""Marks the activities whose seconds are summed over workers that run side by side."""


@dataclass(kw_only=True, slots=True)
class RunOutcome:
    """What a run did."""

    trained: int = 0
    """Trials that got their result in this run."""
    unfinished: int = 0
    """Trials without a result: the run was stopped."""
    lost: int = 0
    """Trials that were lost with a machine or a process, in this run or before."""
    lost_reasons: tuple[str, ...] = ()
    """Why, each reason once."""
    skipped: tuple[str, ...] = ()
    """A sentence for each sample of the dataset that could not be read and was left out."""
    unpublished: str | None = None
    """Why MLflow does not have everything; None if it has."""
    timing: dict[str, float] = field(default_factory=dict)
    """Seconds by activity, in the order in which they are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a study trains."""

    storage: str
    """The study's folder for checkpoints: a path or a URI."""
    wait_for_nodes: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Session:
    """One run of a study, which holds the lock of its folder."""

    study: Study
    folder: StudyFolder
    ledger: Ledger
    record: Record
    place: Place
    watch: Stopwatch
    console: Console

    def say(self, text: str) -> None:
        """Print one line, as it is."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def run_study(
    study: Study,
    home: Home,
    console: Console,
    *,
    source: str | None = None,
    retry_lost: bool = False,
    storage: str | None = None,
    wait_for_nodes: bool = False,
) -> RunOutcome:
    """Train what the study still lacks, record it in MLflow, and say how it goes on ``console``.

    Args:
        study: The study; its ledger in the home may grow, and may not change otherwise.
        home: Where everything is kept.
        console: Where progress is shown.
        source: What messages call the study: its file; by default its name.
        retry_lost: Train trials again that were lost with a machine or a process.
        storage: A path or a URI for the checkpoints of all studies, which every node of a cluster sees; by default
            ``$STABLESWEEP_STORAGE``, else the home.
        wait_for_nodes: Wait for nodes to join where not even one pack fits, instead of refusing.

    Raises:
        StablesweepError: If the study cannot be run; nothing was trained then.
    """
    folder, watch = home.study(study.name), Stopwatch()
    place = Place(storage=study_storage(folder, storage), wait_for_nodes=wait_for_nodes)
    # Before anything is made or loaded: a place that cannot be is a slip of the pen.
    open_storage(place.storage)
    # Ray starts while the data is loaded and MLflow connects.
    with EarlySession() as ray:
        if wants_ray(study, home, retry_lost=retry_lost):
            _begin(ray, watch)
        data = check_data(study, source or f"study {study.name}")
        sizes = None if data is None else ImageSizes.of(data)
        # It may be large, and the workers load it anew.
        del data
        with locked(folder), _opened(folder, study, retry_lost) as (ledger, record):
            session = _Session(
                study=study, folder=folder, ledger=ledger, record=record, place=place, watch=watch, console=console
            )
            return _run(session, home, sizes, ray)


@contextmanager
def _opened(folder: StudyFolder, study: Study, retry_lost: bool) -> Iterator[tuple[Ledger, Record]]:
    """The ledger and the record, as a run begins with them; the record is closed afterwards."""
    ledger = Ledger.opened(folder.ledger, study)
    write_text(folder.study_file, yaml.safe_dump(study.to_config(), sort_keys=False, allow_unicode=True))
    with closing(Record(folder.record)) as record:
        with record_errors(folder.record):
            record.pause()
            if retry_lost:
                record.reopen_lost()
        yield ledger, record


def _run(session: _Session, home: Home, sizes: ImageSizes | None, ray: EarlySession) -> RunOutcome:
    study, trials = session.study, session.ledger.trials
    with record_errors(session.folder.record):
        before = {state.key for state in session.record.trials() if state.status in FINAL}
    left = [trial for trial in trials if trial.key not in before]
    if left:
        _begin(ray, session.watch)
    publisher = Publisher(home.tracking_uri, home.artifact_root, study, trials)
    with session.watch.time("recording"):
        publisher.connect(session.record)
    # Also after an error: a claim that is left behind holds up other machines for minutes.
    with closing(publisher):
        with session.watch.time("recording"):
            publisher.begin([session.folder.ledger, session.folder.study_file], training=bool(left))
        if left:
            # Counted beside the training, so that it does not start later.
            publisher.tag_later(lambda: cost_tags(study, sizes))
            _announce(session, left)
            _train(session, publisher, ray)
        else:
            session.say(f"Nothing to train: all {len(trials)} trials of {study.name} are finished.")
        return _close(session, publisher, before, bool(left))


def _begin(ray: EarlySession, watch: Stopwatch) -> None:
    with watch.time("importing Ray"):
        ray.begin()


def _announce(session: _Session, left: Sequence[Trial]) -> None:
    study, trials = session.study, session.ledger.trials
    arms = ", ".join(arm.name for arm in study.arms)
    done = f", {len(trials) - len(left)} of them finished before" if len(left) < len(trials) else ""
    session.say(f"Study {study.name}: {len(trials)} trials{done}; arms {arms}.")
    waiting = sum(not trial.settled for trial in left)
    later = f"; the settings of {waiting} follow from results" if waiting else ""
    session.say(f"Training {len(left)} trials{later}. Ctrl-C stops cleanly; run again to continue.")


def _train(session: _Session, publisher: Publisher, ray: EarlySession) -> None:
    study, folder, record, place = session.study, session.folder, session.record, session.place
    watch = session.watch
    with watch.time("importing Ray"):
        from stablesweep.driver import train_packs
        from stablesweep.mailbox import Mailbox
        from stablesweep.recorder import Recorder
    state = RunningStudy(study, folder, session.ledger, record, publisher, session.say)
    progress = state.progress
    with shown(study.name, progress, session.console), _started(ray, watch), stop_on_signal(progress.stop):
        capacity = Capacity(study.pack, wait=place.wait_for_nodes)
        check_nodes(study, place.storage)
        # Starting may take minutes, and a claim lasts no longer.
        publisher.keep_claim()
        hardware = cluster_hardware()
        publisher.tag_later(lambda: RunTags(study={tags.HARDWARE: hardware} if hardware else {}))
        mailbox = Mailbox()
        recorder = Recorder(folder.record, publisher, mailbox, progress.stop, state.take)
        stored = list(packs_in(place.storage))
        schedule = state.schedule([seal for _, seal in stored])
        source = JobSource(study, schedule, state.outcomes, recorder.flush, place.storage, stored)
        recorder.start()
        try:
            pack_seconds = train_packs(
                source,
                pack=study.pack,
                concurrent=lambda: state.concurrent(capacity.packs()),
                mailbox=mailbox,
                begun=progress.begun,
                stop=progress.stop,
            )
        finally:
            recorder.finish()
    with record_errors(folder.record):
        record.pause()
        # A lost trial may be taken up again, from where it was.
        finished = {state.key for state in record.trials() if state.status in FINAL - {"lost"}}
    try:
        _remove_checkpoints(place.storage, finished)
    except StablesweepError as error:
        session.say(f"Note: {error} Checkpoints of finished packs are still there.")
    watch.seconds |= {f"{part} ({ALL_WORKERS})": seconds for part, seconds in progress.timing.items()}
    rest = pack_seconds - sum(progress.timing.values())
    watch.seconds[f"pack start, wait and stop ({ALL_WORKERS})"] = max(rest, 0.0)
    watch.seconds["recording"] += recorder.collecting_s + recorder.publishing_s


@contextmanager
def _started(ray: EarlySession, watch: Stopwatch) -> Iterator[None]:
    """The session once it has started, ended afterwards; what there was to wait for is timed."""
    with watch.time("Ray start"):
        ray.wait()
    try:
        yield
        # Ray mostly waits for its processes, and the report comes next.
        with watch.time("importing for the report"), _nothing_collected():
            ray.begin_to_end()
            import_libraries()
    finally:
        with watch.time("Ray stop"):
            ray.end()


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """What there is to collect is collected before: references to Ray's objects, while Ray ends, would end this process."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _remove_checkpoints(storage: str, finished: set[str]) -> None:
    """Of packs all of whose trials have their results; the others are continued by the next run."""
    for name, seal in packs_in(storage):
        if finished.issuperset(seal.keys):
            CheckpointStore(in_storage(storage, name)).delete()


def _close(session: _Session, publisher: Publisher, before: set[str], trained: bool) -> RunOutcome:
    from stablesweep.recorder import publish_all

    trials, record, watch = session.ledger.trials, session.record, session.watch
    with record_errors(record.path):
        states, skipped = record.trials(), record.skipped_samples()
    final = {state.key for state in states if state.status in FINAL}
    lost = [state for state in states if state.status == "lost"]
    outcome = RunOutcome(
        trained=len(final - before),
        unfinished=len({trial.key for trial in trials} - final),
        lost=len(lost),
        lost_reasons=tuple(sorted({state.reason or "" for state in lost})),
        skipped=tuple(skipped),
    )
    with watch.time("recording"), record_errors(record.path):
        outcome.unpublished = publish_all(publisher, record)
    outcome.timing = {**watch.seconds, "total": watch.total()}
    if outcome.unpublished is None:
        timing = outcome.timing if trained else None
        publisher.end(finished=not outcome.unfinished, timing=timing, skipped=outcome.skipped)
    return outcome
