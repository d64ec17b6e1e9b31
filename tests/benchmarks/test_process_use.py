"""What a command and all that it starts uses."""

import os
import subprocess
import sys

import pytest
from process_use import measure

BURNT_S, HELD_MIB, HELD_S = 1.0, 200, 3.0
TICKS_S = 0.05
"""The kernel tells of another process's CPU time in hundredths of a second."""
WORK = f"""
import time
while time.process_time() < {BURNT_S}:
    pass
held = bytearray(b"x") * ({HELD_MIB} * 2**20)
time.sleep({HELD_S})
"""
WITH_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
# The shell ends at once. The pipe is at its end when nobody has it open any more.
WITH_AN_ORPHAN = """
import os, subprocess, sys
reading, writing = os.pipe()
subprocess.run(["sh", "-c", '"$0" -c "$1" &', sys.executable, sys.argv[1]], check=True, pass_fds=[writing])
os.close(writing)
os.read(reading, 1)
"""


@pytest.mark.parametrize("starter", [WITH_A_CHILD, WITH_AN_ORPHAN], ids=["child", "orphan"])
def test_what_the_command_starts_counts(starter: str) -> None:
    use = measure([sys.executable, "-c", starter, WORK], os.environ)
    assert use.cpu_s >= BURNT_S - TICKS_S
    assert use.peak_mib >= HELD_MIB
    assert use.wall_s >= BURNT_S + HELD_S


def test_children_that_live_too_short_to_be_looked_at_count() -> None:
    short = "import subprocess, sys\nfor _ in range(20): subprocess.run([sys.executable, '-S', '-c', sys.argv[1]])"
    burn = "import time\nwhile time.process_time() < 0.05: pass"
    assert measure([sys.executable, "-c", short, burn], os.environ).cpu_s >= 20 * 0.05


def test_other_processes_do_not_count() -> None:
    hold = f"held = bytearray(b'x') * ({HELD_MIB} * 2**20); print(len(held), flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", hold], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == HELD_MIB * 2**20
        use = measure([sys.executable, "-c", "import time; time.sleep(2)"], os.environ)
        assert other.poll() is None
        other.kill()
    assert 0 < use.peak_mib < HELD_MIB


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        measure([sys.executable, "-c", "raise SystemExit(3)"], os.environ)
    assert caught.value.returncode == 3
