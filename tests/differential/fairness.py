"""What may happen, so that two programs that are both right are still alike after it.

    while                                              no
    somebody waits for any server of a proxy           server of it begins to serve: by its own
                                                       return, or because those before it are lost
    somebody waits                                     leaving of his; with ``minconn``: change of
                                                       a server, which would find a limit grown
    a server tracks another one                        weight of its own beside that one's 0
    a table takes no more                              client that it knows comes again
    it would take no more after those who wait         client comes
    several wait, and a server refuses and stays up    place becomes free

The first five are differences on purpose; docs/differences.md has the reasons. In the last one
all of those who wait would soon be failing at the same time, and what becomes of them is a matter
of milliseconds: HAProxy is not even like itself there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .events import Admin, Come, Event, Go, Health, Kill, Operation, Revive, Weight
from .play import Play
from .side import Fact
from .street import WAITING

# A server of the second one tracks the server of its name in the first one.
_PAIR = ("alpha", "beta")


def is_fair(play: Play, event: Event) -> bool:
    """Whether the two have to be alike after an event; see the table of this module."""
    if isinstance(event, Come):
        return event.client not in play.fates and not _is_stale(play, event.source)
    if isinstance(event, Revive) and not play.setup.is_watched:
        return True
    if _is_risky(play):
        return False
    if isinstance(event, Go):
        return play.fates.get(event.client, WAITING) != WAITING
    if isinstance(event, Weight) and _is_torn(play, event):
        return False
    if "minconn" in play.setup.kind and play.crowds[0].waiting:
        return False
    crowded = [proxy for proxy in _proxies(play, event) if proxy["qcur"]]
    return not crowded or (_is_loss(event) and not any(map(_is_last, crowded)))


def _is_stale(play: Play, source: str) -> bool:
    """Whether a table is full that has an entry of this client, or is full for HAProxy alone."""
    entries = {name for table in play.views[0].tables.values() for name in table}
    bound = play.setup.bound
    if bound is None or len(entries) == bound:
        return source in entries and bound is not None
    return len(entries) + play.crowds[0].waiting >= bound


def _is_torn(play: Play, event: Weight) -> bool:
    """Whether a server has a weight after an event, and the one that it tracks has none."""
    if "tracked" not in play.setup.kind:
        return False
    name = event.server.partition("/")[2]
    servers = {f"{proxy}/{name}": play.views[0].servers[f"{proxy}/{name}"] for proxy in _PAIR}
    weights = {member: int(facts["uweight"]) for member, facts in servers.items()}
    leader, follower = (weights | {event.server: event.weight}).values()
    return not leader and bool(follower)


def _is_risky(play: Play) -> bool:
    """Whether several wait, and a server refuses without being marked down."""
    is_refusing = not all(map(play.servers.is_alive, play.setup.ports))
    return is_refusing and not play.setup.is_watched and play.crowds[0].waiting > 1


def _proxies(play: Play, event: Kill | Revive | Operation) -> Iterator[Mapping[str, Fact]]:
    """Yield the facts of the proxies of which an event changes a server."""
    for name, facts in play.views[0].proxies.items():
        if isinstance(event, Kill | Revive):
            if play.setup.is_watched:
                yield facts
        elif event.server.partition("/")[0] == name:
            yield facts


def _is_loss(event: Event) -> bool:
    """Whether a server takes no new clients after an event."""
    states = {"drain", "maint", "down", "stopping"}
    return isinstance(event, Kill) or (isinstance(event, Admin | Health) and event.state in states)


def _is_last(proxy: Mapping[str, Fact]) -> bool:
    """Whether others may take over when a proxy loses one more server."""
    active, backups = int(proxy["act"]), int(proxy["bck"])
    return active < 2 and active + backups > 1
