"""``stablesweep`` and ``python -m stablesweep``."""

import atexit
import os
import sys
import threading

from stablesweep.cli import main


def start() -> None:
    """Run the command that the arguments ask for, and end this process."""
    try:
        main()
    except SystemExit as end:
        _leave(end)
    raise AssertionError("click ends every command with SystemExit")


def _leave(end: SystemExit) -> None:
    """End as Python would, but leave its memory to the system: with torch, Ray and MLflow imported, tidying up takes seconds."""
    others = [
        thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.current_thread()
    ]
    if others or not isinstance(end.code, int | None):
        raise end
    # As at any end; flushing comes last there as well.
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            # None where the process was started without it.
            if stream is not None and not stream.closed:
                stream.flush()
    except OSError:
        # Nobody reads any more: Python knows what to say of that.
        raise end from None
    os._exit(end.code or 0)


if __name__ == "__main__":
    start()
