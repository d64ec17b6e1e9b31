"""A study's schedule without Ray: a closed form stands for what training would give."""

import copy
import math
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import stablesweep as ss
from stablesweep.checkpoints import Seal
from stablesweep.ledger import Ledger
from stablesweep.messages import EpochDone, Message, TrialEnded
from stablesweep.outcomes import Outcomes
from stablesweep.packs import TrialPack
from stablesweep.schedule import Schedule
from stablesweep.trials import Trial

ARMS = ["vit_p_micro/adamw", "vit_c_micro/adamw", "vit_c_micro/sgd"]
SPACE: dict[str, Any] = {
    "lr": {"log_uniform": [1e-4, 1e-1]},
    "weight_decay": {"log_uniform": [1e-5, 1e-1]},
    "sgd": {"momentum": {"uniform": [0.5, 0.99]}},
}
ADAMW_ONLY: dict[str, Any] = {"arms": ARMS[:1], "space": {name: SPACE[name] for name in ("lr", "weight_decay")}}
PHASES: dict[str, Any] = {
    "search": {"draws": 10, "epochs": 2, "at_once": 3},
    "stability": {"draws": 5, "epochs": 3, "reference": 2},
    "length": {"epochs": [1, 3]},
    "peak": {"epochs": 6, "seeds": 2},
}


def study(**changes: Any) -> ss.Study:
    values: dict[str, Any] = {
        "name": "s",
        "dataset": "digits",
        "arms": ARMS,
        "space": SPACE,
        "phases": PHASES,
        "pack": {"size": 4},
        **changes,
    }
    return ss.Study.model_validate(values)


def error_of(trial: Trial) -> float:
    """A bowl over the logarithms, lowest at lr 1e-2 and weight_decay 1e-3; longer trainings end lower."""
    lr, decay = (math.log10(float(trial.hyperparameters[name])) for name in ("lr", "weight_decay"))
    return 5 + 4 * (lr + 2) ** 2 + (decay + 3) ** 2 + 3 / trial.epochs


def results(trials: Sequence[Trial]) -> list[Message]:
    messages: list[Message] = []
    for trial in trials:
        error = error_of(trial)
        if float(trial.hyperparameters["lr"]) > 0.06:
            messages.append(TrialEnded(key=trial.key, status="diverged"))
            continue
        for epoch in range(1, trial.epochs + 1):
            shown = error + (trial.epochs - epoch)
            messages.append(EpochDone(key=trial.key, epoch=epoch, train_loss=1.0, error=shown, lr=0.1, seconds=1.0))
        messages.append(TrialEnded(key=trial.key, status="completed", error=error))
    return messages


class Session:
    """One process that runs a study: the next one finds its ledger's file, and the results that it had."""

    def __init__(self, study: ss.Study, before: "Session | None" = None, stored: Sequence[Seal] = ()) -> None:
        self.study = study
        self.outcomes = Outcomes()
        if before is not None:
            self.outcomes._found = copy.deepcopy(before.outcomes._found)
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "ledger.parquet"
        if before is not None:
            shutil.copy(before._file, self._file)
        self._ledger = Ledger.opened(self._file, study)
        self.lost: list[Message] = []
        self.packs: list[str] = []
        self.trained: list[TrialPack] = []
        self.sizes: dict[str, int] = dict(before.sizes) if before is not None else {}
        self.schedule = Schedule(
            study,
            self._ledger.trials,
            self.outcomes,
            settings=self._ledger.settings,
            keep=self._ledger.settle,
            give_up=self.lost.extend,
            at_most=self.sizes,
            remember=self.sizes.__setitem__,
            stored=stored,
        )

    @property
    def ledger(self) -> list[Trial]:
        return self._ledger.trials

    def run(
        self,
        packs: int = 10_000,
        at_once: int = 2,
        order: random.Random | None = None,
        fit: Mapping[str, int] | None = None,
    ) -> "Session":
        """Hand out packs, two at a time, end them in any order; stop after some, the last ones without a result.

        Of the arms in ``fit`` so many trials fit into memory together.
        """
        order = order or random.Random(0)
        out: list[TrialPack] = []
        while not self.schedule.done() and packs >= 0:
            while len(out) < at_once and (pack := self.schedule.next(at_once)) is not None:
                out.append(pack)
                self.packs.append(pack.name)
            ended = out.pop(order.randrange(len(out)))
            packs -= 1
            if packs >= 0 and len(ended.trials) > (fit or {}).get(ended.first.arm, len(ended.trials)):
                self.schedule.too_large(ended, "no room")
            elif packs >= 0:
                self.trained.append(ended)
                self.outcomes.note(results(ended.trials))
                self.schedule.ended(ended, None)
        return self


def reopened(session: Session) -> Session:
    """After ``--retry-lost``: the lost trials have no result any more."""
    kept = Outcomes()
    for trial in session.ledger:
        outcome = session.outcomes.final(trial.key)
        if outcome is not None and outcome.status != "lost":
            kept.note(results([trial]))
    session.outcomes = kept
    return Session(session.study, session)


def settings_of(session: Session) -> dict[str, dict[str, Any]]:
    return {trial.key: dict(trial.hyperparameters) for trial in session.ledger}


def of(session: Session, phase: str, arm: str) -> list[Trial]:
    return [trial for trial in session.ledger if (trial.phase, trial.arm) == (phase, arm)]
