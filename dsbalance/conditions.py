"""Conditions on a connection: ``if`` and ``unless`` with what HAProxy calls ACLs. No I/O.

    written                              a condition is
    if A B or !C { src 10.0.0.0/8 }      any of its alternatives: (A and B), (not C and src)
    unless A                             the same, turned round
    acl A src X, acl A src Y             a term of two tests, one of which has to hold

A test of what is not known, such as the connections of a source that nobody tracks, does not hold;
so its term holds if it is turned round.

    address      in a network of    is compared
    IPv4         IPv4               as it is
    IPv4         IPv6               as ::ffff:a.b.c.d
    IPv6         IPv6               as it is
    IPv6         IPv4               by the IPv4 address in ::ffff:a.b.c.d, ::a.b.c.d (so ::1 is
                                    0.0.0.1) or 2002:aabb:ccdd::; any other one is in none

Source: HAProxy 2.6 configuration manual, 7.1 and 7.2; what is not known and which addresses match
which networks were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from dsbalance.validation import choose, demand

Network = IPv4Network | IPv6Network

_IPV4_SIZE = 4
_IPV4 = 0xFFFF_FFFF
_MAPPED = 0xFFFF << 32  # ::ffff:0:0, RFC 4291, section 2.5.5.2
_6TO4 = 0x2002  # RFC 3056, section 2: the 32 bits behind these 16 are an IPv4 address


class Fetch(enum.StrEnum):
    """What a test looks at."""

    SRC = "src"
    DST_PORT = "dst_port"
    SC0_CONN_CUR = "sc0_conn_cur"
    SC0_CONN_RATE = "sc0_conn_rate"
    NBSRV = "nbsrv"


class Facts(Protocol):
    """What is known of a connection at the moment of asking."""

    @property
    def source(self) -> bytes:
        """The client's address, 4 or 16 bytes in network order."""

    @property
    def dst_port(self) -> int:
        """The port that it came to."""

    @property
    def sc0_conn_cur(self) -> int | None:
        """How many connections its source has now; None: it is not counted."""

    @property
    def sc0_conn_rate(self) -> int | None:
        """How many its source has made lately; None: it is not counted."""

    def nbsrv(self, backend: str | None) -> int | None:
        """Return how many servers of a backend may be chosen; None: there is no such backend.

        ``backend`` None is the one at work.
        """


class Networks:
    """Some networks, made to be asked often. A look-up is O(lengths of prefixes among them)."""

    __slots__ = ("_ipv4", "_ipv6")

    def __init__(self, networks: Iterable[Network]) -> None:
        self._ipv4 = _by_shift(net for net in networks if isinstance(net, IPv4Network))
        self._ipv6 = _by_shift(net for net in networks if isinstance(net, IPv6Network))

    def __contains__(self, source: bytes) -> bool:
        number = int.from_bytes(source)
        if len(source) == _IPV4_SIZE:
            inner: int | None = number
            number |= _MAPPED
        else:
            inner = _ipv4_in(number)
        return (inner is not None and any(inner >> n in found for n, found in self._ipv4)) or any(
            number >> n in found for n, found in self._ipv6
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at one thing.

    Attributes:
        fetch: What is looked at.
        networks: Of ``src``: it is in one of these.
        ranges: Of a number: it is in one of these, each from its first to its last; None: no end.
        backend: Of ``nbsrv``: whose usable servers are counted; None: those of the backend at work.
    """

    fetch: Fetch
    networks: tuple[Network, ...] = ()
    ranges: tuple[tuple[int | None, int | None], ...] = ()
    backend: str | None = None
    _networks: Networks = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        choose(self, "fetch", Fetch)
        wanted, other = ("networks", "ranges")[:: 1 if self.fetch is Fetch.SRC else -1]
        demand(
            None if getattr(self, wanted) else f"{self.fetch}: there is nothing to compare it with",
            f"{self.fetch} is not compared with {other}" if getattr(self, other) else None,
            *(
                f"{self.fetch}: a range goes upwards, not from {first} to {last}"
                for first, last in self.ranges
                if first is not None and last is not None and first > last
            ),
            f"{self.fetch} does not look at a backend"
            if self.backend is not None and self.fetch is not Fetch.NBSRV
            else None,
        )
        object.__setattr__(self, "_networks", Networks(self.networks))

    def holds(self, facts: Facts) -> bool:
        """Return whether what is looked at is known, and one of those that are wanted."""
        if self.fetch is Fetch.SRC:
            return facts.source in self._networks
        number = self._number(facts)
        return number is not None and any(
            (first is None or first <= number) and (last is None or number <= last)
            for first, last in self.ranges
        )

    def _number(self, facts: Facts) -> int | None:
        match self.fetch:
            case Fetch.DST_PORT:
                return facts.dst_port
            case Fetch.SC0_CONN_CUR:
                return facts.sc0_conn_cur
            case Fetch.SC0_CONN_RATE:
                return facts.sc0_conn_rate
            case _:
                return facts.nbsrv(self.backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A named or an anonymous ACL, perhaps turned round.

    Attributes:
        tests: One of them has to hold.
        is_negated: Whether none of them may.
        name: Of a named one.
    """

    tests: tuple[Look, ...]
    is_negated: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        demand(None if self.tests else "a term of a condition has no tests")

    def holds(self, facts: Facts) -> bool:
        """Return whether one of the tests holds, or none if it is turned round."""
        return any(test.holds(facts) for test in self.tests) is not self.is_negated


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What has to hold.

    Attributes:
        alternatives: One of them has to hold, with all of its terms.
        is_unless: Whether none of them may.
    """

    alternatives: tuple[tuple[Term, ...], ...]
    is_unless: bool = False

    def __post_init__(self) -> None:
        is_whole = self.alternatives and all(self.alternatives)
        demand(None if is_whole else "a condition lacks its terms")

    def holds(self, facts: Facts) -> bool:
        """Return whether it holds for what is known."""
        holds = any(all(term.holds(facts) for term in terms) for terms in self.alternatives)
        return holds is not self.is_unless


def _ipv4_in(number: int) -> int | None:
    """Return the IPv4 address in an IPv6 address; None: there is none."""
    if number >> 32 in (0, 0xFFFF):
        return number & _IPV4
    return number >> 80 & _IPV4 if number >> 112 == _6TO4 else None


def _by_shift(networks: Iterable[Network]) -> tuple[tuple[int, frozenset[int]], ...]:
    """Return, for each length of what hosts may choose, the networks without that part."""
    found: dict[int, set[int]] = {}
    for network in networks:
        shift = network.max_prefixlen - network.prefixlen
        found.setdefault(shift, set()).add(int(network.network_address) >> shift)
    return tuple((shift, frozenset(found[shift])) for shift in sorted(found))
