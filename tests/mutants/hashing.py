"""Bugs of the policies that ask a ring or a map, and of what they ask."""

from __future__ import annotations

from .planting import Mutant, Part

HASHMAP = "dsbalance/hashmap.py"

PART = Part(
    file="dsbalance/hashing.py",
    tests=(
        "tests/test_hashing.py",
        "tests/test_hashing_bounds.py",
        "tests/test_hashing_keys.py",
        "tests/test_hashing_random.py",
        "tests/test_hashmap.py",
        "tests/test_policy_model.py",
    ),
    mutants=(
        Mutant(
            bug="the ring does not hear of a weight that was changed",
            old="elif self.ring.weights[name] != share:",
            new="elif not share:",
        ),
        Mutant(
            bug="a server that comes back with another id keeps its old places",
            old="if starts.get(name) != self._starts[name]:",
            new="if name not in starts:",
        ),
        Mutant(
            bug="the bytes of an id are not swapped, as they are on the machines HAProxy runs on",
            old='int.from_bytes(number.to_bytes(4, "little"), "big")',
            new="number",
        ),
        Mutant(
            bug="a port is added to an address as it is, so that neighbours share their places",
            old="avalanche(server.port or 0) if",
            new="(server.port or 0) if",
        ),
        Mutant(
            bug="whoever has as many sessions as the factor allows gets one more",
            old="if servers.served(server) >= most",
            new="if servers.served(server) > most",
        ),
        Mutant(
            bug="the factor is one of the sessions of those who are up, without the others'",
            old="load_slots(shares, servers.all_served(), factor, before)",
            new="load_slots(shares, sum(map(servers.served, servers)), factor, before)",
        ),
        Mutant(
            bug="the sums of the shares are those of now, and not those of the start",
            old="load_slots(shares, servers.all_served(), factor, before)",
            new="load_slots(shares, servers.all_served(), factor)",
        ),
        Mutant(
            bug="whoever has just its part of the clients is passed over",
            old="if count * 100 * whole > bound * total * servers.shares[name]",
            new="if count * 100 * whole >= bound * total * servers.shares[name]",
        ),
        Mutant(
            bug="a light server may have as many clients as a heavy one",
            old="if count * 100 * whole > bound * total * servers.shares[name]",
            new="if count * 100 * len(clients) > bound * total",
        ),
        Mutant(
            bug="a redispatch is said to be for the sake of a bound",
            old="if name != owner and (avoid is None or owner != avoid.name):",
            new="if name != owner:",
        ),
        Mutant(
            bug="of two that are drawn the first one wins a tie",
            old="if mine <= servers.served(best)",
            new="if mine < servers.served(best)",
        ),
        Mutant(
            bug="of two that are drawn the one with fewer sessions wins, whatever its weight",
            old="if mine <= servers.served(best) * servers.shares[other.name]:",
            new="if servers.served(other) <= servers.served(best):",
        ),
        Mutant(
            bug="one is drawn more often than was asked for",
            old="range(self.draws - 1)",
            new="range(self.draws)",
        ),
        Mutant(
            bug="a full server that is drawn keeps the session to itself",
            old="return None if servers.is_full(best) else best",
            new="return best",
        ),
        Mutant(
            bug="the map is made from the weights of those who are up, and so from another divisor",
            old="self._map = HashMap([(s.name, s.weight) for s in servers], servers.weights)",
            new="self._map = HashMap([(s.name, s.weight) for s in servers])",
        ),
        Mutant(
            bug="the map rounds a weight that is no multiple of the divisor down",
            old="shares = [-(-weight // (divisor or 1)) for _, weight in members]",
            new="shares = [weight // (divisor or 1) for _, weight in members]",
            file=HASHMAP,
        ),
        Mutant(
            bug="of those who lack as much the last one gets the slot",
            old="best = rounds.index(max(rounds))",
            new="best = len(rounds) - 1 - rounds[::-1].index(max(rounds))",
            file=HASHMAP,
        ),
    ),
)
