"""What an operator does while a proxy is at work: the Steering of an engine.

What is decided is decided in the core; this carries it out at once. Everything here runs on the
loop's thread, and nothing waits. What each method means is said at
:class:`dsbalance.steering.Steering`.

Source: the HAProxy 2.6 management guide, 9.3; what it leaves open was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsbalance.approach import call_up
from dsbalance.balancer import AdminState, Health
from dsbalance.entrance import Entrance
from dsbalance.errors import ConfigError, Problem
from dsbalance.relay import Ending
from dsbalance.resolve import resolve
from dsbalance.roll import picture_greeting, picture_guest, placement_of
from dsbalance.stats import SessionSnapshot, Snapshot
from dsbalance.sticky import Entry
from dsbalance.survey import Parts, Survey
from dsbalance.validation import demand, whole


class Operations:
    """What operators may see and do.

    Args:
        parts: Of the engine.

    Attributes:
        parts: As given.
        survey: The pictures that are given.
    """

    __slots__ = ("parts", "survey")

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.survey = Survey(parts)

    # -- what there is

    def snapshot(self) -> Snapshot:
        """Return what there is to know now. Within a turn of the loop it is the same object."""
        return self.survey.snapshot()

    def sessions(self) -> list[SessionSnapshot]:
        """Return the clients' connections. O(sessions)."""
        now = self.parts.loop.now
        found = []
        for entrance in self.parts.entrances.all():
            name, is_http = entrance.frontend.name, entrance.frontend.http is not None
            found += [picture_guest(guest, name, now) for guest in entrance.sessions]
            for greeting, (_, client) in entrance.party.greetings.items():
                found.append(picture_greeting(greeting, client, name, now, is_http=is_http))
        return found

    def entries(self, table: str) -> Iterator[Entry]:
        """Return what is in a stick table, a part at a time; it may be read over many turns."""
        found, loop = self.parts.backends.table(table), self.parts.loop
        return (entry for part in range(found.parts) for entry in found.part(part, loop.now))

    def find_entry(self, table: str, key: bytes) -> Entry | None:
        """Return one entry of a stick table, and do not touch it."""
        return self.parts.backends.table(table).find(key, self.parts.loop.now)

    # -- servers

    def set_admin(self, path: str, admin: AdminState) -> None:
        """Make a server ready, drain it, or take it into maintenance."""
        parts, (backend, server) = self._change(path)
        changes = parts.backends.set_admin(backend, server, admin, parts.loop.now)
        parts.watching.ask(backend, server)
        parts.apply(changes)

    def set_health(self, path: str, health: Health) -> None:
        """Take a server to be up, stopping or down until its checks say otherwise."""
        parts, (backend, server) = self._change(path)
        parts.apply(parts.backends.set_health(backend, server, health, parts.loop.now))

    def set_weight(self, path: str, weight: int) -> None:
        """Give a server another weight, 0 to 256."""
        parts, (backend, server) = self._change(path)
        parts.apply(parts.backends.set_weight(backend, server, weight, parts.loop.now))

    def set_server_maxconn(self, path: str, maxconn: int | None) -> None:
        """Give a server another limit of sessions; None: none. Who waits is let in by it."""
        parts, (backend, server) = self._change(path)
        settings = parts.backends.balancer(backend).settings
        call_up(parts.loop, settings.set_maxconn(server, maxconn, parts.loop.now))

    def set_address(self, path: str, host: str | None, port: int | None) -> None:
        """Send the next connections to this IP address, this port; None: as before."""
        parts, (backend, server) = self._change(path)
        balancer = parts.backends.balancer(backend)
        balancer.settings.set_address(server, host, port, parts.loop.now)
        targets, checks = parts.targets[backend], parts.watching.targets
        if host is not None:
            # An address, so this does not wait.
            targets[server] = resolve(host)
        check = balancer.states[server].server.check
        is_apart = check is not None and check.host is not None
        where = checks[backend, server] if is_apart else targets[server]
        parts.watching.move(backend, server, where)

    def set_check_port(self, path: str, port: int) -> None:
        """Let the checks of a server go to this port."""
        parts, (backend, server) = self._change(path)
        parts.backends.balancer(backend).settings.set_check_port(server, port, parts.loop.now)
        parts.watching.move(backend, server, parts.watching.targets[backend, server])

    def set_checks(self, path: str, *, is_on: bool) -> None:
        """Stop or resume the checks of a server; its state stays what it is."""
        parts, (backend, server) = self._change(path)
        parts.backends.balancer(backend).settings.set_checks(server, is_on=is_on)
        parts.watching.ask(backend, server)

    # -- sessions

    def shutdown_session(self, number: int) -> bool:
        """End one session, which its snapshot's id names; False: it has gone."""
        for entrance in self.parts.entrances.all():
            for guest in entrance.sessions:
                if id(guest) == number:
                    self.survey.forget()
                    guest.dismiss(Ending.KILLED)
                    return True
            for greeting, (lobby, _) in entrance.party.greetings.items():
                if id(greeting) == number:
                    self.survey.forget()
                    lobby.dismiss(greeting)
                    return True
        return False

    def shutdown_sessions(self, path: str) -> int:
        """End the sessions that have a place at a server; return how many."""
        parts, (backend, server) = self._change(path)
        placements = set(parts.backends.state(backend, server).placements)
        doomed = [
            guest
            for entrance in parts.entrances.all()
            for guest in entrance.sessions
            if placement_of(guest) in placements
        ]
        for guest in doomed:
            guest.dismiss(Ending.KILLED)
        return len(doomed)

    # -- frontends

    def set_frontend(self, name: str, *, is_open: bool) -> bool:
        """Let a frontend accept clients, or not; False: it was so already."""
        entrance = self._entrance(name)
        is_changed = entrance.resume() if is_open else entrance.pause()
        if is_changed:
            self.parts.gazette.tell_paused(name, is_open=is_open)
        return is_changed

    def shutdown_frontend(self, name: str) -> None:
        """Close the ports of a frontend for good; its sessions go on."""
        entrance = self._entrance(name)
        entrance.close()
        self.parts.gazette.tell_end({name: entrance.counters.total}, is_alone=True)

    def set_frontend_maxconn(self, name: str, maxconn: int | None) -> None:
        """Give a frontend another limit of sessions; None: none."""
        entrance = self._entrance(name)
        demand(whole("maxconn", maxconn, 1, is_optional=True), subject="frontend", name=name)
        self.parts.entrances.hall.resize(entrance.room, maxconn)

    def set_maxconn(self, maxconn: int | None) -> None:
        """Give the process another limit of sessions; None: what it began with."""
        most = self.parts.budget.most
        demand(whole("maxconn", maxconn, 1, is_optional=True), subject="process", name="")
        if maxconn is not None and most is not None and maxconn > most:
            message = f"maxconn {maxconn} does not fit: descriptors are left for {most} sessions"
            raise ConfigError(Problem(message, subject="process"))
        self.survey.forget()
        hall = self.parts.entrances.hall
        hall.resize(hall.room, self.parts.budget.maxconn if maxconn is None else maxconn)

    # -- counts and tables

    def clear_counters(self, *, is_all: bool) -> None:
        """Forget the highest values, or with ``is_all`` all that was counted."""
        self.survey.settle()
        self.survey.forget()
        self.parts.backends.clear(is_all=is_all)
        self.parts.entrances.clear(is_all=is_all)
        self.survey.clear()

    def set_entry(self, table: str, key: bytes, server: str | None) -> None:
        """Write an entry of a stick table, or touch it; None: the server it has."""
        self.survey.forget()
        found, now = self.parts.backends.table(table), self.parts.loop.now
        if server is not None:
            found.store(key, server, now)
        elif found.match(key, now) is None:
            raise ConfigError(Problem("there is no such entry", subject=f"table {table}"))

    def clear_entries(self, table: str, keys: Iterable[bytes]) -> int:
        """Remove entries that no session holds; return how many were held and stay."""
        self.survey.forget()
        found = self.parts.backends.table(table)
        held = 0
        for key in keys:
            if found.uses(key):
                held += 1
            else:
                found.remove(key)
        return held

    # -- parts

    def _entrance(self, name: str) -> Entrance:
        """Return a frontend that is going to be changed."""
        self.survey.forget()
        return self.parts.entrances.find(name)

    def _change(self, path: str) -> tuple[Parts, tuple[str, str]]:
        """Return the parts, and backend and name of a server that is going to be changed."""
        self.survey.forget()
        return self.parts, split(path)


def split(path: str) -> tuple[str, str]:
    """Return backend and server of a path.

    Raises:
        ConfigError: It has no slash.
    """
    backend, slash, server = path.partition("/")
    if not slash:
        raise ConfigError(f"a server is named BACKEND/SERVER, not {path!r}")
    return backend, server
