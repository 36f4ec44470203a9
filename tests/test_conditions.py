"""Conditions: what holds of a connection, beside a model and what HAProxy was seen to do."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.conditions import Condition, Fetch, Look, Network, Networks, Term
from dsbalance.errors import ConfigError


@dataclass
class Known:
    """What is known of a connection, said outright."""

    source: bytes = bytes((10, 0, 0, 1))
    dst_port: int = 5014
    sc0_conn_cur: int | None = None
    sc0_conn_rate: int | None = None
    servers: dict[str | None, int] = field(default_factory=dict)

    def nbsrv(self, backend: str | None) -> int | None:
        return self.servers.get(backend)


def src(*networks: str) -> Look:
    return Look(fetch=Fetch.SRC, networks=tuple(map(ipaddress.ip_network, networks)))


def number(fetch: Fetch, first: int | None, last: int | None, backend: str | None = None) -> Look:
    return Look(fetch=fetch, ranges=((first, last),), backend=backend)


def term(*tests: Look, is_negated: bool = False) -> Term:
    return Term(tests=tests, is_negated=is_negated)


YES = term(src("0.0.0.0/0", "::/0"))
NO = replace(YES, is_negated=True)


# -- addresses

# Sources against networks on HAProxy 2.6.12, each told to it by a PROXY header.
EVERYWHERE = ["0.0.0.0/0", "1.2.3.0/24", "::/0", "::ffff:1.2.3.0/120", "::ffff:0:0/95", "0.0.0.1"]
OBSERVED = {
    "::1": ["0.0.0.0/0", "::/0", "0.0.0.1"],
    "::2": ["0.0.0.0/0", "::/0"],
    "::1.2.3.4": ["0.0.0.0/0", "1.2.3.0/24", "::/0"],
    "::ffff:1.2.3.4": EVERYWHERE[:-1],
    "2002:102:304::1": ["0.0.0.0/0", "1.2.3.0/24", "::/0", "2002::/16", "2002:102:300::/40"],
    "64:ff9b::1.2.3.4": ["::/0"],
    "::ffff:0:1.2.3.4": ["::/0"],
    "fe80::1": ["::/0"],
    "2001:db8::1": ["::/0"],
    "2001:db8::1.2.3.4": ["::/0"],
    "1.2.3.4": EVERYWHERE[:-1],
    "0.0.0.1": ["0.0.0.0/0", "::/0", "::ffff:0:0/95", "0.0.0.1"],
}


@pytest.mark.parametrize("source", OBSERVED)
def test_a_source_is_in_the_networks_in_which_haproxy_finds_it(source: str) -> None:
    packed = ipaddress.ip_address(source).packed
    networks = [*EVERYWHERE, "2002::/16", "2002:102:300::/40", "0.0.0.0"]
    found = [n for n in networks if packed in Networks([ipaddress.ip_network(n, strict=False)])]
    assert set(found) == set(OBSERVED[source])


# Few bits, so that sources and networks meet.
_ints = st.sampled_from([0, 1, 2, 0x01020304, 0x01020305, 0x7F000001, 0x0A000000, 0xFFFFFFFF])
_ipv4 = _ints.map(IPv4Address)
_wide = st.one_of(
    _ints,
    _ints.map(lambda number: number | 0xFFFF << 32),
    _ints.map(lambda number: 0x2002 << 112 | number << 80 | 1),
    _ints.map(lambda number: 0x20010DB8 << 96 | number),
    st.integers(0, 2**128 - 1),
)
_addresses = st.one_of(_ipv4, _wide.map(IPv6Address))


@st.composite
def _networks(draw: st.DrawFn) -> Network:
    address = draw(_addresses)
    length = draw(st.integers(0, address.max_prefixlen))
    network: Network = ipaddress.ip_network((address, length), strict=False)
    return network


def _is_in(source: IPv4Address | IPv6Address, network: Network) -> bool:
    """Say by means of the standard library whether HAProxy takes a source to be in a network."""
    if isinstance(network, IPv6Network):
        wide = source if isinstance(source, IPv6Address) else IPv6Address(f"::ffff:{source}")
        return wide in network
    if isinstance(source, IPv4Address):
        return source in network
    compatible = IPv4Address(int(source)) if int(source) < 2**32 else None
    inner = source.ipv4_mapped or source.sixtofour or compatible
    return inner is not None and inner in network


@given(_addresses, st.lists(_networks(), max_size=6))
def test_a_source_is_looked_up_as_if_each_network_were_asked(
    source: IPv4Address | IPv6Address, networks: list[Network]
) -> None:
    expected = any(_is_in(source, network) for network in networks)
    assert (source.packed in Networks(networks)) is expected


def test_thousands_of_networks_of_one_size_are_one_look_up() -> None:
    networks = Networks(IPv4Network((n << 8, 24)) for n in range(0x0A0000, 0x0A2000))
    assert IPv4Address("10.31.255.255").packed in networks
    assert IPv4Address("10.32.0.0").packed not in networks


# -- numbers


@pytest.mark.parametrize(
    ("first", "last", "matching"),
    [(3, 3, [3]), (3, None, [3, 4, 9]), (None, 3, [0, 2, 3]), (2, 3, [2, 3])],
)
def test_a_range_holds_from_its_first_number_to_its_last(
    first: int | None, last: int | None, matching: list[int]
) -> None:
    look = number(Fetch.DST_PORT, first, last)
    assert [n for n in (0, 2, 3, 4, 9) if look.holds(Known(dst_port=n))] == matching


def test_one_of_several_ranges_is_enough() -> None:
    look = Look(fetch=Fetch.DST_PORT, ranges=((1, 2), (7, None)))
    assert [n for n in range(9) if look.holds(Known(dst_port=n))] == [1, 2, 7, 8]


@pytest.mark.parametrize(
    ("look", "facts"),
    [
        (number(Fetch.SC0_CONN_CUR, 5, 5), Known(sc0_conn_cur=5)),
        (number(Fetch.SC0_CONN_RATE, 5, 5), Known(sc0_conn_rate=5)),
        (number(Fetch.NBSRV, 5, 5, "b"), Known(servers={"b": 5, "c": 4})),
        (number(Fetch.NBSRV, 5, 5), Known(servers={None: 5})),
        (number(Fetch.DST_PORT, 5, 5), Known(dst_port=5)),
    ],
)
def test_each_fetch_looks_at_its_own_number(look: Look, facts: Known) -> None:
    assert look.holds(facts)
    assert not replace(look, ranges=((None, 4), (6, None))).holds(facts)


@pytest.mark.parametrize("fetch", [Fetch.SC0_CONN_CUR, Fetch.SC0_CONN_RATE, Fetch.NBSRV])
def test_a_test_of_what_is_not_known_does_not_hold_and_turned_round_it_does(fetch: Fetch) -> None:
    look = number(fetch, None, None)
    assert not term(look).holds(Known())
    assert term(look, is_negated=True).holds(Known())


# -- terms and conditions


def test_a_term_holds_if_one_of_its_tests_does() -> None:
    either = term(src("10.0.0.2"), number(Fetch.DST_PORT, 5014, 5014))
    neither = replace(either, is_negated=True)
    for facts in (Known(), Known(source=bytes((10, 0, 0, 2)), dst_port=1)):
        assert either.holds(facts)
        assert not neither.holds(facts)
    assert neither.holds(Known(dst_port=1))


@pytest.mark.parametrize(
    ("alternatives", "expected"),
    [
        ([[YES]], True),
        ([[NO]], False),
        ([[YES, NO]], False),
        ([[YES, YES]], True),
        ([[NO], [YES]], True),
        ([[NO, YES], [YES, NO]], False),
    ],
)
def test_a_condition_holds_if_all_terms_of_one_alternative_do(
    alternatives: Sequence[Sequence[Term]], expected: bool
) -> None:
    condition = Condition(alternatives=tuple(map(tuple, alternatives)))
    assert condition.holds(Known()) is expected
    assert replace(condition, is_unless=True).holds(Known()) is not expected


# -- what is refused


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"fetch": "src"}, "src: there is nothing to compare it with"),
        ({"fetch": "dst_port"}, "dst_port: there is nothing to compare it with"),
        (
            {"fetch": "src", "networks": (IPv4Network("10.0.0.0/8"),), "ranges": ((1, 2),)},
            "src is not compared with ranges",
        ),
        (
            {"fetch": "nbsrv", "ranges": ((1, 2),), "networks": (IPv6Network("::/0"),)},
            "nbsrv is not compared with networks",
        ),
        ({"fetch": "dst_port", "ranges": ((2, 1),)}, "a range goes upwards, not from 2 to 1"),
        (
            {"fetch": "dst_port", "ranges": ((2, None),), "backend": "b"},
            "dst_port does not look at a backend",
        ),
        ({"fetch": "path", "ranges": ((2, None),)}, "fetch must be one of src, dst_port"),
    ],
)
def test_a_test_that_makes_no_sense_is_refused(words: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Look(**words)  # type: ignore[arg-type]


def test_the_word_of_a_fetch_stands_for_it() -> None:
    look = Look(fetch="dst_port", ranges=((1, 1),))  # type: ignore[arg-type]
    assert look.fetch is Fetch.DST_PORT


def test_terms_and_conditions_are_not_empty() -> None:
    with pytest.raises(ConfigError, match="has no tests"):
        Term(tests=())
    for alternatives in ((), ((),), ((YES,), ())):
        with pytest.raises(ConfigError, match="lacks its terms"):
            Condition(alternatives=alternatives)


def test_tests_are_equal_if_they_say_the_same() -> None:
    assert src("10.0.0.0/8") == src("10.0.0.0/8")
    assert hash(src("10.0.0.0/8")) == hash(src("10.0.0.0/8"))
    assert src("10.0.0.0/8") != src("10.0.0.0/9")
    assert "_networks" not in repr(src("10.0.0.0/8"))
