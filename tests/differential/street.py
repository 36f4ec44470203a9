"""The clients in front of both sides, and the servers behind them. One thread: nothing happens
unless :meth:`Street.pump` is called.

    a client's fate    when
    waiting            no server has answered it, and it is still connected
    s1                 server s1 has told it its name
    s1, ended          and then its connection was closed or reset
    refused            it was closed or reset before a server answered
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeAlias

WAITING, REFUSED, ENDED = "waiting", "refused", ", ended"
_PATIENCE = 20.0
Act: TypeAlias = Callable[[], None]


class Street:
    """Sockets, and what is done when one of them has something to read."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, sock: socket.socket, act: Act) -> None:
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, act)

    def close(self, sock: socket.socket) -> None:
        """Close one of them."""
        self._selector.unregister(sock)
        sock.close()

    def pump(self, timeout: float) -> None:
        """Do everything that is to be done, until nothing is left; wait for the first of it."""
        while ready := self._selector.select(timeout):
            for key, _ in ready:
                if key.fd in self._selector.get_map():
                    key.data()
            timeout = 0

    def clear(self) -> None:
        """Close everything."""
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # nobody gives it a number
        self._selector.close()


class Servers:
    """Servers that tell each client their name, and then wait for it to leave.

    Args:
        street: Where they stand.
        host: Their address.
        ports: Name -> port.
    """

    def __init__(self, street: Street, host: str, ports: Mapping[str, int]) -> None:
        self._street = street
        self._host = host
        self._ports = ports
        self._doors: dict[str, socket.socket] = {}
        for name in ports:
            self.revive(name)

    def is_alive(self, name: str) -> bool:
        return name in self._doors

    def kill(self, name: str) -> None:
        """Close its port; who is connected stays so."""
        if name in self._doors:
            self._street.close(self._doors.pop(name))

    def revive(self, name: str) -> None:
        if name in self._doors:
            return
        sock = self._doors[name] = socket.create_server((self._host, self._ports[name]))
        self._street.watch(sock, partial(self._accept, name, sock))

    def _accept(self, name: str, door: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionError):
            sock, _ = door.accept()
            self._street.watch(sock, partial(self._hear, sock))
            with suppress(ConnectionError):
                sock.send(f"{name}\n".encode())

    def _hear(self, sock: socket.socket) -> None:
        with suppress(BlockingIOError):
            try:
                said = sock.recv(4096)
            except ConnectionError:
                said = b""
            if not said:
                self._street.close(sock)


def is_talking(fate: str) -> bool:
    """Whether a server has answered a client, and it is still connected."""
    return fate not in {WAITING, REFUSED} and not fate.endswith(ENDED)


class Crowd:
    """The clients of one side.

    Attributes:
        fates: Client -> what has become of it; who has left is not in it any more.
    """

    def __init__(self, street: Street) -> None:
        self.fates: dict[int, str] = {}
        self._street = street
        self._socks: dict[int, socket.socket] = {}

    @property
    def open(self) -> int:
        """How many are connected."""
        return len(self._socks)

    @property
    def waiting(self) -> int:
        return sum(fate == WAITING for fate in self.fates.values())

    def come(self, client: int, source: str, address: tuple[str, int]) -> None:
        sock = socket.create_connection(address, _PATIENCE, (source, 0))
        self._socks[client] = sock
        self.fates[client] = WAITING
        self._street.watch(sock, partial(self._hear, client))

    def go(self, client: int) -> None:
        """Let a client leave; nothing happens if it has been closed already."""
        self.fates.pop(client, None)
        if client in self._socks:
            self._street.close(self._socks.pop(client))

    def _hear(self, client: int) -> None:
        try:
            said = self._socks[client].recv(4096)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        fate = self.fates[client]
        if said:
            assert fate == WAITING, f"a second answer: {said!r}"
            self.fates[client] = said.decode().strip()
        else:
            self.fates[client] = REFUSED if fate == WAITING else fate + ENDED
            self._street.close(self._socks.pop(client))
