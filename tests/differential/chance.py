"""Events, from a seed: what may happen next depends on what there is by now."""

from __future__ import annotations

import random
from collections.abc import Callable

from .events import Admin, Come, Event, Go, Health, Kill, Revive, Weight
from .fairness import is_fair
from .play import Play
from .street import WAITING

_SOURCES = 60
_STATES = ("ready", "ready", "drain", "maint")
_WEIGHTS = (0, 1, 2, 5, 10, 100, 256)


class Chance:
    """Draw one event after another for a play.

    Args:
        seed: Of everything that is drawn.
        play: What it is drawn for.
    """

    def __init__(self, seed: int, play: Play) -> None:
        self._chance = random.Random(f"events {seed}")
        self._play = play
        self._clients = 0
        self._crowd = self._chance.choice((3, 8, 20))
        self._sources = [self._source() for _ in range(_SOURCES)]

    def next(self) -> Event:
        """Return what happens next, which is fair."""
        while not is_fair(self._play, event := self._draw()):
            pass
        return event

    def _draw(self) -> Event:
        draw = self._chance.random()
        if draw < 0.6:
            return self._come()
        if draw < 0.85:
            return self._go() or self._come()
        return self._trouble()

    def _source(self) -> str:
        numbers = (self._chance.randrange(1, 255) for _ in range(3))
        return ".".join(("127", *map(str, numbers)))

    def _come(self) -> Event:
        if len(self._play.fates) > self._crowd and (event := self._go()):
            return event
        self._clients += 1
        is_known = self._chance.random() < 0.7
        source = self._chance.choice(self._sources) if is_known else self._source()
        return Come(self._clients, source, self._chance.choice(list(self._play.setup.doors)))

    def _go(self) -> Event | None:
        fates = self._play.fates
        leaving = [client for client, fate in fates.items() if fate != WAITING]
        return Go(self._chance.choice(leaving)) if leaving else None

    def _trouble(self) -> Event:
        draws: list[Callable[[], Event]] = [self._port, self._admin, self._weight, self._port]
        if not self._play.setup.is_watched:
            draws.append(self._health)
        return self._chance.choice(draws)()

    def _port(self) -> Event:
        servers = self._play.servers
        names = list(self._play.setup.ports)
        dead = [name for name in names if not servers.is_alive(name)]
        # What refuses costs both of them the time of all retries.
        if dead and self._chance.random() < 0.7:
            return Revive(self._chance.choice(dead))
        return Kill(self._chance.choice(names))

    def _admin(self) -> Event:
        # A check that comes when a server leaves maintenance comes earlier here.
        states = _STATES[:3] if "observed" in self._play.setup.kind else _STATES
        return Admin(self._member(), self._chance.choice(states))

    def _health(self) -> Event:
        return Health(self._member(), self._chance.choice(("down", "stopping", "up", "up")))

    def _weight(self) -> Event:
        member, setup = self._member(), self._play.setup
        own = setup.weights.get(member.partition("/")[2], 1)
        return Weight(member, self._chance.choice((0, own) if setup.is_static else _WEIGHTS))

    def _member(self) -> str:
        return self._chance.choice(self._play.setup.members)
