"""Bugs of the balancer and of what it is made of."""

from __future__ import annotations

from .planting import Mutant, Part

AFTERMATH = "dsbalance/aftermath.py"
CHOOSING = "dsbalance/choosing.py"
MEMORY = "dsbalance/memory.py"
PLACEMENT = "dsbalance/placement.py"
QUEUEING = "dsbalance/queueing.py"
RETRYING = "dsbalance/retrying.py"
ROSTER = "dsbalance/roster.py"

PART = Part(
    file="dsbalance/balancer.py",
    tests=(
        "tests/test_balancer.py",
        "tests/test_balancer_golden.py",
        "tests/test_balancer_model.py",
        "tests/test_aftermath.py",
        "tests/test_choosing.py",
        "tests/test_memory.py",
        "tests/test_placement.py",
        "tests/test_queueing.py",
        "tests/test_retrying.py",
        "tests/test_roster.py",
    ),
    mutants=(
        Mutant(
            bug="a session that is released twice frees its place twice",
            old="if stage is _RELEASED:\n            return []",
            new="if stage is _DISPLACED:\n            return []",
        ),
        Mutant(
            bug="whoever leaves does not count any more when its server's queue is looked at",
            old="heirs = placement.heirs\n",
            new="heirs = placement.heirs\n        self.counters.current -= 1\n",
        ),
        Mutant(
            bug="a server that connects is still held to account for what failed before",
            old="placement.server.errors = 0",
            new="placement.server.errors += 0",
        ),
        Mutant(
            bug="a drained server loses the clients that stick to it",
            old="if state is not None and (state.is_running or self._is_lasting):",
            new="if state is not None and (state.is_usable or self._is_lasting):",
            file=MEMORY,
        ),
        Mutant(
            bug="a server that is down keeps its clients only where it is up",
            old="if state is not None and (state.is_running or self._is_lasting):",
            new="if state is not None and state.is_running:",
            file=MEMORY,
        ),
        Mutant(
            bug="a name that another backend has stored says nothing to this one",
            old="state = servers.get(name) or self._by_id.get(table.ids.get(name, 0))",
            new="state = servers.get(name)",
            file=MEMORY,
        ),
        Mutant(
            bug="an entry that expired while the server was being connected to is held",
            old="is_written else table.peek(key, now)",
            new="is_written else table.peek(key, now - 1e9)",
            file=MEMORY,
        ),
        Mutant(
            bug="a client is stuck to a server that nobody is to be stuck to",
            old="is_written = is_stored and not server.non_stick",
            new="is_written = is_stored",
            file=MEMORY,
        ),
        Mutant(
            bug="a redispatched session still counts as bound to its server, and waits there",
            old="placement.is_persistent = False\n        placement.stage",
            new="placement.stage",
            file=CHOOSING,
        ),
        Mutant(
            bug="a redispatch may go to the server that has just failed",
            old="self.place(placement, left.server)",
            new="self.place(placement, None)",
            file=CHOOSING,
        ),
        Mutant(
            bug="a session that moves on does not hand its place to those who wait for it",
            old="admitted = self._places.vacate(placement, state, self._roster.candidates)",
            new="self._places.vacate(placement, state, self._roster.candidates)\n"
            "        admitted = ()",
            file=CHOOSING,
        ),
        Mutant(
            bug="a session that has to pause is sent on first, perhaps to a server that goes down",
            old="if not delay:",
            new="if delay >= 0:",
            file=CHOOSING,
        ),
        Mutant(
            bug="a newcomer overtakes those who wait for any server",
            old="if waiting and self._is_in_turn:",
            new="if waiting and candidates.is_backup:",
            file=CHOOSING,
        ),
        Mutant(
            bug="who finds the only backup full waits for any server, and not for that one",
            old="_LOOKING = (StaticRoundRobin, Random)",
            new="_LOOKING = (StaticRoundRobin, Random, RoundRobin, First)",
            file=CHOOSING,
        ),
        Mutant(
            bug="the policy of the backups hears of those who have gone when they are needed",
            old="self.policies[1].adapt(backups)",
            new="return",
            file=CHOOSING,
        ),
        Mutant(
            bug="a client whose server's queue is full may not go elsewhere",
            old="if not self._roster.backend.redispatch:\n",
            new="if not self._roster.backend.redispatch or placement:\n",
            file=CHOOSING,
        ),
        Mutant(
            bug="static-rr begins anew for the backups",
            old="active if isinstance(active, StaticRoundRobin) else backups",
            new="backups",
            file=CHOOSING,
        ),
        Mutant(
            bug="only the last retry may go elsewhere, however often that is asked for",
            old="return not (placement.is_persistent or self._is_hash) and usable > 1",
            new="return False",
            file=RETRYING,
        ),
        Mutant(
            bug="a server that starts slowly is tried again like any other",
            old="is_steady = state.op is OpState.RUNNING or state.op is OpState.STOPPING",
            new="is_steady = state.is_running",
            file=RETRYING,
        ),
        Mutant(
            bug="a session that goes to another server waits before it does",
            old="not (is_moving and usable > 1)",
            new="not (is_moving and usable > 9)",
            file=RETRYING,
        ),
        Mutant(
            bug="a server that is back stands before its equals, since it was idle for longest",
            old="if state.is_usable:\n            places.touch(state",
            new="if not state.is_usable:\n            places.touch(state",
            file=AFTERMATH,
        ),
        Mutant(
            bug="a policy hears of a change when it is asked next, and not at once",
            old='"""Decide what a change of a server means for the sessions."""\n'
            "        if shift is None:\n            return []\n        self._chooser.adapt()\n",
            new='"""Decide what a change of a server means for the sessions."""\n'
            "        if shift is None:\n            return []\n",
            file=AFTERMATH,
        ),
        Mutant(
            bug="a server that comes up ends the sessions of those who came to it before it went",
            old="for other in self._roster.states.values() if other.server.backup)",
            new="for other in self._roster.states.values())",
            file=AFTERMATH,
        ),
        Mutant(
            bug="a server without a weight ends the sessions of the backups when it comes up",
            old=" and state.share > 0\n",
            new="\n",
            file=AFTERMATH,
        ),
        Mutant(
            bug="who waits for a server that stops goes on to wait",
            old='state.word in {"DRAIN", "NOLB"}',
            new='state.word == "DRAIN"',
            file=AFTERMATH,
        ),
        Mutant(
            bug="a place goes to those who wait for this server before those who came earlier",
            old="shared[0].ticket < own[0].ticket",
            new="shared[0].ticket < 0",
            file=QUEUEING,
        ),
        Mutant(
            bug="a server that is drained lets in those who wait for any",
            old="is_open = state.is_usable and state.name in candidates",
            new="is_open = state.is_running",
            file=QUEUEING,
        ),
        Mutant(
            bug="those who wait for a server that is lost stay bound to it",
            old="placement.is_persistent = False",
            new="placement.is_persistent = True",
            file=QUEUEING,
        ),
        Mutant(
            bug="one is let in where there is room for several",
            old="heirs.append(heir)",
            new="heirs.append(heir)\n            break",
            file=QUEUEING,
        ),
        Mutant(
            bug="one more than may wait for a server does",
            old="if most is not None and len(state.queue) >= most:",
            new="if most is not None and len(state.queue) > most:",
            file=QUEUEING,
        ),
        Mutant(
            bug="all backups serve where only the first one should",
            old="elif self.backend.allbackups:",
            new="elif backups.servers:",
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
            bug="failed connects are forgotten only when they have led to something",
            old="            return None\n        state.errors = 0\n",
            new="            return None\n",
            file=ROSTER,
        ),
        Mutant(
            bug="a server that starts slowly goes on where it was when it is drained in between",
            old="state.admin = admin\n            state.begin_again(now)",
            new="state.admin = admin",
            file=ROSTER,
        ),
        Mutant(
            bug="a server of weight 0 still gets new clients",
            old=" and is_ready and self.share > 0",
            new=" and is_ready",
            file=PLACEMENT,
        ),
        Mutant(
            bug="a server that is up at the start begins slowly, as if it had been down",
            old="self.op = OpState.RUNNING\n        self.settle(now)",
            new="self.op = OpState.STOPPED\n        self.settle(now)",
            file=PLACEMENT,
        ),
        Mutant(
            bug="a limit that grows with the backend's sessions has no least",
            old="limit = max(least, crowd.counters.current * limit // crowd.fullconn)",
            new="limit = crowd.counters.current * limit // crowd.fullconn",
            file=PLACEMENT,
        ),
        Mutant(
            bug="a server that starts slowly has all its places at once",
            old="return limit if self._percent == 100 else max(1, limit * self._percent // 100)",
            new="return limit",
            file=PLACEMENT,
        ),
        Mutant(
            bug="a server of a static policy has parts of its weight",
            old="if not self._crowd.is_static:",
            new="if self._crowd:",
            file=PLACEMENT,
        ),
    ),
)
