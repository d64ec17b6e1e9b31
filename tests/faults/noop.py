"""A trainable that trains nothing, quickly: what is left is this project's own part of a study."""

import time
from collections.abc import Iterator, Mapping, Sequence

import stablesweep as ss

PAUSE_S = 1.0
"""Of an epoch of all members together."""


@ss.register_trainable("noop")
def noop(members: Sequence[ss.Member], context: ss.TrainingContext) -> Iterator[Mapping[str, Mapping[str, float]]]:
    """Errors that are a function of the hyperparameter and the epoch."""
    context.keep_state(lambda: {member.key: None for member in members})
    for epoch in range(context.first_epoch, context.epochs + 1):
        time.sleep(PAUSE_S)
        yield {member.key: {"error": error(float(member.hyperparameters["lr"]), epoch)} for member in members}


def error(lr: float, epoch: int) -> float:
    """Percent; what the record must have in the end."""
    return 100 * lr / epoch
