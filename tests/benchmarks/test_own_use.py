"""What a process uses, as it sees it itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from own_use import in_words, timed

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HELD_MIB = 256


def peak_of(code: str) -> float:
    """What a new process says of its own peak after it ran ``code``, MiB."""
    program = f"import own_use\n{code}\nprint(own_use.peak_mib())"
    done = subprocess.run([sys.executable, "-c", program], cwd=BENCHMARKS, check=True, capture_output=True, text=True)
    return float(done.stdout)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (75.0, "75.00 s"),
        (1.234, "1.23 s"),
        (0.1, "0.10 s"),
        (0.0999, "99.9 ms"),
        (0.001, "1.0 ms"),
        (0.000_999, "999 µs"),
        (12e-6, "12 µs"),
    ],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_the_peak_has_what_was_freed_since() -> None:
    grown = f"held = bytearray(b'x') * ({HELD_MIB} * 2**20)\ndel held"
    assert HELD_MIB <= peak_of(grown) < peak_of("") + 2 * HELD_MIB


def test_the_peak_has_nothing_of_whoever_started_the_process() -> None:
    held = bytearray(b"x") * (HELD_MIB * 2**20)
    assert peak_of("") < HELD_MIB
    assert len(held) == HELD_MIB * 2**20


def test_waiting_is_on_the_clock_alone() -> None:
    def burn() -> None:
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass

    waited, burnt = timed(lambda: time.sleep(0.2)), timed(burn)
    assert waited.wall_s >= 0.2
    assert waited.cpu_s < waited.wall_s
    assert burnt.cpu_s >= 0.2
