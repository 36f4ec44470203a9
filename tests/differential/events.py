"""What may happen in a story: one value for each event, one line of text for each value.

come 12 127.3.4.5 alpha    client 12 connects to the proxy alpha from this address
go 12                      it leaves, if a server has answered it
kill s1                    the port of server s1 refuses; its connections go on
revive s1                  it accepts again
admin alpha/s1 drain       as ``set server alpha/s1 state drain``
health alpha/s1 down       as ``set server alpha/s1 health down``
weight alpha/s1 20         as ``set server alpha/s1 weight 20``
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Come:
    client: int
    source: str
    proxy: str


@dataclass(frozen=True, slots=True)
class Go:
    client: int


@dataclass(frozen=True, slots=True)
class Kill:
    server: str


@dataclass(frozen=True, slots=True)
class Revive:
    server: str


@dataclass(frozen=True, slots=True)
class Admin:
    server: str
    state: str


@dataclass(frozen=True, slots=True)
class Health:
    server: str
    state: str


@dataclass(frozen=True, slots=True)
class Weight:
    server: str
    weight: int


Event = Come | Go | Kill | Revive | Admin | Health | Weight
Operation = Admin | Health | Weight
"""What an operator does to one side; the other events happen on the street."""

_KINDS: dict[str, type[Event]] = {
    kind.__name__.lower(): kind for kind in (Come, Go, Kill, Revive, Admin, Health, Weight)
}


def line_of(event: Event) -> str:
    """Return an event as a line.

    >>> line_of(Come(12, "127.3.4.5", "alpha"))
    'come 12 127.3.4.5 alpha'
    """
    values = (getattr(event, field.name) for field in fields(event))
    return " ".join((type(event).__name__.lower(), *map(str, values)))


def event_of(line: str) -> Event:
    """Return the event of a line, or raise ValueError.

    >>> event_of("weight alpha/s1 20")
    Weight(server='alpha/s1', weight=20)
    """
    verb, *words = line.split()
    if verb not in _KINDS:
        raise ValueError(f"nothing is called {verb!r}")
    kind = _KINDS[verb]
    types = [field.type for field in fields(kind)]
    if len(types) != len(words):
        raise ValueError(f"{verb} wants {len(types)} words, not {line!r}")
    pairs = zip(types, words, strict=True)
    try:
        values = [int(word) if is_number == "int" else word for is_number, word in pairs]
    except ValueError:
        raise ValueError(f"{verb} wants a number, not {line!r}") from None
    return kind(*values)  # type: ignore[arg-type]  # as many as it has fields, each of its type
