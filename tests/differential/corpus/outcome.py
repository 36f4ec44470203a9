"""What came of a case, and what of that differs on purpose."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

from .cases import DATA

CAPTURE = DATA / "haproxy-http-corpus.json"
DIFFERENCES = DATA / "http-differences.json"

# A page of our own, as :func:`.streams.comparable` tells it.
_PAGE = re.compile(r"HTTP/1\.1 [45]\d\d (?:[^\r]+\r\n)+\r\n(?:\(page\))?")
# Where the next message starts, right behind a body.
_START = re.compile(r"(?=HTTP/\d\.\d )|(?=[A-Z]+ /\S* HTTP/)")


class Fate(enum.StrEnum):
    """How a connection stands, as one end of it sees it."""

    OPEN = "open"
    ENDED = "ended"
    RESET = "reset"
    LEFT = "left"  # by this end itself


@dataclass(frozen=True)
class Heard:
    """What one end heard, and how it ended."""

    stream: str
    fate: Fate


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that can be seen of a case from outside.

    Attributes:
        clients: In the order in which they came.
        servers: The connections, in the order in which they were accepted.
        log: A line for each request: the server, which of the times it has, the status, how it
            ended.
    """

    clients: tuple[Heard, ...]
    servers: tuple[Heard, ...]
    log: tuple[str, ...]

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Self:
        """Return what :meth:`told` told."""
        return cls(
            clients=tuple(Heard(stream, Fate(fate)) for stream, fate in told["clients"]),
            servers=tuple(Heard(stream, Fate(fate)) for stream, fate in told["servers"]),
            log=tuple(told["log"]),
        )

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "clients": [[heard.stream, heard.fate] for heard in self.clients],
            "servers": [[heard.stream, heard.fate] for heard in self.servers],
            "log": [*self.log],
        }

    def beside(self, ours: Outcome) -> Outcome:
        """Return what is to be expected of us where HAProxy came to this.

        It keeps a connection to a server for other clients; with us that belongs to one client, and
        ends with it, now or in a moment.
        """
        is_anybody_there = any(heard.fate is Fate.OPEN for heard in self.clients)
        if is_anybody_there or len(self.servers) != len(ours.servers):
            return self
        pairs = zip(self.servers, ours.servers, strict=True)
        return replace(
            self,
            servers=tuple(
                replace(their, fate=our.fate) if their.fate is Fate.OPEN else their
                for their, our in pairs
            ),
        )


def laxities(theirs: Outcome, ours: Outcome) -> list[str]:
    """Return in what ours is not as strict: what passes, and who is left in the connection."""
    found = []
    for who in ("clients", "servers"):
        their, our = getattr(theirs, who), getattr(ours, who)
        passed = {line for heard in their for line in _lines(heard.stream)}
        for heard in our:
            lines = _lines(_PAGE.sub("", heard.stream))
            found += [f"{who} hear {line!r}" for line in lines if line not in passed]
        found += [
            f"{who} may stay: {one.fate}, not {other.fate}"
            for other, one in zip(their, our, strict=False)
            if one.fate is Fate.OPEN and other.fate is not Fate.OPEN
        ]
    return found


def _lines(stream: str) -> list[str]:
    return [line for message in _START.split(stream) for line in message.splitlines()]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs on purpose, and why.

    Attributes:
        reason: Why.
        is_stricter: Whether less passes, or somebody is left sooner, and not just something else.
        ours: What we do instead, in the cases of these names: what is left out is as with HAProxy.
    """

    reason: str
    is_stricter: bool
    ours: Mapping[str, Mapping[str, Any]]


@cache
def captured() -> dict[str, Outcome]:
    """Return what HAProxy made of each case when it was asked."""
    told = json.loads(CAPTURE.read_text(encoding="utf-8"))["outcomes"]
    return {name: Outcome.parse(outcome) for name, outcome in told.items()}


@cache
def differences() -> tuple[Difference, ...]:
    """Return what differs on purpose."""
    return tuple(
        Difference(
            reason=each["reason"],
            is_stricter=each.get("is_stricter", True),
            ours={name: {**each.get("ours", {}), **own} for name, own in each["cases"].items()},
        )
        for each in json.loads(DIFFERENCES.read_text(encoding="utf-8"))["differences"]
    )


@cache
def expected() -> dict[str, Outcome]:
    """Return what is to come of each case here."""
    outcomes = dict(captured())
    for difference in differences():
        for name, own in difference.ours.items():
            outcomes[name] = Outcome.parse({**outcomes[name].told(), **own})
    return outcomes
