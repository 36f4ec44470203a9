"""A frontend at work: its ports, and who is there.

    standing   ports                          status   ends with
    OPEN       open, once it was told to      OPEN     pause, close
    PAUSED     closed; clients are refused    PAUSED   resume, close
    CLOSED     closed for good                STOP     -

Sessions go on whatever becomes of the ports. Everything here runs on the loop's thread.

Source: the HAProxy 2.6 management guide, ``disable frontend`` and ``shutdown frontend``; the words
of the statistics were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from dsbalance.counters import FrontendCounters, Pace, clear
from dsbalance.errors import ConfigError, ConnectError, Problem
from dsbalance.listener import Annex, Listener, Room, listen
from dsbalance.lobby import House, Lobby, Party
from dsbalance.model import Frontend
from dsbalance.relay import Ending
from dsbalance.service import Guest
from dsbalance.sockets import Door
from dsbalance.stats import FrontendSnapshot, ListenerSnapshot, Responses

# What a snapshot has as it was counted, of a frontend and of a listener.
_PLAIN_COUNTS = sorted(
    {*FrontendCounters.__slots__, "requests"} - {"pace", "request_pace", "responses"}
)
_OF_LISTENERS = (
    *("bytes_in", "bytes_out", "denied", "request_errors", "requests_denied"),
    "responses_denied",
)


class _Standing(enum.Enum):
    OPEN = "OPEN"
    PAUSED = "PAUSED"
    CLOSED = "STOP"


class Entrance:
    """A frontend at work.

    Args:
        frontend: What it is.
        house: What it shares with the others.

    Attributes:
        frontend: As configured.
        room: Its own.
        party: Who is there.
    """

    __slots__ = (
        *("_addresses", "_binds", "_house", "_is_begun", "_lines", "_listeners", "_lobbies"),
        *("_standing", "_sums", "frontend", "party", "room"),
    )

    def __init__(self, frontend: Frontend, house: House) -> None:
        self.frontend = frontend
        self.room = Room(frontend.maxconn)
        self.party = Party()
        self._house = house
        self._standing = _Standing.OPEN
        self._is_begun = False
        self._listeners: list[Listener] = []
        # What each port belongs to; and one port each, as it was chosen once that has happened.
        self._lines = [bind for bind in frontend.binds for _ in bind.ports]
        self._binds = [
            replace(bind, port=port, last_port=None)
            for bind in frontend.binds
            for port in bind.ports
        ]
        self._addresses: list[tuple[str, int]] = []
        # One for each of these if they count for themselves, else one for all.
        rooms: list[Room] = [self.room]
        if frontend.counts_listeners:
            rooms = [Annex(self.room) for _ in self._binds]
        self._lobbies = [Lobby(frontend, self.party, room, house) for room in rooms]
        self._sums = FrontendCounters()

    # -- life

    def open(self) -> None:
        """Listen on every bind, or on none; later, if it is paused now.

        Raises:
            ConnectError: A port cannot be listened on.
        """
        self._is_begun = True
        if self._standing is not _Standing.OPEN:
            return
        frontend, hall = self.frontend, self._house.hall
        opened: list[Door] = []
        try:
            for bind, line in zip(self._binds, self._lines, strict=True):
                subject = f"frontend {frontend.name}, bind {line}"
                opened += listen(bind, frontend.keepalive, subject)
        except ConnectError:
            for sock in opened:
                sock.close()
            raise
        self._addresses = [sock.getsockname()[:2] for sock in opened]
        self._binds = [
            replace(bind, port=port)
            for bind, (_, port) in zip(self._binds, self._addresses, strict=True)
        ]
        for number, sock in enumerate(opened):
            receive = self._lobby(number).receiver(self._binds[number])
            self._listeners.append(Listener(sock, self.room, hall, receive))
        for listener in self._listeners:
            hall.add(listener)

    def pause(self) -> bool:
        """Refuse clients until it is resumed; False: it does already.

        Raises:
            ConfigError: It was closed.
        """
        self._demand_standing()
        if self._standing is _Standing.PAUSED:
            return False
        self._standing = _Standing.PAUSED
        self._close_ports()
        return True

    def resume(self) -> bool:
        """Listen on the same ports again; False: it was not paused.

        Raises:
            ConfigError: It was closed.
            ConnectError: A port cannot be listened on. It is still paused then.
        """
        self._demand_standing()
        if self._standing is _Standing.OPEN:
            return False
        self._standing = _Standing.OPEN
        if self._is_begun:
            try:
                self.open()
            except ConnectError:
                self._standing = _Standing.PAUSED
                raise
        return True

    def close(self) -> None:
        """Close the ports for good; sessions go on."""
        self._standing = _Standing.CLOSED
        self._close_ports()

    @property
    def sessions(self) -> set[Guest]:
        """The clients that are served."""
        return self.party.sessions

    @property
    def is_closed(self) -> bool:
        """Whether its ports are closed for good."""
        return self._standing is _Standing.CLOSED

    def retire(self) -> None:
        """Let everybody go who has nothing under way, and who is still at the door after one."""
        self.party.is_retiring = True
        for guest in [*self.party.sessions]:
            guest.retire()

    def kill(self) -> None:
        """End everybody who is there."""
        for guest in [*self.party.sessions]:
            guest.kill(Ending.KILLED)
        for greeting, (lobby, _) in [*self.party.greetings.items()]:
            lobby.dismiss(greeting)

    def addresses(self) -> list[tuple[str, int]]:
        """Return the addresses and ports that it listens on."""
        return [*self._addresses] if self._listeners else []

    # -- what there is to know

    @property
    def counters(self) -> FrontendCounters:
        """What happened; the sum, if its listeners count for themselves."""
        if not self.frontend.counts_listeners:
            return self._lobbies[0].counters
        _add_up(self._sums, [lobby.counters for lobby in self._lobbies])
        return self._sums

    def look(self, elapsed: float) -> None:
        """Look at the totals, so many seconds after the last time: once a second."""
        self.counters.step(elapsed)

    def clear(self, *, is_all: bool) -> None:
        """Forget the highest values, or with ``is_all`` all that was counted."""
        for counters in (self._sums, *(lobby.counters for lobby in self._lobbies)):
            clear(counters, is_all=is_all)
        for room in (self.room, *(lobby.room for lobby in self._lobbies)):
            room.most = 0

    def snapshot(self, number: int = 0) -> FrontendSnapshot:
        """Return what there is to know now; ``number`` is HAProxy's id of the proxy."""
        room, counters, frontend = self.room, self.counters, self.frontend
        pace, requests = counters.pace, counters.request_pace
        return FrontendSnapshot(
            name=frontend.name,
            id=number,
            is_http=frontend.http is not None,
            status=self._standing.value,
            addresses=tuple(map(_text, self._addresses)),
            backend=frontend.backend,
            maxconn=room.limit,
            current=room.used,
            peak=room.most,
            rate=pace.rate(counters.total),
            rate_peak=pace.most(counters.total),
            request_rate=requests.rate(counters.requests),
            request_rate_peak=requests.most(counters.requests),
            responses=Responses(*counters.responses),
            listeners=tuple(self._listeners_now()) if frontend.counts_listeners else (),
            **{word: getattr(counters, word) for word in _PLAIN_COUNTS},
        )

    def _listeners_now(self) -> Iterator[ListenerSnapshot]:
        is_waiting = self.room.is_full() or self._house.hall.is_closed
        taken = {bind.id for bind in self._binds}
        free = (number for number in count(1) if number not in taken)
        addresses = map(_text, self._addresses) if self._addresses else map(str, self._binds)
        for bind, lobby, address in zip(self._binds, self._lobbies, addresses, strict=True):
            counters = lobby.counters
            number = bind.id or next(free)
            yield ListenerSnapshot(
                name=bind.name or f"sock-{number}",
                id=number,
                address=address,
                status="WAITING" if is_waiting and self._listeners else "OPEN",
                maxconn=self.room.limit,
                current=lobby.room.used,
                peak=lobby.room.most,
                # Those whom a rule rejected came here too, if not to the frontend: as in HAProxy.
                total=counters.total + counters.denied,
                **{word: getattr(counters, word) for word in _OF_LISTENERS},
            )

    def _lobby(self, number: int) -> Lobby:
        return self._lobbies[number if self.frontend.counts_listeners else 0]

    def _close_ports(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _demand_standing(self) -> None:
        if self.is_closed:
            subject = f"frontend {self.frontend.name}"
            raise ConfigError(Problem("it was closed for good", subject=subject))


def _add_up(sums: FrontendCounters, parts: list[FrontendCounters]) -> None:
    """Let ``sums`` have the counts of all ``parts``; its rates are its own."""
    for word in FrontendCounters.__slots__:
        counts = [getattr(part, word) for part in parts]
        if isinstance(counts[0], int):
            setattr(sums, word, sum(counts))
        elif not isinstance(counts[0], Pace):
            setattr(sums, word, [sum(column) for column in zip(*counts, strict=True)])


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
