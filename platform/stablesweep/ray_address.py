"""Whether anybody listens at a Ray cluster's address."""

import socket

from stablesweep.errors import StablesweepError

CONNECT_LIMIT_S = 10.0
NO_HOST = ("", "auto", "local")
"""Addresses that name no host."""


def check_address(address: str) -> None:
    """Try a bare connection, because Ray itself goes on trying for many minutes where nobody listens.

    Args:
        address: As in ``$RAY_ADDRESS``: ``host:port``, ``ray://host:port``, or a word that Ray knows.

    Raises:
        StablesweepError: If it is no address, or nobody answers there.
    """
    if address in NO_HOST:
        return
    where = f"the Ray cluster at RAY_ADDRESS={address} cannot be joined"
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise StablesweepError(f"{where}: that is no address; write host:port, e.g. 10.0.0.1:6379.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_LIMIT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StablesweepError(
            f"{where}: nobody answers there ({reason}); start the head, or unset RAY_ADDRESS to train here alone."
        ) from error
