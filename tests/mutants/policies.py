"""Bugs of the policies."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/policy.py",
    tests=("tests/test_policy.py", "tests/test_policy_model.py"),
    mutants=(
        Mutant(
            bug="leastconn takes the first of the file among equals, and so always the same",
            old="return share, servers.moved(server)",
            new="return share, 0",
        ),
        Mutant(
            bug="leastconn weighs the sessions that there are without the one that comes",
            old="share = (load + 1) * 4096 // (16 * server.weight) if load else 0",
            new="share = load * 4096 // (16 * server.weight)",
        ),
        Mutant(
            bug="roundrobin forgets the turn of the one to avoid",
            old="for server in fit:\n            credit[server.name] =",
            new="for server in _without(fit, avoid):\n            credit[server.name] =",
        ),
        Mutant(
            bug="roundrobin lets the winner pay for those who are full as well",
            old="credit[best.name] -= sum(server.weight for server in fit)",
            new="credit[best.name] -= sum(server.weight for server in servers)",
        ),
        Mutant(
            bug="first goes by the place in the file and not by the id",
            old="key=lambda server: ids[server.name], default=None)",
            new="key=lambda server: list(ids).index(server.name), default=None)",
        ),
        Mutant(
            bug="a server that somebody waits for is not full, and newcomers overtake",
            old="return bool(load.queue) or len(load.placements) >= server.maxconn",
            new="return len(load.placements) >= server.maxconn",
        ),
        Mutant(
            bug="the ring does not hear of a weight that was changed",
            old="elif present[name] != weight:",
            new="elif not weight:",
        ),
        Mutant(
            bug="the map is made from the weights of those who are up, and so from another divisor",
            old="self._map = HashMap([(s.name, s.weight) for s in servers], servers.weights)",
            new="self._map = HashMap([(s.name, s.weight) for s in servers])",
        ),
        Mutant(
            bug="a policy of the user's own may send clients to a server that is down",
            old="if server is None or (isinstance(server, Server) and server in servers):",
            new="if server is None or isinstance(server, Server):",
        ),
    ),
)
