"""Whether anybody listens at a Ray cluster's address."""

import os
import socket

from stablesweep.errors import StablesweepError

CONNECT_LIMIT_S = 10.0
OUR_OWN = ("", "local")
"""Values of ``$RAY_ADDRESS`` for a Ray of one's own."""
ANY = "auto"
"""The one for whichever cluster this machine is part of."""


def cluster_address() -> str | None:
    """The cluster that ``$RAY_ADDRESS`` names; None if it names none."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in OUR_OWN else address


def check_address(address: str) -> None:
    """Try a bare connection, because Ray itself goes on trying for many minutes where nobody listens.

    Args:
        address: ``host:port`` or :data:`ANY`. Ray's client, ``ray://``, cannot drive a study.

    Raises:
        StablesweepError: If it is no address, or nobody answers there.
    """
    if address == ANY:
        return
    where = f"the Ray cluster at RAY_ADDRESS={address} cannot be joined"
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise StablesweepError(f"{where}: that is no address; write host:port, e.g. 10.0.0.1:6379.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_LIMIT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StablesweepError(
            f"{where}: nobody answers there ({reason}); start the head, or unset RAY_ADDRESS to train here alone."
        ) from error
