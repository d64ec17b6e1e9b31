"""Running a study from its ledger to its report, or continuing it."""

import inspect
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from stablesweep.errors import StudyError
from stablesweep.files import write_text
from stablesweep.home import Home, StudyFolder, locked
from stablesweep.ledger import Trial, to_trials, write_ledger
from stablesweep.messages import FINAL, Message, TrialEnded, TrialStarted
from stablesweep.packs import TrialPack, make_packs
from stablesweep.phases import Arm, FixedPhase
from stablesweep.progress import Progress
from stablesweep.progress_view import shown
from stablesweep.publisher import Publisher
from stablesweep.ray_session import concurrent_packs, prepare_environment, ray_session
from stablesweep.record import Record
from stablesweep.stopping import stop_on_signal
from stablesweep.study import ModelDefinition, Study

if TYPE_CHECKING:
    from trainables import Dataset

CORNERS = (0.0, 0.5, 1 - 2**-53)
"""Unit coordinates at which a space is tried out before anything is trained."""
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


class Stopwatch:
    """Seconds by activity."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, activity: str) -> Iterator[None]:
        """Add the time of the block to an activity."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[activity] = self.seconds.get(activity, 0.0) + time.monotonic() - began

    def total(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self._began


def run_study(
    study: Study, home: Home, console: Console, *, source: str | None = None, retry_lost: bool = False
) -> RunOutcome:
    """Train what the study still lacks, record it in MLflow, and say how it goes on ``console``.

    Args:
        study: The study; its ledger in the home may grow, and may not change otherwise.
        home: Where everything is kept.
        console: Where progress is shown.
        source: What messages call the study: its file; by default its name.
        retry_lost: Train trials again that were lost with a machine or a process.

    Raises:
        StablesweepError: If the study cannot be run; nothing was trained then.
    """
    folder, watch = home.study(study.name), Stopwatch()
    check_data(study, source or f"study {study.name}")
    with locked(folder):
        trials = to_trials(write_ledger(folder.ledger, study))
        write_text(folder.study_file, yaml.safe_dump(study.to_config(), sort_keys=False, allow_unicode=True))
        record = Record(folder.record)
        try:
            record.pause()
            if retry_lost:
                record.reopen_lost()
            return _run(study, home, trials, record, watch, console)
        finally:
            record.close()


def check_data(study: Study, source: str) -> None:
    """Load the study's data and build each arm once, here, before any compute is spent.

    Raises:
        StudyError: If the data cannot be loaded, an epoch would have no batch, or an arm cannot be built for it.
    """
    from trainables import load_dataset
    from trainables.training.checks import check_sizes

    try:
        data = load_dataset(study.dataset.name, **dataset_options(study))
        # The length of the training is the study's own and was checked with it.
        check_sizes(data, study.recipe, epochs=1, study_seed=study.seed, world=study.pack.workers)
        for model in {arm.model: study.model_of(arm) for arm in study.arms}.values():
            _check_model(model, data)
        for arm in study.arms:
            _check_optimizer(study, arm)
    except (ValueError, TypeError, OSError) as error:
        raise StudyError(f"{source}: {' '.join(str(error).split()).rstrip('.')}.") from error


def dataset_options(study: Study) -> dict[str, Any]:
    """The options of the study's dataset, as they mean the same in every process."""
    from trainables.data.loading import absolute_options

    return absolute_options(study.dataset.name, study.dataset.options)


def _check_model(model: ModelDefinition, data: "Dataset") -> None:
    from trainables.models.create import check_model
    from trainables.registry import user_model

    # A user's model that raises makes its trials failed, which is a finding; a built-in one does not fit the images.
    factory = user_model(model.base)
    if factory is not None:
        _check_call(model, factory)
    else:
        check_model(
            model.base,
            num_classes=data.num_classes,
            image_size=data.image_size,
            in_channels=data.channels,
            overrides=model.options,
        )


def _check_call(model: ModelDefinition, factory: Callable[..., Any]) -> None:
    sizes = dict.fromkeys(("num_classes", "image_size", "in_channels"), 1)
    try:
        inspect.signature(factory).bind(**{**sizes, **model.options})
    except TypeError as error:
        given = ", ".join(model.options) or "none"
        raise ValueError(
            f"models: the factory of {model.base!r} cannot be called with its sizes and the options given ({given}): {error}"
        ) from error


def _check_optimizer(study: Study, arm: Arm) -> None:
    import torch

    from trainables import create_optimizer

    settings = [phase.setting(arm) for phase in study.phases.present().values() if isinstance(phase, FixedPhase)]
    if study.phases.stability is not None:
        space = study.space_of(arm)
        settings += [space.from_unit(dict.fromkeys(space, unit)) for unit in CORNERS]
    for values in settings:
        layer = torch.nn.Linear(2, 2)
        layer(torch.ones(1, 2)).sum().backward()
        try:
            create_optimizer(arm.optimizer, layer, values).step()
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"the arm {arm.name} cannot train with {values}: {error}") from error


def _run(
    study: Study, home: Home, trials: list[Trial], record: Record, watch: Stopwatch, console: Console
) -> RunOutcome:
    folder = home.study(study.name)
    publisher = Publisher(home.tracking_uri, home.artifact_root, study, trials)
    with watch.time("recording"):
        publisher.connect(record)
    before = {state.key for state in record.trials() if state.status in FINAL}
    packs = make_packs(trials, study.pack.size, before)
    with watch.time("recording"):
        publisher.begin([folder.ledger, folder.study_file], training=bool(packs))
    if packs:
        _announce(study, trials, packs, before, console)
        _train(study, folder, trials, packs, record, publisher, watch, console)
    else:
        _say(console, f"Nothing to train: all {len(trials)} trials of {study.name} are finished.")
    return _close(trials, before, bool(packs), record, publisher, watch)


def _announce(
    study: Study, trials: Sequence[Trial], packs: Sequence[TrialPack], before: set[str], console: Console
) -> None:
    arms = ", ".join(arm.name for arm in study.arms)
    todo = sum(len(pack.trials) for pack in packs)
    done = f", {len(before)} of them finished before" if before else ""
    _say(console, f"Study {study.name}: {len(trials)} trials{done}; arms {arms}.")
    _say(console, f"Training {todo} trials in {len(packs)} packs. Ctrl-C stops cleanly; run again to continue.")


def _train(
    study: Study,
    folder: StudyFolder,
    trials: list[Trial],
    packs: list[TrialPack],
    record: Record,
    publisher: Publisher,
    watch: Stopwatch,
    console: Console,
) -> None:
    prepare_environment()
    with watch.time("importing Ray"):
        from stablesweep.driver import train_packs
        from stablesweep.mailbox import Mailbox
        from stablesweep.recorder import Recorder
    progress = Progress(trials, record.trials())
    # The signals last: Ray sets a handler of its own for SIGTERM when it starts.
    with shown(study.name, progress, console), _timed_session(watch), stop_on_signal(progress.stop):
        progress.concurrent = concurrent_packs(study.pack)
        mailbox = Mailbox()
        recorder = Recorder(folder.record, publisher, mailbox, progress.stop, progress.note)
        recorder.start()
        try:
            outcome = train_packs(
                _jobs(study, packs),
                pack=study.pack,
                concurrent=progress.concurrent,
                mailbox=mailbox,
                storage=folder.packs,
                begun=progress.begun,
                stop=progress.stop,
            )
        finally:
            recorder.finish()
    finished = _finish_record(record, packs, {failure.name: failure.reason for failure in outcome.failures})
    _remove_checkpoints(folder, packs, finished)
    watch.seconds |= {f"{part} ({ALL_WORKERS})": seconds for part, seconds in progress.timing.items()}
    rest = outcome.pack_seconds - sum(progress.timing.values())
    watch.seconds[f"pack start, wait and stop ({ALL_WORKERS})"] = max(rest, 0.0)
    watch.seconds["recording"] += recorder.collecting_s + recorder.publishing_s


@contextmanager
def _timed_session(watch: Stopwatch) -> Iterator[None]:
    """A Ray session; its start and its stop are timed, what happens in it is not."""
    session = ray_session()
    with watch.time("Ray start"):
        session.__enter__()
    try:
        yield
    finally:
        with watch.time("Ray stop"):
            session.__exit__(None, None, None)


def _jobs(study: Study, packs: Sequence[TrialPack]) -> list[Any]:
    from stablesweep.job import PackJob
    from trainables import Member, user_entries

    entries, options = user_entries(), dataset_options(study)
    models = {arm.model: study.model_of(arm) for arm in study.arms}
    return [
        PackJob(
            name=pack.name,
            members=tuple(
                Member(key=trial.key, seed=trial.seed, hyperparameters=dict(trial.hyperparameters))
                for trial in pack.trials
            ),
            model=models[pack.first.model].base,
            model_options=models[pack.first.model].options,
            optimizer=pack.first.optimizer,
            epochs=pack.first.epochs,
            recipe=study.recipe,
            dataset=study.dataset.name,
            dataset_options=options,
            study_seed=study.seed,
            checkpoint_every_s=study.pack.checkpoint_every_s,
            decode_workers=study.pack.decoders,
            entries=entries,
        )
        for pack in packs
    ]


def _finish_record(record: Record, packs: Sequence[TrialPack], failures: dict[str, str]) -> set[str]:
    """Mark the unfinished trials of packs that Ray gave up as lost, other unfinished ones as pending.

    Returns:
        The keys of all trials that have a result.
    """
    final = {state.key for state in record.trials() if state.status in FINAL}
    lost = [(trial.key, pack.name) for pack in packs if pack.name in failures for trial in pack.trials]
    messages: list[Message] = []
    for key, pack_name in lost:
        if key not in final:
            messages.append(TrialStarted(key=key, pack=pack_name, started=time.time()))
            messages.append(_lost(key, record, failures[pack_name]))
    record.apply(messages)
    record.pause()
    return final


def _lost(key: str, record: Record, reason: str) -> TrialEnded:
    epochs = record.epochs([key])
    return TrialEnded(
        key=key,
        status="lost",
        best_error=min((epoch.error for epoch in epochs), default=None),
        epochs_done=len(epochs),
        seconds=sum(epoch.seconds for epoch in epochs),
        reason=reason,
    )


def _remove_checkpoints(folder: StudyFolder, packs: Sequence[TrialPack], finished: set[str]) -> None:
    for pack in packs:
        if all(trial.key in finished for trial in pack.trials):
            shutil.rmtree(folder.packs / "train" / pack.name, ignore_errors=True)
    shutil.rmtree(folder.packs / "tune", ignore_errors=True)


def _close(
    trials: Sequence[Trial], before: set[str], trained: bool, record: Record, publisher: Publisher, watch: Stopwatch
) -> RunOutcome:
    from stablesweep.recorder import publish_all

    states = {state.key: state.status for state in record.trials()}
    final = {key for key, status in states.items() if status in FINAL}
    outcome = RunOutcome(
        trained=len(final - before),
        unfinished=len({trial.key for trial in trials} - final),
        lost=sum(status == "lost" for status in states.values()),
        lost_reasons=tuple(sorted({state.reason or "" for state in record.trials() if state.status == "lost"})),
        skipped=tuple(record.skipped_samples()),
    )
    with watch.time("recording"):
        outcome.unpublished = publish_all(publisher, record)
    outcome.timing = {**watch.seconds, "total": watch.total()}
    if outcome.unpublished is None:
        timing = outcome.timing if trained else None
        publisher.end(finished=not outcome.unfinished, timing=timing, skipped=outcome.skipped)
    return outcome


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
