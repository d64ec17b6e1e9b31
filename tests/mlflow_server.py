"""A real MLflow server, and the stories that trials tell it."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from stablesweep.messages import EpochDone, Message, TrialEnded, TrialStarted
from stablesweep.record import Published, Record
from stablesweep.trials import Trial
from tests.ray_cluster import free_port


def server_environment() -> dict[str, str]:
    """Without the four processes that run jobs of MLflow's own, which take longer to start than the server."""
    return {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class Server:
    """An MLflow server process on a port of its own; ``store`` is the URI of its database, in the folder by default."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self.folder = folder
        self.store = store or f"sqlite:///{folder}/server.db"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", self.store, "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=server_environment()
            )
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.3)
        pytest.fail((self.folder / "server.log").read_text())

    def kill(self) -> None:
        """End it at once, as a machine that goes away would."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def story(trial: Trial, epochs: int, status: str | None, final: float | None = None) -> list[Message]:
    """What a trial says until it has so many epochs, and how it ends: ``final`` percent, or 50 over its epochs."""
    pack = f"{trial.phase}-{trial.arm.replace('/', '-')}-0"
    messages: list[Message] = [TrialStarted(key=trial.key, pack=pack, started=1_000_000.0)]
    for number in range(1, epochs + 1):
        error = 50.0 / number
        messages.append(
            EpochDone(key=trial.key, epoch=number, train_loss=1 / number, error=error, lr=0.1, seconds=0.25)
        )
    if status is not None:
        error_at_end = (50.0 / epochs if final is None else final) if status == "completed" else None
        messages.append(
            TrialEnded(
                key=trial.key,
                status=status,
                error=error_at_end,
                best_error=error_at_end,
                epochs_done=epochs,
                seconds=epochs / 4,
                reason=None if status == "completed" else "why",
            )
        )
    return messages


def forgotten(record: Record) -> list[Published]:
    """What a record is to note of all its trials, so that they are published again to the runs that they have."""
    return [Published(key=state.key, run_id=state.run_id or "", status="", epoch=0) for state in record.trials()]
