"""The ring and the map: where a client belongs, and who has room by a factor of the mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, TypeVar

M = TypeVar("M", bound=Hashable)

CIRCLE = 2**32


@cache
def mixed(a: int) -> int:
    """Jenkins's mix as he published it, every step modulo 2^32, and HAProxy's multiplication."""
    a = ((a + 0x7ED55D16) + (a << 12)) % CIRCLE
    a = ((a ^ 0xC761C23C) ^ (a >> 19)) % CIRCLE
    a = ((a + 0x165667B1) + (a << 5)) % CIRCLE
    a = ((a + 0xD3A2646C) ^ (a << 9)) % CIRCLE
    a = ((a + 0xFD7046C5) + (a << 3)) % CIRCLE
    a = ((a ^ 0xB55A4F09) ^ (a >> 16)) % CIRCLE
    return a * 3221225473 % CIRCLE


def xxh32(data: bytes, seed: int = 0) -> int:
    """XXH32 as its specification tells it: four lanes, the rest, a last mix."""
    p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393

    def turned(value: int, by: int) -> int:
        value %= CIRCLE
        return (value << by | value >> (32 - by)) % CIRCLE

    lanes = [seed + p1 + p2, seed + p2, seed, seed - p1]
    rest = data[len(data) - len(data) % 16 :]
    for start in range(0, len(data) - len(rest), 4):
        word = int.from_bytes(data[start : start + 4], "little")
        lane = start // 4 % 4
        lanes[lane] = turned(lanes[lane] + word * p2, 13) * p1
    if len(data) < 16:
        total = seed + p5
    else:
        total = sum(turned(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True))
    total += len(data)
    while len(rest) >= 4:
        total = turned(total + int.from_bytes(rest[:4], "little") * p3, 17) * p4
        rest = rest[4:]
    for byte in rest:
        total = turned(total + byte * p5, 11) * p1
    total %= CIRCLE
    total = (total ^ total >> 15) * p2 % CIRCLE
    total = (total ^ total >> 13) * p3 % CIRCLE
    return total ^ total >> 16


def base_of(
    kind: str,
    number: int,
    address: IPv4Address | IPv6Address | None = None,
    port: int = 0,
    guid: str | None = None,
) -> int:
    """Where a server's nodes are counted from, by ``hash-key``; without what it wants, by id."""
    if kind == "id32":
        return mixed(int.from_bytes(number.to_bytes(4, "big"), "little"))
    if kind == "guid" and guid is not None:
        return xxh32(guid.encode())
    if kind in {"addr", "addr-port"} and address is not None:
        seed = mixed(port) if kind == "addr-port" else 0
        if isinstance(address, IPv6Address):
            return xxh32(address.packed, seed)
        return mixed((seed + int.from_bytes(address.packed, "little")) % CIRCLE)
    return number * 4096 % CIRCLE


def source_value(packed: bytes) -> int:
    """The XOR of an address's words of four bytes."""
    value = 0
    for start in range(0, len(packed), 4):
        value ^= int.from_bytes(packed[start : start + 4], "big")
    return value


def nobody(_: object) -> bool:
    return False


class Ring(Generic[M]):
    """Nodes as (place, owner, index), by place; in one place the one that came first is first."""

    def __init__(self) -> None:
        self.weights: dict[M, int] = {}
        self.shares: dict[M, int] = {}
        self.nodes: list[tuple[int, M, int]] = []

    def resize(self, owner: M, number: int, weight: int) -> None:
        """Give an owner with this id the nodes of its weight; those that it may keep stay."""
        self.weights[owner] = weight
        self.spread(owner, base_of("id", number), 16 * weight)

    def spread(self, owner: M, base: int, share: int) -> None:
        """Give an owner whose nodes are counted from ``base`` as many as its share."""
        before = self.shares.get(owner, 0)
        self.shares[owner] = share
        self.nodes = [n for n in self.nodes if n[1] != owner or n[2] < share]
        for index in range(before, share):
            self.nodes.append((mixed((base + index) % CIRCLE), owner, index))
        self.nodes.sort(key=lambda node: node[0])

    def remove(self, owner: M) -> None:
        self.weights.pop(owner, None)
        del self.shares[owner]
        self.nodes = [node for node in self.nodes if node[1] != owner]

    def lookup(
        self, value: int, skip: Callable[[M], bool] = nobody, avoid: Callable[[M], bool] = nobody
    ) -> M | None:
        nodes = [node for node in self.nodes if not skip(node[1])]
        if not nodes:
            return None
        above = next((i for i, node in enumerate(nodes) if node[0] >= value), 0)
        below = above - 1 if above else len(nodes) - 1
        down = (value - nodes[below][0]) % CIRCLE
        up = (nodes[above][0] - value) % CIRCLE
        chosen = below if down <= up else above
        wraps = 0
        while avoid(nodes[chosen][1]):
            chosen += 1
            if chosen == len(nodes):
                wraps += 1
                chosen = 0
            if wraps == 2:
                chosen = len(nodes) - 1
                break
        return nodes[chosen][1]

    def preference(self, value: int) -> list[M]:
        """Who takes over, as those before are lost one after the other."""
        lost: list[M] = []
        while (owner := self.lookup(value, skip=lost.__contains__)) is not None:
            lost.append(owner)
        return lost


def map_slots(weights: Sequence[int], all_weights: Sequence[int]) -> list[int]:
    """Whose slot each is, as an index: it goes to whoever lacks most whole slots of its share."""
    divisor = math.gcd(*all_weights) or 1
    shares = {index: math.ceil(weight / divisor) for index, weight in enumerate(weights) if weight}
    total = sum(shares.values())
    slots: list[int] = []
    for turn in range(1, total + 1):
        lacking = {i: turn * share // total - slots.count(i) for i, share in shares.items()}
        slots.append(max(lacking, key=lambda index: lacking[index]))
    return slots


def load_slots(weights: Sequence[int], served: int, factor: int) -> list[int]:
    """The sessions that each may have: its part of ``factor`` percent of all, as HAProxy counts."""
    return share_slots([16 * weight for weight in weights], served, factor)


def share_slots(
    shares: Sequence[int], served: int, factor: int, befores: Sequence[int] | None = None
) -> list[int]:
    """The same for shares in sixteenths; ``befores``: what stood before each at the start."""
    if not shares:
        return []
    total = math.ceil(Fraction((served + 1) * factor, 100))
    whole = sum(shares)
    per, rest = divmod(total, whole)
    befores = [sum(shares[:i]) for i in range(len(shares))] if befores is None else befores
    return [
        max(1, share * per + (before + share) * rest // whole - before * rest // whole)
        for share, before in zip(shares, befores, strict=True)
    ]
