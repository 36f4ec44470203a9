"""A session that has nothing to do for a while, and is likely to come back. No I/O, no clock.

    a connected placement      rests          holds its stick entries, and no place
    one that rests             is resumed     holds a place again, if an entry says: the same server
                               is released

A conversation in HTTP rests between two requests: others get its place, so that limits and counters
are those of requests, but its client does not lapse while it is connected. To resume is what
:meth:`dsbalance.balancer.Balancer.route` would come to, for a third of the work.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsbalance.candidates import Reason
from dsbalance.counters import BackendCounters
from dsbalance.memory import Memory
from dsbalance.placement import Placement, Stage
from dsbalance.queueing import Places
from dsbalance.roster import Roster

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_RESTING, _CONNECTED = Stage.RESTING, Stage.CONNECTED
_STICKY = Reason.STICKY


class Rest:
    """How the sessions of one backend rest. For the loop's thread alone.

    Args:
        memory: Its stick rules.
        places: Its places.
        roster: Its servers.
        counters: Its own.
    """

    __slots__ = ("_counters", "_memory", "_places", "_roster")

    def __init__(
        self, memory: Memory, places: Places, roster: Roster, counters: BackendCounters
    ) -> None:
        self._memory = memory
        self._places = places
        self._roster = roster
        self._counters = counters

    def pause(self, placement: Placement) -> Sequence[Placement]:
        """Free the place of a connected session.

        Returns:
            Whoever has got it, and may connect now.
        """
        state = placement.server
        assert state is not None
        placement.stage = _RESTING
        self._counters.current -= 1
        return self._places.vacate(placement, state, self._roster.candidates)

    def resume(self, placement: Placement, now: float) -> bool:
        """Take a place at the same server for one that rests.

        Returns:
            False: it belongs elsewhere, or has to wait. It is to be released and routed anew.
        """
        state = placement.server
        memory = self._memory
        if (
            state is None
            or not memory.sends_back(placement, state, now)
            or not (state.maxconn is None or self._places.has_room(state))
        ):
            return False
        self._places.occupy(placement, state)
        placement.stage = _CONNECTED
        placement.is_persistent = True
        placement.reason = _STICKY
        placement.tries = 0
        self._counters.enter()
        return True
