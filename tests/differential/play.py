"""Both sides on one street: an event happens to both, both come to rest, and they are compared."""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from . import haproxy
from .events import Come, Event, Go, Kill, Revive
from .haproxy import HaproxySide
from .ours import OurSide
from .side import Side, View, differing
from .story import Setup
from .street import Crowd, Servers, Street

Maker = Callable[[Setup, str, str], Side]
SIDES: tuple[Maker, Maker] = (HaproxySide, OurSide)

# No side needs as long to come to rest, with all of its retries.
_PATIENCE = 10.0
# How long to wait for an answer before the sides are looked at again.
_GLANCE = 0.002
# 127.1.0.0 and up, a block of 256 addresses for a process: every port of such an address is free.
_BLOCK = int(ipaddress.IPv4Address("127.1.0.0")) + os.getpid() % 60_000 * 256
_addresses = itertools.cycle(str(ipaddress.IPv4Address(_BLOCK + last)) for last in range(1, 255))


def lack() -> str | None:
    """Return what this system has not got, so that nothing can be played; None: it can."""
    if (reason := haproxy.lack()) is not None:
        return reason
    with socket.socket() as probe:
        try:
            probe.bind((next(_addresses), 0))
        except OSError as error:
            return f"this system has 127.0.0.1 alone: {error}"
    return None


class Play:
    """A setup at work on both sides.

    Args:
        setup: The configuration.
        makers: What makes the sides: HAProxy first.

    Attributes:
        setup: As given.
        views: What could be seen of each side after the last event.
        crowds: The clients of each side.
        servers: Those behind both.
        decisions: How many fates of clients have been compared.
    """

    def __init__(self, setup: Setup, makers: tuple[Maker, Maker] = SIDES) -> None:
        self.setup = setup
        self.decisions = 0
        self._fates: dict[int, str] = {}
        self._street = Street()
        self._sides: list[Side] = []
        host = next(_addresses)
        try:
            self.servers = Servers(self._street, host, setup.ports)
            for maker in makers:
                self._sides.append(maker(setup, next(_addresses), host))
            self.crowds = [Crowd(self._street) for _ in self._sides]
            self.views = self._begin()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End both sides, and everybody on the street."""
        for side in self._sides:
            side.close()
        self._street.clear()

    @property
    def fates(self) -> dict[int, str]:
        """What became of the clients, which is the same on both sides until they differ."""
        return self.crowds[0].fates

    def perform(self, event: Event) -> list[str]:
        """Let something happen, and return a line for each difference; none: they are alike."""
        if isinstance(event, Come):
            self._come(event)
        elif isinstance(event, Go):
            for crowd in self.crowds:
                crowd.go(event.client)
        elif isinstance(event, Kill):
            self.servers.kill(event.server)
        elif isinstance(event, Revive):
            self.servers.revive(event.server)
        else:
            for side in self._sides:
                side.operate(event)
        try:
            self.views = self._settle()
        except TimeoutError as error:
            return [str(error), *self._compare_fates()]
        self._count()
        return self.compare()

    def compare(self) -> list[str]:
        """Return a line for each difference that there is now."""
        theirs, ours = (dict(view.facts()) for view in self.views)
        return [*self._compare_fates(), *differing(theirs, ours)]

    def _compare_fates(self) -> list[str]:
        theirs, ours = ({f"client {n}": f for n, f in c.fates.items()} for c in self.crowds)
        return differing(theirs, ours)

    def _come(self, event: Come) -> None:
        port = self.setup.doors[event.proxy]
        for side, crowd in zip(self._sides, self.crowds, strict=True):
            crowd.come(event.client, event.source, (side.host, port))

    def _count(self) -> None:
        """Count each client that has another fate than before."""
        fates = self.fates
        self.decisions += sum(self._fates.get(client) != fate for client, fate in fates.items())
        self._fates = dict(fates)

    def _begin(self) -> list[View]:
        """Return what there is to see when the first checks have been made."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            self.views = self._settle()
            if not self.compare() or time.monotonic() > deadline:
                return self.views

    def _settle(self) -> list[View]:
        """Return what there is to see when nothing moves any more; TimeoutError if it never does.

        Two looks in a row that are alike, at sides that know as much as their clients do: all that
        happens of itself, an attempt or a check, has happened by then.
        """
        deadline = time.monotonic() + _PATIENCE
        last: list[View] = []
        while True:
            self._street.pump(0 if last else _GLANCE)
            views = [side.view() for side in self._sides]
            self._street.pump(0)
            is_calm = all(map(self._is_calm, views, self.crowds))
            if is_calm and views == last:
                return views
            last = views if is_calm else []
            if time.monotonic() > deadline:
                raise TimeoutError(self._unrest(views))

    def _is_calm(self, view: View, crowd: Crowd) -> bool:
        waiting = crowd.waiting
        counts = view.clients, view.placed, view.queued, view.starting
        return counts == (crowd.open, crowd.open - waiting, waiting, 0) and self._is_healthy(view)

    def _is_healthy(self, view: View) -> bool:
        """Whether checks, where there are quick ones, have found everything out."""
        if not self.setup.is_watched:
            return True
        for member, facts in view.servers.items():
            status = str(facts["status"])
            is_alive = self.servers.is_alive(member.partition("/")[2])
            is_checked = not status.startswith("MAINT")
            if is_checked and ("/" in status or status.startswith("DOWN") is is_alive):
                return False
        return True

    def _unrest(self, views: list[View]) -> str:
        parts = [
            f"{view.clients} of {crowd.open} clients, {view.placed} placed, {view.queued} queued,"
            f" {crowd.waiting} waiting"
            for view, crowd in zip(views, self.crowds, strict=True)
        ]
        return f"it does not come to rest: HAProxy {parts[0]}; here {parts[1]}"
