"""How fast a study's arms train here: a few steps of each, on its own data."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from search_spaces import HyperparameterValue
from stablesweep.arms import Arm
from stablesweep.estimate import Estimator
from stablesweep.model_table import ModelSetting, shown_one_by_one
from stablesweep.study import Study
from stablesweep.trials import Trial
from trainables.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from trainables import Batch, Dataset, RandomCrop, Reading, Recipe

MEMBERS = 4
"""At most so many trials train side by side while they are timed, and one alone."""
TRAIN_S, EVAL_S = 1.5, 0.5
"""How long an epoch trains and evaluates, about; there are two such epochs or more, each alone and side by side: the
last one is timed."""
FIRST_IMAGES = (2, 16, 64)
"""In the batches that tell how large the timed ones can be; each is tried if the one before took less than ``FIRST_S``."""
FIRST_S = 0.1
MOST_EPOCHS = 20
"""More than a pack ever needs to find out its way of training, and be timed, where an epoch is one step."""
SAFE_LR = 1e-6
"""Which rate is used changes no time, but one that is too large would end the trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Seconds that one worker takes, of which some are shared by all trials of its pack: reading and augmenting."""

    train_s: float
    """Per training image and trial."""
    shared_train_s: float
    """Per training image and pack."""
    forward_s: float
    """Per evaluated image and trial."""
    shared_forward_s: float
    """Per evaluated image and pack."""
    batch_size: int
    """Images in the timed batches; fewer than the study's where those would take too long."""

    def pack_seconds(self, works: Sequence[tuple[float, float]]) -> float:
        """The time of a pack on one worker.

        Args:
            works: Training images and images that only pass forward of each of its trials; the trials share them.
        """
        train, forward = sum(work[0] for work in works), sum(work[1] for work in works)
        shared_train, shared_forward = max(work[0] for work in works), max(work[1] for work in works)
        own = self.train_s * train + self.forward_s * forward
        return own + self.shared_train_s * shared_train + self.shared_forward_s * shared_forward


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was measured."""

    device: str
    """The name of the GPU, or ``CPU``."""
    on_gpu: bool
    speeds: Mapping[str, Speed]
    """By arm."""
    failures: Mapping[str, str]
    """Why an arm has no speed, by arm."""


class Excerpt:
    """A dataset's first steps of an epoch and first evaluation images; a :class:`trainables.Dataset`.

    Args:
        data: The whole dataset.
        num_train: Training images of an epoch.
        num_eval: Evaluation images.
    """

    def __init__(self, data: "Dataset", *, num_train: int, num_eval: int) -> None:
        self._data = data
        self.name, self.num_classes, self.image_size = data.name, data.num_classes, data.image_size
        self.channels, self.mean, self.std = data.channels, data.mean, data.std
        self.crops_on_read = data.crops_on_read
        self.num_train, self.num_eval = num_train, num_eval

    def train_batches(
        self, reading: "Reading", *, study_seed: int, epoch: int, crop: "RandomCrop | None"
    ) -> Generator["Batch"]:
        """The first steps of the dataset's own epoch."""
        steps = self.num_train // reading.batch_size - reading.first_step
        batches = self._data.train_batches(reading, study_seed=study_seed, epoch=epoch, crop=crop)
        yield from islice(batches, steps)

    def eval_batches(self, reading: "Reading") -> Generator["Batch"]:
        """The first images of the dataset's own evaluation."""
        from trainables import Batch

        left = self.num_eval
        for batch in self._data.eval_batches(reading):
            yield Batch(images=batch.images[:left], labels=batch.labels[:left], problems=batch.problems)
            left -= len(batch.labels)
            if left <= 0:
                return


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """One arm to be timed."""

    study: Study
    arm: Arm
    setting: Mapping[str, HyperparameterValue]
    data: "Dataset"
    recipe: "Recipe"
    device: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Timed:
    """Seconds of a pack in an epoch, per image."""

    train_s: float
    forward_s: float


class _Failed(Exception):
    """An arm could not be timed; the message says why."""


def calibrate(study: Study, trials: Sequence[Trial], data: "Dataset", console: "Console") -> Calibration:
    """Train the arms of these trials for some seconds each in this process, with one thread as workers do.

    Args:
        study: A study of image classifiers.
        trials: Those that are to be trained.
        data: The study's dataset.
        console: Where progress is shown.

    Returns:
        The speeds by arm, and why others have none. Nothing is written.
    """
    import torch

    on_gpu = study.pack.gpus > 0 and torch.cuda.is_available()
    speeds: dict[str, Speed] = {}
    failures: dict[str, str] = {}
    wanted = {trial.arm for trial in trials}
    arms = [arm for arm in study.arms if arm.name in wanted]
    settings = [_shown_setting(arm, data) for arm in arms]
    with _one_thread():
        for arm, _ in zip(arms, shown_one_by_one(settings, "calibrating", console, lines=True), strict=True):
            try:
                speeds[arm.name] = _speed(_asked(study, arm, trials, data, "cuda" if on_gpu else "cpu"))
            except (_Failed, ValueError, RuntimeError, OSError) as error:
                failures[arm.name] = str(error) if isinstance(error, _Failed) else one_line(error)
    device = torch.cuda.get_device_name() if on_gpu else "CPU"
    return Calibration(device=device, on_gpu=on_gpu, speeds=speeds, failures=failures)


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _shown_setting(arm: Arm, data: "Dataset") -> ModelSetting:
    return ModelSetting(
        name=arm.name, num_classes=data.num_classes, image_size=data.image_size, in_channels=data.channels
    )


def _asked(study: Study, arm: Arm, trials: Sequence[Trial], data: "Dataset", device: str) -> _Asked:
    from trainables.hyperparameters import recipe_for
    from trainables.optimizers import optimizer_hyperparameters

    own = [trial for trial in trials if trial.arm == arm.name]
    settled = [dict(trial.hyperparameters) for trial in own if trial.settled]
    setting = settled[0] if settled else Estimator(study, data).typical_settings(arm)[0]
    recipe = recipe_for(study.recipe, arm.optimizer, setting)
    # They stand in the recipe now, where they are changed for the timing; the statistics of batch norm are counted as images.
    kept = {"batch_size", "precise_batch_norm"} - optimizer_hyperparameters(arm.optimizer)
    setting = {name: value for name, value in setting.items() if name not in kept}
    recipe = recipe.model_copy(update={"precise_batch_norm": 0})
    return _Asked(study=study, arm=arm, setting={**setting, "lr": SAFE_LR}, data=data, recipe=recipe, device=device)


def _speed(asked: _Asked) -> Speed:
    """Times small batches, then one trial alone and several side by side on batches that fit the time."""
    first, members = _first_timed(asked), min(asked.study.pack.size, MEMBERS)
    if members * min(asked.recipe.batch_size, FIRST_IMAGES[0]) * first.train_s > TRAIN_S:
        members = 1
    size, steps, num_eval = _affordable(asked, first, members)
    if members == 1 and size <= FIRST_IMAGES[0]:
        return Speed(
            train_s=first.train_s, shared_train_s=0.0, forward_s=first.forward_s, shared_forward_s=0.0, batch_size=size
        )
    alone = _timed(asked, members=1, batch=size, steps=steps, num_eval=num_eval)
    together = _timed(asked, members=members, batch=size, steps=steps, num_eval=num_eval) if members > 1 else alone
    train_s, shared_train_s = _apart(alone.train_s, together.train_s, members)
    forward_s, shared_forward_s = _apart(alone.forward_s, together.forward_s, members)
    return Speed(
        train_s=train_s,
        shared_train_s=shared_train_s,
        forward_s=forward_s,
        shared_forward_s=shared_forward_s,
        batch_size=size,
    )


def _first_timed(asked: _Asked) -> _Timed:
    """A rough time, from the largest batch that is sure to be quick: in small ones what each step takes by itself counts most."""
    timed: _Timed | None = None
    for images in FIRST_IMAGES:
        size, num_eval = min(images, asked.recipe.batch_size), min(images, asked.data.num_eval)
        timed = _timed(asked, members=1, batch=size, steps=1, num_eval=num_eval)
        if size * timed.train_s > FIRST_S or size < images:
            break
    assert timed is not None
    return timed


def _affordable(asked: _Asked, first: _Timed, members: int) -> tuple[int, int, int]:
    """The batch size, the steps and the evaluation images of a timed epoch."""
    batch, data = asked.recipe.batch_size, asked.data
    images = int(TRAIN_S / (members * first.train_s))
    size = min(batch, max(images - images % 2, 2))
    steps = max(1, min(images // size, data.num_train // size))
    num_eval = max(1, min(int(EVAL_S / (members * first.forward_s)), data.num_eval))
    return size, steps, num_eval


def _apart(alone_s: float, together_s: float, members: int) -> tuple[float, float]:
    """The times per trial and per pack, if a pack's time is the sum of one for each trial and one for all.

    Timings scatter: the time for all is kept between 0 and that of the whole pack.
    """
    if members == 1:
        return alone_s, 0.0
    shared_s = min(max((members * alone_s - together_s) / (members - 1), 0.0), together_s)
    return (together_s - shared_s) / members, shared_s


def _timed(asked: _Asked, *, members: int, batch: int, steps: int, num_eval: int) -> _Timed:
    """An epoch after one that builds the models and warms up, and those in which the pack tries ways of training."""
    from trainables import Member, create_pack

    study = asked.study
    model = study.model_of(asked.arm)
    pack = create_pack(
        [Member(key=str(number), seed=number, hyperparameters=dict(asked.setting)) for number in range(members)],
        model=model.base,
        model_options=model.options,
        optimizer=asked.arm.optimizer,
        data=Excerpt(asked.data, num_train=steps * batch, num_eval=num_eval),
        recipe=asked.recipe.model_copy(update={"batch_size": batch}),
        epochs=MOST_EPOCHS,
        study_seed=study.seed,
        device=asked.device,
        mode=study.pack.mode,
    )
    pack.run_epoch()
    while not pack.settled and not pack.finished:
        pack.run_epoch()
    before = (pack.train_seconds, pack.eval_seconds)
    if not pack.finished:
        pack.run_epoch()
    for result in pack.results():
        if result.status not in ("running", "completed"):
            raise _Failed(result.reason or f"a trial {result.status}")
    return _Timed(
        train_s=(pack.train_seconds - before[0]) / (steps * batch),
        forward_s=(pack.eval_seconds - before[1]) / num_eval,
    )
