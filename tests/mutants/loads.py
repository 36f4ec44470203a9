"""Bugs of the policies that ask what the servers carry, and of what they are told."""

from __future__ import annotations

from .planting import Mutant, Part

CANDIDATES = "dsbalance/candidates.py"

PART = Part(
    file="dsbalance/loads.py",
    tests=("tests/test_loads.py", "tests/test_candidates.py", "tests/test_policy_model.py"),
    mutants=(
        Mutant(
            bug="leastconn lets nobody wait where that is allowed",
            old="limit + (server.maxqueue or 0)",
            new="limit",
        ),
        Mutant(
            bug="first goes by the place in the file and not by the id",
            old="key=lambda server: servers.ids[server.name], default=None)",
            new="key=lambda server: list(servers.ids).index(server.name), default=None)",
        ),
        Mutant(
            bug="the one that just failed is not even taken where there is no other",
            old="if avoid is None or len(servers) == 1:",
            new="if avoid is None:",
        ),
        Mutant(
            bug="leastconn takes the first of the file among equals, and so always the same",
            old="if carried else 0, load.moved",
            new="if carried else 0, 0",
            file=CANDIDATES,
        ),
        Mutant(
            bug="leastconn weighs the sessions that there are without the one that comes",
            old="return (carried + 1) * 4096 // load.share if carried else 0",
            new="return carried * 4096 // load.share",
            file=CANDIDATES,
        ),
        Mutant(
            bug="leastconn counts those who began to wait since a session came or went",
            old="carried = load.moved_load",
            new="carried = len(load.placements) + len(load.queue)",
            file=CANDIDATES,
        ),
        Mutant(
            bug="a server that somebody waits for is not full, and newcomers overtake",
            old="return bool(load.queue) or (limit",
            new="return (limit",
            file=CANDIDATES,
        ),
        Mutant(
            bug="the sessions of those who may not be chosen do not count for the backend",
            old="return sum(len(load.placements) for load in self._loads.values())",
            new="return sum(len(self._loads[name].placements) for name in self._by_name)",
            file=CANDIDATES,
        ),
    ),
)
