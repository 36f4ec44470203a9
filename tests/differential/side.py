"""What a program has to offer so that it can be compared with another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .events import Operation

Fact = int | str


@dataclass(frozen=True, slots=True)
class View:
    """What can be seen of a side at one moment.

    Attributes:
        clients: How many client connections it has open.
        starting: How many servers have a part of their weight only, because they start slowly.
        placed: How many of them have a place at a server.
        queued: How many wait for one.
        servers: ``proxy/server`` -> its facts, by HAProxy's name for them: ``status``, ``uweight``,
            ``scur``, ``qcur`` and the counters.
        proxies: Proxy -> its facts.
        tables: Proxy that owns a stick table -> source -> the server that it is stuck to.
    """

    clients: int
    servers: Mapping[str, Mapping[str, Fact]]
    proxies: Mapping[str, Mapping[str, Fact]]
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    starting: int = 0

    @property
    def placed(self) -> int:
        return sum(int(facts["scur"]) for facts in self.servers.values())

    @property
    def queued(self) -> int:
        groups = (self.servers, self.proxies)
        return sum(int(facts["qcur"]) for group in groups for facts in group.values())

    def facts(self) -> Iterator[tuple[str, Fact]]:
        """Yield everything that is to be equal on both sides, each fact with its name."""
        for group in (self.servers, self.proxies):
            for name, facts in group.items():
                yield from ((f"{name} {fact}", value) for fact, value in facts.items())
        for name, entries in self.tables.items():
            yield from ((f"table {name}, {source}", server) for source, server in entries.items())


def differing(theirs: Mapping[str, Fact], ours: Mapping[str, Fact]) -> list[str]:
    """Return a line for each fact in which the two are not alike."""
    return [
        f"{name}: HAProxy {theirs.get(name, '-')}, here {ours.get(name, '-')}"
        for name in sorted({*theirs, *ours})
        if theirs.get(name) != ours.get(name)
    ]


class Side(Protocol):
    """One program at work, with the file of a story. It serves from when it is made."""

    @property
    def host(self) -> str:
        """The address that its doors are at."""

    def operate(self, event: Operation) -> None:
        """Let the operator do something; it has been done on return."""

    def view(self) -> View:
        """Return what there is to see now."""

    def close(self) -> None:
        """End it, with all connections."""
