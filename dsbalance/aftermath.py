"""What a change of a server means for the sessions of its backend. No I/O, no clock.

    the server                           its sessions               others
    stops running                        go on; end if asked for    -
    leaves those that new clients go to  those who wait for it      -
                                         are decided anew
    comes, or comes back                 -                          who waits for any goes there;
                                                                    those at backups end if asked

Who waits for a server that is drained, or stopping, is decided anew if ``option redispatch`` is
given. With ``option persist`` nobody who waits is: the server is used although it is down.

Source: the HAProxy 2.6 manual, ``on-marked-down``, ``on-marked-up``, ``observe`` and ``on-error``.
"""

from __future__ import annotations

from typing import NamedTuple

from dsbalance.choosing import Chooser
from dsbalance.model import Backend
from dsbalance.placement import Change, Placement, ServerState
from dsbalance.queueing import Places
from dsbalance.roster import Roster, Shift


class Alarm(NamedTuple):
    """What follows from attempts to connect that failed.

    Attributes:
        servers: Names of those whose next check is to come soon.
        changes: What has changed, to be carried out.
    """

    servers: tuple[str, ...]
    changes: tuple[Change, ...]


class Aftermath:
    """What follows in one backend. For the loop's thread alone."""

    __slots__ = ("_alarmed", "_chooser", "_places", "_roster", "_shifts")

    def __init__(self, roster: Roster, places: Places, chooser: Chooser) -> None:
        self._roster = roster
        self._places = places
        self._chooser = chooser
        # What failed attempts have come to, until somebody asks.
        self._alarmed: list[str] = []
        self._shifts: list[Shift] = []

    def of(self, shift: Shift | None, now: float) -> list[Change]:
        """Decide what a change of a server means for the sessions."""
        if shift is None:
            return []
        self._chooser.adapt()
        state = shift.state
        places, roster = self._places, self._roster
        if state.is_usable:
            places.touch(state)
        is_left = _is_dissolved(shift, roster.backend)
        requeued = places.dissolve(state) if is_left else ()
        admitted = places.admit(state, roster.candidates) if state.is_running else ()
        for server in roster.candidates:
            if not places.shared:
                break
            admitted += places.admit(roster.states[server.name], roster.candidates)
        return [
            Change(
                backend=roster.backend.name,
                server=state.name,
                old=shift.old,
                new=state.word,
                reason=shift.reason,
                now=now,
                shutdown=self._shutdown(shift),
                requeued=requeued,
                admitted=admitted,
                active=roster.active,
                backups=roster.backups,
                sessions=len(state.placements),
                queued=len(places.shared) + len(state.queue),
                is_outage=shift.was_usable and not roster.candidates.servers,
            )
        ]

    def _shutdown(self, shift: Shift) -> tuple[Placement, ...]:
        """Return the sessions to close; a server that was removed keeps its own."""
        state, server = shift.state, shift.state.server
        if shift.was_running and not state.is_running and state.word:
            return tuple(state.placements) if server.shutdown_on_down else ()
        is_up = state.op.is_up and not shift.op.is_up and state.share > 0
        if is_up and server.shutdown_backups_on_up and not server.backup:
            backups = (other for other in self._roster.states.values() if other.server.backup)
            return tuple(placement for other in backups for placement in other.placements)
        return ()

    def observe(self, state: ServerState, now: float) -> None:
        """Count a failed attempt to connect to a server that is observed."""
        is_alarmed, shift = self._roster.attempt_failed(state, now)
        if is_alarmed:
            self._alarmed.append(state.name)
        if shift is not None:
            self._shifts.append(shift)
            self._chooser.adapt()

    def take_alarm(self, now: float) -> Alarm | None:
        """Return what failed attempts have come to since the last call; None: nothing."""
        if not self._alarmed:
            return None
        names, self._alarmed = tuple(self._alarmed), []
        shifts, self._shifts = self._shifts, []
        return Alarm(names, tuple(change for s in shifts for change in self.of(s, now)))


def _is_dissolved(shift: Shift, backend: Backend) -> bool:
    """Whether those who wait for the server are to be decided anew."""
    state = shift.state
    if backend.persist:
        # It is to be used although it is down: who waits for it stays, as in HAProxy.
        return not state.word
    # HAProxy lets those go who wait for a server that is drained, if a redispatch is allowed.
    is_drained = shift.old != state.word and state.word in {"DRAIN", "NOLB"}
    return not state.is_running or (is_drained and backend.redispatch != 0)
