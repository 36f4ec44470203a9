"""The clients, the servers and the operator of one case, at work."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Protocol

from ..corpus.actors import PATIENCE, Scene
from ..corpus.cases import Step
from ..corpus.outcome import Fate
from .rows import Rows


class Desk(Protocol):
    """What an operator sees of one case, and does to it."""

    def ask(self, command: str) -> str:
        """Put a command to the runtime API, and return the answer."""

    def rows(self, since: float) -> Rows:
        """Return what ``show stat`` says of the case, at some instant behind ``since``."""


class Stage(Scene):
    """One case at one door.

    Args:
        door: Where the clients connect.
        ports: The listening sockets, by the names of their servers.
        desk: Where the operator works.
    """

    def __init__(
        self, door: tuple[str, int], ports: Mapping[str, socket.socket], desk: Desk
    ) -> None:
        super().__init__(door, [*ports.values()])
        self._desk = desk
        self._ports = dict(ports)
        self._addresses = {name: port.getsockname() for name, port in ports.items()}

    def close(self) -> None:
        super().close()
        for port in self._ports.values():
            port.close()

    def _do(self, step: Step) -> None:
        words = step.words.decode("latin-1")
        if step.actor == "operator":
            answer = self._desk.ask(words).strip()
            assert not answer, f"{words!r} is answered by {answer!r}"
        elif step.actor == "row":
            column, value = words.removeprefix("shows ").split(" ", 1)
            since = time.monotonic()
            self.until(lambda: self._desk.rows(since)[step.verb][column] == value)
        elif step.verb == "connects":
            self._connect(step.actor)
        elif step.verb == "falls":
            port = self._ports.pop(step.actor)
            self._selector.unregister(port)
            port.close()
        elif step.verb == "rises":
            port = self._ports[step.actor] = socket.create_server(self._addresses[step.actor])
            self._selector.register(port, selectors.EVENT_READ)
        else:
            client = self._clients.get(step.actor)
            if client is not None and client.fate is Fate.LEFT:
                # Who has left and acts again comes anew.
                self._connect(step.actor)
            if step.verb != "closes" or not self._is_gone(step.actor):
                super()._do(step)

    def _is_gone(self, actor: str) -> bool:
        """Return whether it is a server that has left already."""
        return actor == "server" and self._server is not None and self._server.fate is Fate.LEFT

    def _connect(self, actor: str) -> None:
        last = self._clients.get(actor)
        if last is not None and last.fate is not Fate.LEFT:
            self._leave(last, "closes")
        sock = socket.socket()
        sock.settimeout(PATIENCE)
        # Who is refused at once may be reset before the call has returned.
        with contextlib.suppress(ConnectionResetError):
            sock.connect(self._door)
        self._clients[actor] = self._end(sock)
