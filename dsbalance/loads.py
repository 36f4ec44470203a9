"""Who carries the least, and who comes first: ``balance leastconn`` and ``first``. No I/O.

Neither keeps anything: they ask what the servers carry at the moment of choosing.

Source: the HAProxy 2.6 manual, ``balance``; the order of equals was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from dsbalance.candidates import Candidates, Client, Reason
from dsbalance.model import Server


class LeastConn:
    """``balance leastconn``: the fewest sessions for its weight. O(servers).

    Among equals, whoever has been so for longest, which for idle servers means in turn. A server
    with ``maxqueue`` is chosen until its queue is full too.
    """

    __slots__ = ()
    reason: ClassVar[Reason] = Reason.LEASTCONN

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return the least loaded with room; ``avoid`` only if there is no other."""

        def has_room(server: Server) -> bool:
            limit = servers.limit(server)
            return limit is None or servers.load(server) < limit + (server.maxqueue or 0)

        fit = _without([server for server in servers if has_room(server)], avoid)
        return min(fit, key=servers.standing, default=None)

    def adapt(self, servers: Candidates) -> None:
        """Do nothing: it keeps nothing."""


class First:
    """``balance first``: the lowest id that has room, so that the others may sleep. O(servers)."""

    __slots__ = ()
    reason: ClassVar[Reason] = Reason.FIRST

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return the lowest with room; ``avoid`` only if there is no other."""
        fit = _without([server for server in servers if not servers.is_full(server)], avoid)
        return min(fit, key=lambda server: servers.ids[server.name], default=None)

    def adapt(self, servers: Candidates) -> None:
        """Do nothing: it keeps nothing."""


def _without(servers: Sequence[Server], avoid: Server | None) -> Sequence[Server]:
    """Return ``servers`` without ``avoid``, unless it is the only one."""
    if avoid is None or len(servers) == 1:
        return servers
    return [server for server in servers if server.name != avoid.name]
