"""What follows when a server is not reached: the rules of a retry. No I/O.

    an attempt failed, and                           the next one goes
    ``option redispatch`` is off                     to the same server
    its server is down, in maint, or starts slowly   elsewhere
    its number is that of the option, or a multiple  elsewhere
    a policy without a hash chose, several usable    elsewhere
    else                                             to the same server

Source: the HAProxy 2.6 manual, ``retries`` and ``option redispatch``; the pauses were observed on
HAProxy 2.6.12.
"""

from __future__ import annotations

from dsbalance.model import Backend
from dsbalance.placement import Failure, OpState, Placement, ServerState

# HAProxy waits this long before it tries the same server again, or `timeout connect` if shorter.
_TURN_AROUND = 1.0


class RetryRule:
    """``retries`` and ``option redispatch`` of one backend.

    Attributes:
        limit: Retries at the most.
    """

    __slots__ = ("_is_hash", "_is_on", "_pause", "_step", "limit")

    def __init__(self, backend: Backend, *, is_hash: bool) -> None:
        self.limit = backend.retries
        self._is_hash = is_hash
        self._is_on = backend.redispatch != 0
        self._pause = min(_TURN_AROUND, backend.timeout_connect or _TURN_AROUND)
        # A negative interval counts back from the last retry, and beyond the first one forwards
        # again, as in HAProxy; but where that divides by 0, every retry goes elsewhere.
        step = backend.redispatch if backend.redispatch > 0 else self.limit + 1 + backend.redispatch
        self._step = abs(step) or 1

    def is_moving(self, placement: Placement, state: ServerState, usable: int) -> bool:
        """Whether the next retry goes elsewhere; ``tries`` is its number, from 1.

        ``usable`` is how many servers can be chosen from.
        """
        if not self._is_on:
            return False
        # One that starts slowly is not given another chance either, as in HAProxy.
        is_steady = state.op is OpState.RUNNING or state.op is OpState.STOPPING
        if not is_steady or placement.tries % self._step == 0:
            return True
        return not (placement.is_persistent or self._is_hash) and usable > 1

    def delay(self, cause: Failure, is_moving: bool, usable: int) -> float:
        """Return the pause before it: none after a timeout, which was one, nor if others remain."""
        is_waiting = cause is Failure.REFUSED and not (is_moving and usable > 1)
        return self._pause if is_waiting else 0.0
