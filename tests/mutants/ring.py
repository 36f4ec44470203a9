"""Bugs of the ring."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/hashring.py",
    tests=(
        "tests/test_hashring.py",
        "tests/test_hashring_members.py",
        "tests/test_hashring_threads.py",
    ),
    mutants=(
        Mutant(
            # Of uhashring: with a=10 and b=1, then a=1, then a removed, a keeps 895 of 1,000 keys.
            bug="who has lost weight and leaves, leaves the nodes of its old weight behind",
            old="lost = set(points[self._nodes * weight :])",
            new="lost = set() if weight else set(points)",
        ),
        Mutant(
            # Of ketama's way to weigh: losing one of the servers moved 7.6 % of the other clients.
            bug="a member's nodes are its share of a fixed total, so a change moves clients of all",
            old="return _Layout(weights, keys, holders)",
            new="whole = sum(weights.values()) or 1\n"
            "        share = {m: 64 * len(weights) * w // whole for m, w in weights.items()}\n"
            "        nodes = [(k, m) for m in share for k in _points(self._starts[m], share[m])]\n"
            "        return _Layout(weights, [k for k, _ in nodes], [m for _, m in nodes])",
        ),
        Mutant(
            bug="of two nodes that are equally near, the upper one has the key",
            old="between = [(low + high) >> 1",
            new="between = [(low + high - 1) >> 1",
        ),
        Mutant(
            bug="the arc over the wrap ends one place too early",
            old="last = (self.keys[-1] + self.keys[0] + _U32 + 1) >> 1",
            new="last = (self.keys[-1] + self.keys[0] + _U32 - 1) >> 1",
        ),
        Mutant(
            bug="who comes back stands in front of the nodes that others have in the same place",
            old="return _Layout(weights, keys, holders)",
            new="count = len(gained)\n"
            "        keys = gained + keys[: len(keys) - count]\n"
            "        holders = [member] * count + holders[: len(holders) - count]\n"
            "        return _Layout(weights, keys, holders)",
        ),
        Mutant(
            bug="a redispatch walks downwards when the lower neighbour owned the key",
            old="found = self._first(iter(range(lowest, lowest + count)),",
            new="found = self._first(iter(range(start, start - count, -1)),",
        ),
        Mutant(
            bug="a ring is changed in two stores, and a look-up between them finds no owner",
            old="self._layout = self._resized(member, 0, weights)",
            new="self._layout.owners.clear()\n"
            "        self._layout = self._resized(member, 0, weights)",
        ),
        Mutant(
            bug="every process hashes names in its own way",
            old='return crc32(key.encode("utf-8", "surrogatepass"))',
            new="return hash(key) & _U32",
        ),
        Mutant(
            bug="a session that is being placed does not count for the slots",
            old="total = -(-(served + 1) * factor // 100)",
            new="total = -(-served * factor // 100)",
        ),
    ),
)
