"""The two ways of training a pack: its members in a loop, or fused."""

from collections.abc import Sequence
from typing import Any

import torch

from trainables.training.fused.pack import FusedPack
from trainables.training.lockstep import LockstepPack
from trainables.training.records import Member, PackMode


def create_pack(
    members: Sequence[Member], *, mode: PackMode = "auto", device: str = "cpu", **asked: Any
) -> LockstepPack:
    """A pack that trains its members in this mode.

    ``loop``: one after the other on each batch. ``fused``: all at once, see :class:`FusedPack`; what cannot be fused is trained
    in a loop. ``auto``: on a CPU the loop, whose numbers do not depend on who else is in the pack, to the bit; on a GPU the faster
    one of the two, found out on the pack's first steps.

    Args:
        members: See :class:`LockstepPack`, as all other arguments.
        mode: The mode.
        device: Where to train, as torch names it.
        asked: Keyword arguments of :class:`LockstepPack`.

    Returns:
        A :class:`LockstepPack`; of its kind :class:`FusedPack` where fused steps are tried.

    Raises:
        UnknownName, ValueError: As :class:`LockstepPack`.
    """
    if mode == "fused":
        return FusedPack(members, device=device, **asked)
    if mode == "auto" and _measures(device) and len(members) > 1:
        return FusedPack(members, device=device, measure=True, **asked)
    return LockstepPack(members, device=device, **asked)


def _measures(device: str) -> bool:
    # Not on other devices that compute beside the program: nothing would wait for them, and the times would say nothing.
    return torch.device(device).type == "cuda"
