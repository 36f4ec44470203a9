"""Bugs of who is given the choice, and of what a policy of the user's own may do."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/policy.py",
    tests=("tests/test_policy.py",),
    mutants=(
        Mutant(
            bug="a policy of the user's own may send clients to a server that is down",
            old="if server is None or (isinstance(server, Server) and server in servers):",
            new="if server is None or isinstance(server, Server):",
        ),
        Mutant(
            bug="who stands in for a policy of the user's own says that it was that one",
            old="self.reason = self._substitute.reason",
            new="self.reason = Reason.POLICY",
        ),
        Mutant(
            bug="a complaint is told again and again",
            old="self._count = 0\n        kind",
            new="kind",
        ),
        Mutant(
            bug="a bound on the clients is not passed on",
            old="factor=factor, bound=bound)",
            new="factor=factor)",
        ),
        Mutant(
            bug="two are drawn, however many were asked for",
            old="Random(backend.random_draws,",
            new="Random(2,",
        ),
        Mutant(
            bug="who stands in for a policy of the user's own does not hear who has gone",
            old="self._substitute.adapt(servers)",
            new="return",
        ),
    ),
)
