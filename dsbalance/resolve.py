"""From the host of a configuration to a socket address. It may block: not for the loop's thread."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from dsbalance.errors import ConnectError
from dsbalance.model import Server


class Target(NamedTuple):
    """Where a server is.

    Attributes:
        family: ``AF_INET`` or ``AF_INET6``.
        host: Its numeric address.
        rest: What follows the port in a socket address: flow and scope for IPv6, nothing for IPv4.
    """

    family: socket.AddressFamily
    host: str
    rest: tuple[Any, ...] = ()

    def address(self, port: int) -> tuple[Any, ...]:
        """Return what ``connect`` and ``bind`` take."""
        return (self.host, port, *self.rest)


class Located(NamedTuple):
    """Where a server is, and where it is checked: mostly the same."""

    server: Target
    check: Target


def locate(server: Server, subject: str) -> Located:
    """Return where ``server`` is. Raises as :func:`resolve`."""
    target = resolve(server.host, subject)
    if server.check is None or server.check.host is None:
        return Located(target, target)
    return Located(target, resolve(server.check.host, subject))


def resolve(host: str, subject: str = "", *, passive: bool = False) -> Target:
    """Return the first address of ``host``: a numeric address or a name.

    Args:
        host: What to look for; empty and ``passive``: every IPv4 address.
        subject: Whose address it is, for the error.
        passive: Whether it is going to be listened on.

    Raises:
        ConnectError: It does not resolve.
    """
    if passive and not host:
        return Target(socket.AF_INET, "0.0.0.0")  # noqa: S104 - what an empty host means in `bind`
    flags = socket.AI_PASSIVE if passive else 0
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError) as error:
        # A UnicodeError is a label that is empty or longer than 63 bytes.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConnectError(host, reason, subject) from error
    family, _, _, _, address = found[0]
    return Target(family, str(address[0]), tuple(address[2:]))
