"""Batches from samples that arrive out of order."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

import torch

from trainables.data.dataset import UNREADABLE, Batch
from trainables.data.order import Rows
from trainables.data.tasks import Decoded, Task

Answers = Generator[tuple[Task, Decoded], None, None]


def assembled(
    answers: Answers,
    sizes: Rows,
    labels: torch.Tensor,
    label_problems: Sequence[str | None],
    shape: tuple[int, int, int],
) -> Iterator[Batch]:
    """One batch a step; an answer is asked for only when the next batch lacks a sample.

    Args:
        answers: Tasks and what came of them; together they fill every place. Closed with this iterator.
        sizes: Images of each step, shape (steps,).
        labels: int64, one for each place.
        label_problems: What is wrong with the label of each place, None where nothing is; empty if nothing is anywhere.
        shape: (C, H, H).

    Raises:
        ValueError: If a task failed.
    """
    held: dict[int, tuple[torch.Tensor, str | None]] = {}
    pinned = torch.cuda.is_available()
    start = 0
    with closing(answers):
        for size in sizes.tolist():
            places = range(start, start + size)
            start += size
            _fill(held, places, answers)
            images = torch.empty((size, *shape), dtype=torch.uint8, pin_memory=pinned)
            taken = [held.pop(place) for place in places]
            if taken:
                torch.stack([image for image, _ in taken], out=images)
            problems = [problem for _, problem in taken]
            if label_problems:
                problems = [problem or label_problems[place] for place, problem in zip(places, problems, strict=True)]
            yield _marked(images, labels[places.start : places.stop].clone(), problems)


def _fill(held: dict[int, tuple[torch.Tensor, str | None]], places: range, answers: Answers) -> None:
    missing = sum(place not in held for place in places)
    while missing:
        task, answer = next(answers)
        if answer.failure is not None:
            raise ValueError(answer.failure)
        for index, place in enumerate(task.places.tolist()):
            held[place] = (answer.images[index], answer.problems.get(index))
            missing -= place in places


def _marked(images: torch.Tensor, labels: torch.Tensor, problems: Sequence[str | None]) -> Batch:
    for index, problem in enumerate(problems):
        if problem:
            images[index] = 0
            labels[index] = UNREADABLE
    return Batch(images=images, labels=labels, problems=tuple(problem for problem in problems if problem))
