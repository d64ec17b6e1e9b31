"""How long the quickstart takes from an empty home, and where the time goes: ``python benchmarks/quickstart.py``.

Prints one Markdown row for ``benchmarks/RESULTS.md``. Run it on a machine that does nothing else.
"""

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime

from hardware import machine

import stablesweep as ss


def main() -> None:
    """Run the built-in study once, as a user does, and print the row."""
    with tempfile.TemporaryDirectory() as home:
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "stablesweep", "run", "--home", home], check=True)
        wall_s = time.monotonic() - began
        record = ss.load("quickstart", home).record
    parts = json.dumps({name: round(seconds) for name, seconds in record.timing.items()})
    cells = [f"{datetime.now(UTC):%Y-%m-%d}", machine("torch", "ray", "mlflow"), str(record.trials.num_rows)]
    print(f"| {' | '.join(cells)} | {wall_s:.0f} s | {parts} |")


if __name__ == "__main__":
    main()
