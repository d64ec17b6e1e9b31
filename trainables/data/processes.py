"""Decoding in processes beside this one."""

import multiprocessing
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch.utils.data import DataLoader

from trainables.data.tasks import Decoded, Decoder, Task
from trainables.text import one_line

PRELOADED = ["__main__", "torch.utils.data", "PIL.Image", "trainables.data.tasks"]
"""What the fork server imports once, so that a decoding process starts in milliseconds. Not pyarrow, which starts a
thread on import: a process with threads must not fork."""


def decoded(
    tasks: Iterator[Task], decoder: Decoder, *, processes: int, tasks_ahead: int
) -> Generator[tuple[Task, Decoded], None, None]:
    """Each task and its answer, in the order of the tasks.

    Args:
        tasks: Taken one at a time, when a process is free for them.
        decoder: Does them.
        processes: How many; 0: this process does the tasks when they are asked for. They end with this iterator.
        tasks_ahead: Tasks that are done before they are asked for, at least; each process has one or more.

    Raises:
        RuntimeError: If a process died.
    """
    if not processes:
        for task in tasks:
            yield task, decoder[task]
        return
    pending: deque[Task] = deque()
    loader: DataLoader[Decoded] = DataLoader(
        decoder,  # type: ignore[arg-type]
        sampler=_noted(tasks, pending),
        batch_size=None,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
        num_workers=processes,
        prefetch_factor=max(1, -(-tasks_ahead // processes)),
        multiprocessing_context=_context(),
        # Else the loader would draw its seed from the global generator.
        generator=torch.Generator(),
    )
    with _iterator(loader) as answers:
        while (answer := _next(answers, pending)) is not None:
            yield pending.popleft(), answer


def _context() -> BaseContext:
    # A fork of this process would copy its threads' locks (Ray's, pyarrow's, torch's) and its CUDA state, held or
    # half-done. The fork server is a clean process that was started afresh: safe from any thread of any process, and
    # quicker than spawning, which imports torch in each decoding process.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _noted(tasks: Iterator[Task], pending: deque[Task]) -> Iterator[Task]:
    for task in tasks:
        pending.append(task)
        yield task


def _as_it_is(answer: Decoded) -> Decoded:
    return answer


@contextmanager
def _iterator(loader: DataLoader[Decoded]) -> Iterator[Iterator[Decoded]]:
    answers: Any = iter(loader)
    try:
        yield answers
    finally:
        # Not left to the iterator's finaliser: the traceback of an exception would keep it, and its processes, alive.
        answers._shutdown_workers()


def _next(answers: Iterator[Decoded], pending: deque[Task]) -> Decoded | None:
    try:
        return next(answers, None)
    except (RuntimeError, OSError, EOFError) as error:
        reading = ", ".join(dict.fromkeys(task.request.where(0) for task in list(pending)[:3])) or "nothing"
        problem = f"a process that decodes images died ({one_line(error)}); the next to be read: {reading}"
    # Outside the handler: the loader's traceback text says nothing more.
    raise RuntimeError(f"{problem}; look for a damaged file, too little memory or too small a /dev/shm")
