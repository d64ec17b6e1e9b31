"""Starting Ray beside other work: it mostly waits for processes of its own."""

import importlib
import logging
import os
import threading
from typing import Self

from stablesweep.coordinator import start_coordinator
from stablesweep.errors import StablesweepError
from stablesweep.home import Home, is_locked
from stablesweep.messages import FINAL
from stablesweep.ray_session import HEAD, prepare_environment, ray_session
from stablesweep.record import record_errors
from stablesweep.status import read_states
from stablesweep.study import Study
from stablesweep.trials import plan_trials

logger = logging.getLogger(__name__)


class EarlySession:
    """A :func:`stablesweep.ray_session.ray_session` in a thread of its own, so that something else can be done while it starts.

    A context manager: leaving it ends the session, however far its start got.
    """

    def __init__(self) -> None:
        self._started, self._done = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        # Ray's processes die with the thread that starts them, so that one stays to the end.
        self._thread = threading.Thread(target=self._hold, name="stablesweep-ray", daemon=True)

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Begin to start Ray, unless that was done before; does not wait for it."""
        if self._thread.ident is not None:
            return
        # Here and not in the thread: imports of several threads can be in each other's way.
        prepare_environment()
        importlib.import_module("ray")
        self._thread.start()

    def wait(self) -> None:
        """Wait until Ray has started. Raises as :func:`stablesweep.ray_session.ray_session`."""
        self.begin()
        self._started.wait()
        if self._error is not None:
            raise self._error

    def begin_to_end(self) -> None:
        """Begin to end the session; does not wait for it."""
        self._done.set()

    def end(self) -> None:
        """End the session before the block does."""
        self.begin_to_end()
        if self._thread.ident is not None:
            self._thread.join()

    def __exit__(self, *raised: object) -> None:
        self.end()

    def _hold(self) -> None:
        try:
            with ray_session():
                self._started.set()
                start_coordinator(HEAD)
                self._done.wait()
        except BaseException as error:  # noqa: BLE001 - raised again by wait
            self._error = error
            if self._done.is_set():
                logger.warning("Ray did not end as it should: %s", error)
        finally:
            self._started.set()


def wants_ray(study: Study, home: Home, *, retry_lost: bool) -> bool:
    """Whether a run of the study will train, as far as can be told before its folder is locked and its data loaded.

    What is wrong with the files is said where they are opened, sooner than Ray could start and end.
    """
    folder = home.study(study.name)
    if not _data_seems_there(study) or is_locked(folder):
        return False
    try:
        with record_errors(folder.record):
            states = read_states(home, study.name)
    except StablesweepError:
        return False
    final = FINAL - {"lost"} if retry_lost else FINAL
    ended = {state.key for state in states.values() if state.status in final}
    return not ended or any(trial.key not in ended for trial in plan_trials(study))


def _data_seems_there(study: Study) -> bool:
    """Whether its file or folder exists. Not where code of the user's loads it: that may start Ray itself."""
    from trainables.registry import user_dataset

    if study.dataset is None:
        return True
    if user_dataset(study.dataset.name) is not None:
        return False
    path = study.dataset.options.get("path")
    return path is None or "://" in str(path) or os.path.exists(os.path.expanduser(str(path)))
