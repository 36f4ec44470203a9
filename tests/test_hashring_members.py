"""Keys, members and nodes: what a ring takes, and that every process places it alike."""

from __future__ import annotations

import doctest
import enum
import os
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from dsbalance import hashring
from dsbalance.hashring import HashRing, source_hash
from models import CIRCLE, nobody

# Keys and members.


def test_an_address_and_its_integer_are_one_key() -> None:
    ring = HashRing([1, 2, 3])
    for text in ("10.0.0.1", "255.255.255.255", "::1", "2001:db8::7", "::ffff:10.0.0.1"):
        address = ip_address(text)
        assert ring.hash_of(address) == ring.hash_of(int(address))
        assert ring.hash_of(address) == models.mixed(source_hash(address.packed))
    assert HashRing[int](avalanche=False).hash_of(IPv4Address("10.0.0.1")) == 0x0A000001


def test_text_and_bytes_are_hashed_by_crc32_mixed_or_not() -> None:
    for is_mixed in (True, False):
        ring: HashRing[int] = HashRing(avalanche=is_mixed)
        assert ring.hash_of("123456789") == ring.hash_of(b"123456789") == 0xCBF43926
        assert ring.hash_of("\udc80") == ring.hash_of(b"\xed\xb2\x80")


@pytest.mark.parametrize("packed", [b"", b"\x7f\0\0", b"\0" * 15, b"\0" * 17])
def test_a_source_of_another_length_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="4 or 16 bytes"):
        source_hash(packed)


def test_a_key_that_is_negative_or_of_another_type_is_refused() -> None:
    ring = HashRing(["a"])
    with pytest.raises(ValueError, match="must not be negative"):
        ring.lookup(-1)
    with pytest.raises(TypeError, match=r"not 1\.5"):
        ring.lookup(1.5)  # type: ignore[arg-type]


class Colour(enum.Enum):
    RED = 1


def test_any_hashable_with_a_lasting_repr_is_a_member() -> None:
    members = (
        *("a", "\udc80", b"a2", 0, 7, -7, 2.5, True, Colour.RED, ("10.0.0.1", 80)),
        *(IPv4Address("10.0.0.1"), IPv6Address("::1"), IPv6Address("fe80::1%eth0")),
        *(IPv6Address("fe80::1"), "in a str: at 0x7f, set({"),
    )
    ring: HashRing[object] = HashRing(members)
    ring._check()
    assert len(set(ring._layout.keys)) == 16 * len(members)
    assert set(ring.preference("client")) == set(members)


@pytest.mark.parametrize(
    "member", [object(), nobody, (1, object()), frozenset("ab"), (frozenset("ab"),)]
)
def test_a_member_that_another_process_would_not_know_wants_an_id(member: object) -> None:
    with pytest.raises(TypeError, match="identify="):
        HashRing([member])
    ring = HashRing([member], identify=lambda _: 3)
    assert ring.weights == {member: 1}
    assert ring._layout.keys == HashRing([3])._layout.keys


def test_what_cannot_be_on_a_ring_changes_nothing() -> None:
    ring: HashRing[object] = HashRing({"a": 1})
    attempts: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (ValueError, "'a' is on the ring", lambda: ring.add("a")),
        (ValueError, "weight must be 0 to 256, not 257", lambda: ring.add("b", 257)),
        (ValueError, "weight must be 0 to 256, not -1", lambda: ring.add("b", -1)),
        (ValueError, "weight must be 0 to 256, not -1", lambda: ring.reweight("a", -1)),
        (ValueError, "weight must be 0 to 256, not 300", lambda: ring.reweight("a", 300)),
        (TypeError, "None cannot be a member", lambda: ring.add(None)),
        (TypeError, "identify=", lambda: ring.add(object())),
        (KeyError, "'b'", lambda: ring.remove("b")),
        (KeyError, "'b'", lambda: ring.reweight("b", 1)),
    ]
    for error, match, attempt in attempts:
        with pytest.raises(error, match=match):
            attempt()
        ring._check()
        assert ring.weights == {"a": 1}


def test_a_ring_that_cannot_be_made_says_why() -> None:
    with pytest.raises(ValueError, match="'a' is given twice"):
        HashRing(["a", "b", "a"])
    with pytest.raises(ValueError, match="weight must be 0 to 256, not -1"):
        HashRing({"a": -1})
    with pytest.raises(ValueError, match="an id must not be negative, which -5 is"):
        HashRing(["a"], identify=lambda _: -5)


# Processes, and the manual.

CHOICES = """
import hashlib
from ipaddress import IPv4Address
from dsbalance.hashring import HashRing
address = IPv4Address("10.0.0.2")
ring = HashRing({"paragon": 3, b"phoenix": 1, 7: 2, ("10.0.0.1", 80): 1, address: 2})
keys = [number * 7919 if number % 2 else f"client-{number}" for number in range(10_000)]
answers = "\\n".join(repr(ring.lookup(key)) for key in keys)
print(hashlib.sha256(answers.encode()).hexdigest())
"""
CHOICES_SHA256 = "f9d71afc8e436cf63c29c355bfc383df10e0461a0101d32d51a549262d659baa"


@pytest.mark.parametrize("seed", ["1", "2"])
def test_every_process_chooses_the_same(seed: str) -> None:
    root = Path(hashring.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", CHOICES],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == CHOICES_SHA256


def test_the_examples_in_the_docstrings_are_true() -> None:
    results = doctest.testmod(hashring)
    assert results.attempted == 4
    assert results.failed == 0


# Neighbours.


few_nodes = st.dictionaries(st.integers(0, 50), st.integers(1, 2), min_size=1)


@given(few_nodes, st.integers(0, CIRCLE - 1))
def test_a_hash_lies_between_its_neighbours_and_the_nearer_one_owns_it(
    pool: dict[int, int], value: int
) -> None:
    ring: HashRing[int] = HashRing(pool)
    below, above = ring.neighbours(value)
    down, up = (value - below.place) % CIRCLE, (above.place - value) % CIRCLE
    assert ring.lookup_hash(value) == (below if down <= up else above).member
    places = [key for key in ring._layout.keys if key not in {below.place, above.place}]
    assert not any((place - below.place) % CIRCLE < down + up for place in places)


def test_a_ring_of_nobody_has_no_neighbours() -> None:
    with pytest.raises(IndexError):
        HashRing[str]().neighbours(5)


def test_nodes_are_counted_from_where_it_is_said_and_so_many_for_a_unit() -> None:
    ids = {"a": 1, "b": 2}
    usual = HashRing({"a": 1, "b": 2}, identify=ids.__getitem__)
    said = HashRing({"a": 16, "b": 32}, start=lambda name: 4096 * ids[name] + CIRCLE, nodes=1)
    assert said._layout.keys == usual._layout.keys
    assert said._layout.holders == usual._layout.holders
    said._check()
    assert HashRing({"a": 4096}, nodes=1).weights == {"a": 4096}
    with pytest.raises(ValueError, match="weight must be 0 to 4096, not 4097"):
        HashRing({"a": 4097}, nodes=1)
