"""MLflow's SQLite file is made whole or not at all."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from stablesweep.experiment import alone_at_first, open_client

CODE = "import sys; from stablesweep.experiment import alone_at_first\nwith alone_at_first(sys.argv[1]): print('made')"
LIMIT_S = 120


def test_a_process_that_is_killed_while_it_makes_the_file_leaves_none_that_is_half_made(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    process = subprocess.Popen([sys.executable, "-c", CODE, f"sqlite:///{file}"])
    give_up = time.monotonic() + LIMIT_S
    # MLflow makes some fifty tables: long before the last of them the file has its first pages.
    while not any(part.stat().st_size for part in tmp_path.glob("mlflow.db.new")):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not file.exists()
    with alone_at_first(f"sqlite:///{file}"):
        pass
    assert open_client(f"sqlite:///{file}").create_experiment("study") == "1"
    assert not list(tmp_path.glob("mlflow.db.new*"))
