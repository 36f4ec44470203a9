"""What an operator may set of a server at run time, besides its state and weight. No I/O, no clock.

    limit of sessions    who waits is let in by it; who has a place keeps it
    address              new connections go there; entries of ``srvkey addr`` know it by the new one
    port of the checks   the next check goes there
    checks, on or off    its state stays what it is; apart from the pause of maintenance

Source: the HAProxy 2.6 management guide, ``set maxconn server``, ``set server`` and ``disable
health``; observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from dsbalance.checks import CheckResult
from dsbalance.errors import ConfigError
from dsbalance.memory import Memory
from dsbalance.placement import Placement, ServerState
from dsbalance.queueing import Places
from dsbalance.roster import Roster


class Settings:
    """The settings of one backend's servers. For the loop's thread alone.

    Methods that take a name raise ConfigError for one that is no server's, and change nothing
    then, except for the result of a check, which may come late.
    """

    __slots__ = ("_memory", "_places", "_roster")

    def __init__(self, roster: Roster, places: Places, memory: Memory) -> None:
        self._roster = roster
        self._places = places
        self._memory = memory

    def set_maxconn(self, name: str, maxconn: int | None, now: float) -> tuple[Placement, ...]:
        """Give a server another limit of sessions; None: none.

        Returns:
            Sessions that have got a place by it, and may connect now.

        Raises:
            ConfigError: The limit is below 1.
        """
        state = self._roster.find(name)
        state.resize(maxconn)
        self._roster.regroup(now)
        return self._places.admit(state, self._roster.candidates) if state.is_running else ()

    def find(self, name: str) -> ServerState:
        """Return a server."""
        return self._roster.find(name)

    def clear(self, *, is_all: bool) -> None:
        """Forget the highest values, or with ``is_all`` all that was counted."""
        self._roster.clear(is_all=is_all)

    def set_address(self, name: str, host: str | None, port: int | None, now: float) -> None:
        """Have a server at another IP address or port; None: as before.

        Raises:
            ConfigError: It is no IP address, or no port.
        """
        state = self._roster.find(name)
        if host is not None and not _is_address(host):
            raise ConfigError(self._roster.problem(name, f"{host!r} is no IP address"))
        server = state.server
        state.server = replace(server, host=host or server.host, port=port or server.port)
        self._memory.forget(state)
        # Another one may have the address that it had.
        self._memory.register(self._roster.states.values())
        self._roster.regroup(now)

    def set_check_port(self, name: str, port: int, now: float) -> None:
        """Have a server checked at another port.

        Raises:
            ConfigError: It has no checks, or they have several ports, or it is no port.
        """
        state = self._roster.find(name)
        check = state.server.check
        if check is None:
            raise ConfigError(self._roster.problem(name, "it has no checks"))
        if len(check.ports) > 1:
            raise ConfigError(self._roster.problem(name, "its checks have several ports"))
        state.server = replace(state.server, check=replace(check, ports=(port,)))
        self._roster.regroup(now)

    def set_checks(self, name: str, *, is_on: bool) -> None:
        """Stop the checks of a server or let them go on, if it has any of its own."""
        state = self._roster.find(name)
        state.is_check_paused = not is_on and state.server.check is not None

    def backdate(self, name: str, seconds: float, now: float) -> None:
        """Take the state of a server to have lasted for so long already."""
        state = self._roster.find(name)
        state.since = now - seconds
        if not state.is_running:
            state.down_since = state.since

    def note_check(self, name: str, now: float, result: CheckResult) -> None:
        """Keep what a check came to, for whoever looks; nothing follows from it here."""
        state = self._roster.states.get(name)
        if state is not None:
            state.last_check, state.checked_at = result, now

    def note_checking(self, name: str, *, is_running: bool) -> None:
        """Keep whether a check is under way, likewise."""
        state = self._roster.states.get(name)
        if state is not None:
            state.is_checking = is_running


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
