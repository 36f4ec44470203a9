"""A configuration and what happens to it, as one text.

The text is a haproxy.cfg whose events stand in comments at its end, so that a story that was
printed can be cut out, saved and played again. Three words in it become real when it is played:

    DOOR      the address that a side listens on
    SERVERS   the address of the servers
    SOCKET    HAProxy's runtime socket
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .events import Event, event_of, line_of

_KIND = "# kind: "
_EVENT = re.compile(r"^#! +(?:\d+\. +)?(.*)$", re.MULTILINE)
_DOOR = re.compile(r"^listen (\S+)\n(?:[ #].*\n)*? +bind DOOR:(\d+)$", re.MULTILINE)
_SERVER = re.compile(r"^ +server (\S+) SERVERS:(\d+)\b", re.MULTILINE)
_WEIGHT = re.compile(r"^ +server (\S+) .*\bweight (\d+)", re.MULTILINE)
_SECTION = re.compile(r"^(?:listen|backend) (\S+)\n((?:[ #].*\n|\n)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Setup:
    """A configuration.

    Attributes:
        text: The file.
    """

    text: str

    @property
    def kind(self) -> tuple[str, ...]:
        """What it has: the policy first, then words such as ``stick`` or ``queue``."""
        first = self.text.partition("\n")[0]
        return tuple(first.removeprefix(_KIND).split()) if first.startswith(_KIND) else ()

    @property
    def doors(self) -> dict[str, int]:
        """Proxy -> the port where it lets clients in."""
        return {name: int(port) for name, port in _DOOR.findall(self.text)}

    @property
    def ports(self) -> dict[str, int]:
        """Server -> its port; proxies that have a server of the same name share it."""
        return {name: int(port) for name, port in _SERVER.findall(self.text)}

    @property
    def weights(self) -> dict[str, int]:
        """Server -> its weight, for those that have one."""
        return {name: int(weight) for name, weight in _WEIGHT.findall(self.text)}

    @property
    def is_static(self) -> bool:
        """Whether the policy takes no weights but 0 and the configured one."""
        return self.kind[:1] in (("source-map",), ("static-rr",))

    @property
    def is_watched(self) -> bool:
        """Whether checks find out within a moment who refuses."""
        return "watched" in self.kind

    @property
    def bound(self) -> int | None:
        """How many entries its table takes before it refuses others; None: so many never come."""
        found = re.search(r" size (\d+) nopurge", self.text)
        return int(found[1]) if found else None

    @property
    def members(self) -> tuple[str, ...]:
        """Every ``proxy/server``."""
        return tuple(name for name, _ in self._lines())

    @property
    def checked(self) -> tuple[str, ...]:
        """Every ``proxy/server`` with checks of its own."""
        return tuple(name for name, line in self._lines() if " check " in f"{line} ")

    @property
    def tables(self) -> tuple[str, ...]:
        """The proxies that own a stick table."""
        return tuple(name for name, body in _SECTION.findall(self.text) if "stick-table" in body)

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the line of each server of each proxy."""
        for proxy, body in _SECTION.findall(self.text):
            for line in body.splitlines():
                if found := _SERVER.match(line):
                    yield f"{proxy}/{found[1]}", line

    def named(self, key: str) -> str:
        """Return the server of a stick entry; with ``srvkey addr`` it has the address instead."""
        names = {str(port): name for name, port in self.ports.items()}
        return names.get(key.rpartition(":")[2], key)

    def file(self, *, door: str, servers: str, socket: str) -> str:
        """Return the file with real addresses in it."""
        text = re.sub(r"\bDOOR\b", door, self.text)
        return re.sub(r"\bSERVERS\b", servers, text).replace("SOCKET", socket)


@dataclass(frozen=True, slots=True)
class Story:
    """A configuration, and what happened."""

    setup: Setup
    events: tuple[Event, ...]

    def __str__(self) -> str:
        return "\n".join((self.setup.text.rstrip("\n"), "", *numbered(self.events), ""))

    @classmethod
    def parse(cls, text: str) -> Story:
        """Read what ``str`` gives; ValueError if an event is none."""
        events = tuple(event_of(line) for line in _EVENT.findall(text))
        return cls(Setup(_EVENT.sub("", text).rstrip("\n") + "\n"), events)


def numbered(events: Iterable[Event]) -> list[str]:
    return [f"#! {number:3}. {line_of(event)}" for number, event in enumerate(events, 1)]
