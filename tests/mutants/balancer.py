"""Bugs of the balancer and of what it is made of."""

from __future__ import annotations

from .planting import Mutant, Part

ROSTER = "dsbalance/roster.py"
QUEUEING = "dsbalance/queueing.py"
PLACEMENT = "dsbalance/placement.py"

PART = Part(
    file="dsbalance/balancer.py",
    tests=(
        "tests/test_balancer.py",
        "tests/test_balancer_model.py",
        "tests/test_placement.py",
        "tests/test_queueing.py",
        "tests/test_roster.py",
    ),
    mutants=(
        Mutant(
            bug="a session that is released twice frees its place twice",
            old="if stage is _RELEASED:\n            return []",
            new="if stage is _DISPLACED:\n            return []",
        ),
        Mutant(
            bug="a drained server loses the clients that stick to it",
            old="if state is not None and state.is_running:",
            new="if state is not None and state.is_usable:",
        ),
        Mutant(
            bug="a redispatched session still counts as bound to its server, and waits there",
            old="placement.is_persistent = False\n        self._place(",
            new="self._place(",
        ),
        Mutant(
            bug="a redispatch may go to the server that has just failed",
            old="self._place(placement, state.server)",
            new="self._place(placement, None)",
        ),
        Mutant(
            bug="a session that moves on does not hand its place to those who wait for it",
            old="admitted = self._places.vacate(placement, state, self._roster.candidates)",
            new="self._places.vacate(placement, state, self._roster.candidates)\n"
            "        admitted = ()",
        ),
        Mutant(
            bug="an entry that expired while the server was being connected to is held",
            old="name = server.name if is_written else table.peek(key, now)",
            new="name = server.name if is_written else table.peek(key, now - 1e9)",
        ),
        Mutant(
            bug="a client is stuck to a server that nobody is to be stuck to",
            old="is_written = is_stored and not server.non_stick",
            new="is_written = is_stored",
        ),
        Mutant(
            bug="only the last retry may go elsewhere, however often that is asked for",
            old="return not (placement.is_persistent or self._is_hash) and active > 1",
            new="return False",
        ),
        Mutant(
            bug="a server that is back stands before its equals, since it was idle for longest",
            old="if state.is_usable:\n            places.touch(state)",
            new="if not state.is_usable:\n            places.touch(state)",
        ),
        Mutant(
            bug="a place goes to those who wait for this server before those who came earlier",
            old="shared[0].ticket < own[0].ticket",
            new="shared[0].ticket < 0",
            file=QUEUEING,
        ),
        Mutant(
            bug="a server that is drained lets in those who wait for any",
            old="is_open = shared and state.is_usable and state.name in candidates",
            new="is_open = shared and state.is_running",
            file=QUEUEING,
        ),
        Mutant(
            bug="those who wait for a server that is lost stay bound to it",
            old="placement.is_persistent = False",
            new="placement.is_persistent = True",
            file=QUEUEING,
        ),
        Mutant(
            bug="all backups serve where only the first one should",
            old="active or (backups if self.backend.allbackups else backups[:1])",
            new="active or backups",
            file=ROSTER,
        ),
        Mutant(
            bug="a check that comes late counts for a server in maintenance",
            old='Count a failed check, unless the server is gone or in maintenance."""\n'
            "        state = self.states.get(name)\n"
            "        if state is None or state.is_in_maintenance:",
            new='Count a failed check, unless the server is gone."""\n'
            "        state = self.states.get(name)\n"
            "        if state is None:",
            file=ROSTER,
        ),
        Mutant(
            bug="a server that was down when it went into maintenance comes out of it down",
            old="if AdminState.MAINT is state.admin is not admin and state.leader is None:",
            new="if AdminState.MAINT is state.admin is admin and state.leader is None:",
            file=ROSTER,
        ),
        Mutant(
            bug="a server of weight 0 still gets new clients",
            old="self.is_usable = self.is_running and is_ready and self.server.weight > 0",
            new="self.is_usable = self.is_running and is_ready",
            file=PLACEMENT,
        ),
    ),
)
