"""Who holds a place at a server, and who gets the next one. No I/O, no clock.

    a session that          then
    finds room              takes a place
    finds its server full   waits in that server's queue
    finds all servers full  waits in the shared queue
    leaves its place        the oldest of those who wait for that server, or for any, takes it

A server without ``maxconn`` always has room, so nobody waits for it. A server that gets no new
clients hands its places to its own queue alone.

Source: the HAProxy 2.6 manual, server ``maxconn``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from dsbalance.placement import Placement, ServerState, Stage
from dsbalance.policy import Candidates, Policy, Reason
from dsbalance.stats import BackendCounters

# Looked up once: through its class a member takes ten times as long on Python 3.11.
_CONNECTING = Stage.CONNECTING


class Places:
    """The places of one backend's servers and the queues for them. For the loop's thread alone.

    Attributes:
        shared: Those who may go to any server, the oldest first.
    """

    __slots__ = ("_counters", "_moves", "_tickets", "shared")

    def __init__(self, counters: BackendCounters) -> None:
        """Begin with nobody; ``counters`` are the backend's."""
        self.shared: deque[Placement] = deque()
        self._counters = counters
        self._tickets = 0
        self._moves = 0

    def assign(self, placement: Placement, state: ServerState) -> None:
        """Give a session a place at a server, or a turn in the server's queue."""
        placement.server = state
        if state.maxconn is not None and (state.queue or len(state.placements) >= state.maxconn):
            self._enqueue(placement, state.queue)
            state.counters.queued_peak = max(state.counters.queued_peak, len(state.queue))
        else:
            self._occupy(placement, state)

    def wait(self, placement: Placement) -> None:
        """Give a session a turn in the shared queue."""
        placement.server = None
        self._enqueue(placement, self.shared)
        self._counters.queued_peak = max(self._counters.queued_peak, len(self.shared))

    def withdraw(self, placement: Placement) -> None:
        """Take a session that waits out of its queue. O(those before it)."""
        state = placement.server
        (self.shared if state is None else state.queue).remove(placement)

    def vacate(
        self, placement: Placement, state: ServerState, candidates: Candidates
    ) -> tuple[Placement, ...]:
        """Take a session's place at a server from it, and hand it on.

        Args:
            placement: It holds a place there.
            state: The server.
            candidates: Those that may take who waits in the shared queue.

        Returns:
            Who has got the place: one session, or none.
        """
        state.placements.remove(placement)
        self.touch(state)
        own, shared = state.queue, self.shared
        if not (own or shared):
            return ()
        is_open = shared and state.is_usable and state.name in candidates
        if own and not (is_open and shared[0].ticket < own[0].ticket):
            heir = own.popleft()
        elif is_open:
            heir = shared.popleft()
            heir.server = state
            heir.reason = Reason.QUEUE
            state.counters.chosen += 1
        else:
            return ()
        self._occupy(heir, state)
        return (heir,)

    def admit(
        self, policy: Policy, candidates: Candidates, states: Mapping[str, ServerState]
    ) -> Iterator[Placement]:
        """Let a policy decide for those who may go anywhere, the oldest first, until all are full.

        Yields:
            Those that have got a place. Others may have moved to a server's queue.
        """
        shared = self.shared
        while shared and candidates.servers:
            server = policy.choose(shared[0].client, candidates, None)
            if server is None:
                return
            placement = shared.popleft()
            placement.reason = Reason.QUEUE
            state = states[server.name]
            state.counters.chosen += 1
            self.assign(placement, state)
            if not placement.is_queued:
                yield placement

    def dissolve(self, state: ServerState) -> tuple[Placement, ...]:
        """End a server's queue, and return who was in it: DISPLACED, the oldest first."""
        displaced = tuple(state.queue)
        state.queue.clear()
        state.counters.redispatches += len(displaced)
        for placement in displaced:
            placement.stage = Stage.DISPLACED
            placement.server = None
            placement.is_persistent = False
        return displaced

    def touch(self, state: ServerState) -> None:
        """Note that a server's load has changed, or its share: it stands behind its equals now."""
        self._moves += 1
        state.moved = self._moves

    def check(self) -> None:
        """Assert what has to be true of the shared queue between two calls."""
        assert all(p.server is None and p.is_queued for p in self.shared)
        tickets = [placement.ticket for placement in self.shared]
        assert tickets == sorted(set(tickets)), "the oldest is the first"

    def _occupy(self, placement: Placement, state: ServerState) -> None:
        placement.stage = _CONNECTING
        placements = state.placements
        placements.add(placement)
        self.touch(state)
        counters = state.counters
        counters.total += 1
        if len(placements) > counters.peak:  # noqa: PLR1730 -- max() takes three times as long
            counters.peak = len(placements)

    def _enqueue(self, placement: Placement, queue: deque[Placement]) -> None:
        self._tickets += 1
        placement.ticket = self._tickets
        placement.stage = Stage.QUEUED
        queue.append(placement)
