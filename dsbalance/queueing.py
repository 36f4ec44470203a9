"""Who holds a place at a server, and who gets the next one. No I/O, no clock.

    a session that          then
    finds room              takes a place
    finds its server full   waits in that server's queue
    finds all servers full  waits in the shared queue
    leaves its place        the oldest of those who wait for that server, or for any, takes it

A server without ``maxconn`` always has room, so nobody waits for it. A server that gets no new
clients hands its places to its own queue alone. No policy is asked for those who waited in the
shared queue: they go where a place became free, or to the server that came.

Source: the HAProxy 2.6 manual, server ``maxconn`` and ``maxqueue``; who gets a place was observed
on HAProxy 2.6.12. There a server that comes out of *drain*, or gets a weight again, lets nobody in
who waits already, and one without ``maxconn`` does so only when it comes up: here nobody waits
while one that new clients may go to has room.
"""

from __future__ import annotations

from collections import deque

from dsbalance.candidates import Candidates, Reason
from dsbalance.counters import BackendCounters
from dsbalance.placement import Placement, ServerState, Stage

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

    def assign(self, placement: Placement, state: ServerState) -> bool:
        """Give a session a place at a server, or a turn in the server's queue.

        Returns:
            False if that is full too (``maxqueue``): it has neither.
        """
        placement.server = state
        if self.has_room(state):
            self.occupy(placement, state)
            return True
        most = state.server.maxqueue
        if most is not None and len(state.queue) >= most:
            return False
        self._enqueue(placement, state.queue)
        placement.turns = len(state.queue), placement.turns[1]
        state.counters.queued_peak = max(state.counters.queued_peak, len(state.queue))
        return True

    def wait(self, placement: Placement) -> None:
        """Give a session a turn in the shared queue."""
        placement.server = None
        self._enqueue(placement, self.shared)
        placement.turns = placement.turns[0], len(self.shared)
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
            Who has got it: one session or none, or several if the server may have more than before.
        """
        placements, queue = state.placements, state.queue
        placements.remove(placement)
        load = len(placements) + len(queue)
        if load != state.moved_load:
            self._moves = state.moved = self._moves + 1
            state.moved_load = load
        if not (queue or self.shared):
            return ()
        return self.admit(state, candidates)

    def admit(self, state: ServerState, candidates: Candidates) -> tuple[Placement, ...]:
        """Let those in who wait, for a server or for any, as long as it has room.

        ``candidates`` are those that may take who waits in the shared queue. Returned are those
        who have got a place, whoever came first to a queue being the first.
        """
        own, shared = state.queue, self.shared
        is_open = state.is_usable and state.name in candidates
        heirs: list[Placement] = []
        while (own or (shared and is_open)) and _has_room(state):
            if own and not (is_open and shared and shared[0].ticket < own[0].ticket):
                heir = own.popleft()
            else:
                heir = shared.popleft()
                heir.server = state
                heir.reason = Reason.QUEUE
            self.occupy(heir, state)
            heirs.append(heir)
        return tuple(heirs)

    def has_room(self, state: ServerState) -> bool:
        """Return whether a session may have a place at a server before anybody else."""
        return state.maxconn is None or not (state.queue or len(state.placements) >= _limit(state))

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
        """Note that a server has come, or has another share: it stands behind its equals now."""
        self._moves += 1
        state.moved = self._moves
        state.moved_load = len(state.placements) + len(state.queue)

    def check(self) -> None:
        """Assert what has to be true of the shared queue between two calls."""
        assert all(p.server is None and p.is_queued for p in self.shared)
        tickets = [placement.ticket for placement in self.shared]
        assert tickets == sorted(set(tickets)), "the oldest is the first"

    def occupy(self, placement: Placement, state: ServerState) -> None:
        """Give a session a place at a server that has room for it."""
        placement.stage = _CONNECTING
        placements = state.placements
        placements.add(placement)
        count = len(placements)
        load = count + len(state.queue)
        if load != state.moved_load:
            # As touch, without a call, like in vacate: both are done for each request.
            self._moves = state.moved = self._moves + 1
            state.moved_load = load
        counters = state.counters
        counters.total += 1
        if count > counters.peak:  # noqa: PLR1730 -- max() takes three times as long
            counters.peak = count

    def _enqueue(self, placement: Placement, queue: deque[Placement]) -> None:
        self._tickets += 1
        placement.ticket = self._tickets
        placement.stage = Stage.QUEUED
        queue.append(placement)


def _limit(state: ServerState) -> int:
    limit = state.limit
    assert limit is not None
    return limit


def _has_room(state: ServerState) -> bool:
    return state.maxconn is None or len(state.placements) < _limit(state)
