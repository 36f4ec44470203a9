"""Which descriptors are ready: epoll where there is one, :mod:`selectors` elsewhere.

epoll is edge-triggered and a descriptor is registered once; one that was added to be read costs a
second call when it blocks for the first time. selectors are level-triggered, and a stream says with
:meth:`Poller.want` what it waits for. Whoever follows two rules works on both: read until a short
read or EAGAIN, and call ``want`` when a side blocks or unblocks.

Source: epoll(7), "Level-triggered and edge-triggered".
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Callable
from typing import Protocol

# What a watcher is told. The numbers are epoll's own, so that the fast path passes them through.
READABLE = 0x0001
WRITABLE = 0x0004
BOTH = READABLE | WRITABLE
URGENT = 0x0002
FAILED = 0x0008
HUNG_UP = 0x0010
ENDED = 0x2000
# Any of these: a short read is not the last one. A stream that ends is to be read to its end, and
# an urgent byte stops a read although there is more behind it (tcp(7)).
CLOSING = URGENT | FAILED | HUNG_UP | ENDED
# Events of a stream that goes on. A tuple, because Python 3.11 takes ten times as long for `&`.
QUIET = (READABLE, BOTH, WRITABLE)
# What every stream is registered for: errors and hang-ups come unasked (epoll_ctl(2)).
_ALWAYS = URGENT | ENDED | getattr(select, "EPOLLET", 0)


class Poller(Protocol):
    """Which descriptors are ready.

    Attributes:
        is_edge: Whether readiness is told once when it arises, instead of as long as it lasts;
            such a poller also forgets by itself what is closed.
    """

    is_edge: bool

    def add_stream(self, fd: int, events: int) -> None:
        """Watch a connection, or one that is being made; ``events``: READABLE or BOTH."""

    def add_listener(self, fd: int) -> None:
        """Watch for readability, told as long as it lasts."""

    def want(self, fd: int, events: int) -> None:
        """Say what a stream waits for: READABLE, WRITABLE, BOTH or 0.

        When ``is_edge``, only a stream that waits to be written for the first time needs it.
        """

    def remove(self, fd: int) -> None:
        """Forget a descriptor, which must still be open."""

    @property
    def poll(self) -> Callable[[float | None], list[tuple[int, int]]]:
        """What waits up to so many seconds, None: for ever; returns descriptors and events."""

    def close(self) -> None:
        """Free what the poller holds."""


class EpollPoller:
    """Linux: edge-triggered, one registration a descriptor, no call in steady state.

    Who is added to be read alone is spared the event that says, at once, that it can be written.
    """

    __slots__ = ("_epoll", "_narrow", "poll")

    is_edge = True

    def __init__(self) -> None:
        self._epoll = select.epoll()
        # Its own method, not one around it: this is called in every turn.
        self.poll = self._epoll.poll
        # Those that are not told yet when they can be written. What was closed may stay in it
        # until its number is used again.
        self._narrow: set[int] = set()

    def add_stream(self, fd: int, events: int) -> None:  # noqa: D102 - as in Poller
        self._epoll.register(fd, events | _ALWAYS)
        if events & WRITABLE:
            self._narrow.discard(fd)
        else:
            self._narrow.add(fd)

    def add_listener(self, fd: int) -> None:  # noqa: D102
        self._epoll.register(fd, READABLE)

    def want(self, fd: int, events: int) -> None:  # noqa: D102
        if events & WRITABLE and fd in self._narrow:
            self._narrow.remove(fd)
            self._epoll.modify(fd, BOTH | _ALWAYS)

    def remove(self, fd: int) -> None:  # noqa: D102
        self._epoll.unregister(fd)

    def close(self) -> None:  # noqa: D102
        self._epoll.close()


class SelectorPoller:
    """Everywhere: level-triggered, what a stream waits for is changed when a side blocks.

    A stream that waits for nothing is not watched, so a peer that resets it meanwhile is seen
    only when it is wanted again.
    """

    __slots__ = ("_selector",)

    is_edge = False

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add_stream(self, fd: int, events: int) -> None:  # noqa: D102
        self._selector.register(fd, _mask(events))

    def add_listener(self, fd: int) -> None:  # noqa: D102
        self._selector.register(fd, selectors.EVENT_READ)

    def want(self, fd: int, events: int) -> None:  # noqa: D102
        wanted = _mask(events)
        key = self._selector.get_map().get(fd)
        if key is None:
            if wanted:
                self._selector.register(fd, wanted)
        elif not wanted:
            self._selector.unregister(fd)
        elif wanted != key.events:
            self._selector.modify(fd, wanted)

    def remove(self, fd: int) -> None:  # noqa: D102
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:  # noqa: D102
        return [
            (
                key.fd,
                (READABLE if mask & selectors.EVENT_READ else 0)
                | (WRITABLE if mask & selectors.EVENT_WRITE else 0),
            )
            for key, mask in self._selector.select(timeout)
        ]

    def close(self) -> None:  # noqa: D102
        self._selector.close()


def _mask(events: int) -> int:
    """Return the selectors' names for READABLE and WRITABLE."""
    return (selectors.EVENT_READ if events & READABLE else 0) | (
        selectors.EVENT_WRITE if events & WRITABLE else 0
    )


def best_poller() -> Poller:
    """Return the fastest poller that this system has."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
