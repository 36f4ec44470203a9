"""Who is chosen for a session, and what becomes of it if there is no room. No I/O, no clock.

    usable servers are                    chosen by
    active                                their policy
    backups alone, ``option allbackups``  a policy of theirs
    backups alone, without it             nobody: it is the first of them; but static-rr and random
                                          are asked, and may find it full

    then it                               the session
    has room                              gets a place there
    is full                               waits in its queue
    is full, and so is its queue          is refused; but if a stick entry sent it there, and with
                                          ``option redispatch``, it is decided anew
    is nobody                             waits in the backend's queue

Source: the HAProxy 2.6 manual, server ``maxqueue`` and ``option allbackups``; who overtakes whom
was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from dsbalance.candidates import Policy, Reason
from dsbalance.errors import NoServerError
from dsbalance.hashing import Random, SourceConsistent
from dsbalance.loads import First
from dsbalance.model import Backend, Server
from dsbalance.placement import Placement, Retry, ServerState, Stage
from dsbalance.policy import BuiltIn, Guarded, built_in, guarded
from dsbalance.queueing import Places
from dsbalance.roster import Roster, complaint
from dsbalance.turns import RoundRobin, StaticRoundRobin

# Whoever is chosen by one of these finds nobody in the backend's queue, or waits there too.
_IN_TURN = (RoundRobin, StaticRoundRobin, First)
# These are asked for the only backup too, and see that it is full; with the others a session waits
# for it, and for it alone.
_LOOKING = (StaticRoundRobin, Random)

Policies = tuple[BuiltIn | Guarded, BuiltIn | Guarded]
"""One for the active servers, one for the backups: each keeps what it knows of its own."""


def make_policies(backend: Backend, own: Policy | None) -> Policies:
    """Return new policies as ``balance`` says, or guards around one of the user's ``own``."""
    if own is not None:
        return guarded(own, backend), guarded(own, backend)
    active, backups = built_in(backend), built_in(backend)
    # This one's walk goes on in whatever table there is.
    return active, active if isinstance(active, StaticRoundRobin) else backups


class Chooser:
    """The choices of one backend. For the loop's thread alone.

    Args:
        policies: See :data:`Policies`.
        roster: Who may be chosen.
        places: Where there is room.
    """

    __slots__ = ("_is_in_turn", "_is_looking", "_places", "_roster", "policies")

    def __init__(self, policies: Policies, roster: Roster, places: Places) -> None:
        self.policies = policies
        self._roster = roster
        self._places = places
        self._is_in_turn = isinstance(policies[0], _IN_TURN)
        self._is_looking = isinstance(policies[0], _LOOKING)

    def adapt(self) -> None:
        """Tell the policies who has come or gone; at once, for it decides on what they choose."""
        active, backups = self._roster.pools
        if self._is_looking:
            self.policies[self._roster.candidates.is_backup].adapt(self._roster.candidates)
            return
        self.policies[0].adapt(active)
        if self._roster.backend.allbackups:
            self.policies[1].adapt(backups)

    def place(self, placement: Placement, avoid: Server | None) -> None:
        """Let the policy decide, and give the session a place or a turn accordingly.

        Raises:
            NoServerError: Nothing is usable, or the queue of whoever was chosen is full.
        """
        candidates = self._roster.candidates
        if not candidates.servers:
            self._roster.counters.connect_errors += 1
            raise NoServerError(self._roster.backend.name, complaint(self._roster.states.values()))
        policy = self.policies[candidates.is_backup]
        waiting = self._places.shared
        if waiting and self._is_in_turn:
            server = None  # nobody overtakes
        elif candidates.is_backup and not (self._roster.backend.allbackups or self._is_looking):
            server = candidates.servers[0]
        else:
            server = policy.choose(placement.client, candidates, avoid)
        placement.reason = Reason.BACKUP if candidates.is_backup else policy.reason
        if server is None:
            self._places.wait(placement)
            return
        state = self._roster.states[server.name]
        if state is not placement.server:
            state.counters.chosen += 1
        if not self._places.assign(placement, state):
            raise self._refused(state)

    def overflow(self, placement: Placement, state: ServerState) -> None:
        """Send a client elsewhere for whom there is no room in the queue of its server.

        Raises:
            NoServerError: It may not go elsewhere, or there is no room either.
        """
        if not self._roster.backend.redispatch:
            raise self._refused(state)
        state.counters.redispatches += 1
        placement.is_persistent = False
        self.place(placement, state.server)
        placement.reason = Reason.REDISPATCH

    def _refused(self, state: ServerState) -> NoServerError:
        """Count a session for which a server's queue had no room, and return what to raise."""
        state.counters.connect_errors += 1
        return NoServerError(
            self._roster.backend.name, f"the queue of {state.name} is full", is_full=True
        )

    def redispatch(self, placement: Placement, state: ServerState, delay: float) -> Retry | None:
        """Take a session's place from it, and decide anew; None: nobody can take it.

        If there is a pause before the next attempt, the decision comes after it, by :meth:`move`.
        """
        # First those who wait for this server; whoever left it stands behind them.
        admitted = self._places.vacate(placement, state, self._roster.candidates)
        placement.is_persistent = False
        placement.stage = Stage.DISPLACED
        if not delay:
            try:
                self.move(placement)
            except NoServerError:
                placement.heirs = admitted
                return None
        return Retry(placement=placement, delay=delay, admitted=admitted)

    def move(self, placement: Placement) -> None:
        """Decide for a session that holds nothing, and avoid the server that it comes from.

        Raises:
            NoServerError: As :meth:`place`.
        """
        left = placement.server
        if left is None:
            self.place(placement, None)
            return
        try:
            self.place(placement, left.server)
        except NoServerError:
            left.counters.redispatches += 1
            raise
        # A policy may insist on the same server; HAProxy counts that as a retry, and so do we.
        if placement.server is left:
            left.counters.retries += 1
        else:
            left.counters.redispatches += 1
            placement.reason = Reason.REDISPATCH

    def take_complaint(self) -> str | None:
        """Return what went wrong last with a policy of the user's own; None: nothing since."""
        own = [policy for policy in self.policies if isinstance(policy, Guarded)]
        return next(filter(None, [policy.take_complaint() for policy in own]), None)

    def check(self) -> None:
        """Assert what has to be true of the policies between two calls."""
        for policy in self.policies:
            if isinstance(policy, SourceConsistent | RoundRobin):
                policy.check()
