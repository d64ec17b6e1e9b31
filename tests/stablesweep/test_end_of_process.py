"""The end of a command's process: its code, what it still writes, and what it does not take seconds for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BEFORE = """
import atexit, sys, threading, time
from stablesweep.__main__ import start

class Cycle:
    def __init__(self):
        self.own = self
    def __del__(self):
        print("collected")

kept = Cycle()
atexit.register(print, "at the end")
"""
RUN_NOTHING = "sys.argv = ['stablesweep', 'run', 'nothing']\nstart()"


def command(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """A command in a process that has something left at its end."""
    script = f"{BEFORE}{before}\nsys.argv = {['stablesweep', *arguments]!r}\nstart()"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_all_is_written_and_what_asked_for_it_is_called_at_the_end() -> None:
    ended = command("--version")
    assert ended.stdout.startswith("stablesweep, version ")
    assert ended.stdout.endswith("\nat the end\n")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_error_has_its_sentence_and_its_code() -> None:
    ended = command("run", "nothing")
    assert (ended.returncode, ended.stdout) == (2, "at the end\n")
    assert ended.stderr == "Error: nothing: no such file; give a study file, or a built-in study: quickstart.\n"


def test_a_thread_that_is_at_work_is_waited_for() -> None:
    work = "threading.Thread(target=lambda: (time.sleep(0.5), print('done'))).start()"
    ended = command("--version", before=work)
    # Python's own way: the thread, what is called at the end, the memory.
    assert ended.stdout.splitlines()[1:] == ["done", "at the end", "collected"]
    assert ended.returncode == 0


def test_output_that_nobody_reads_is_no_traceback(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nfrom stablesweep.__main__ import start\nsys.stdout.write('unread')\n" + RUN_NOTHING)
    shell = f"set -o pipefail; (sleep 0.2; {sys.executable} {script}) | true"
    # Else nothing is left to be written at the end.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(["bash", "-c", shell], env=buffered, capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr
    assert "BrokenPipeError" in ended.stderr
    # Python's own code for it.
    assert ended.returncode == 120


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_process_that_is_started_without_an_output_ends_as_it_should(closed: str) -> None:
    shell = f"{sys.executable} -m stablesweep --version {closed}>&-"
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
