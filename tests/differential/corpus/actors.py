"""The client and the server of one case: what they do, and what they hear of the other.

A wait that comes to nothing is given up: what follows is still played, and the outcome tells.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Self

from dsbalance.sockets import set_reset

from .cases import Step
from .outcome import Fate, Heard
from .streams import comparable

PATIENCE = 4.0
# How long nothing has to come for ``nothing comes``.
_MOMENT = 0.1


class End:
    """One end of a connection and what it has heard."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.stream = bytearray()
        self.fate = Fate.OPEN
        self.awaited = 0

    def read(self) -> None:
        """Take what has come."""
        while self.fate is Fate.OPEN:
            try:
                part = self.sock.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                self.fate = Fate.RESET
            else:
                self.stream += part
                if not part:
                    self.fate = Fate.ENDED

    def has(self, words: bytes) -> bool:
        """Return whether it has heard ``words``, and if so, look behind them the next time."""
        at = bytes(self.stream).lower().find(words.lower(), self.awaited)
        if at < 0:
            return False
        self.awaited = at + len(words)
        return True

    def say(self, words: bytes) -> None:
        """Send all of it, if somebody is there to take it."""
        view = memoryview(words)
        deadline = time.monotonic() + PATIENCE
        # What has come is read before a write is told of a reset, as it is told once only.
        self.read()
        while view and self.fate is not Fate.RESET and time.monotonic() < deadline:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                time.sleep(0.001)
                self.read()
            except ConnectionResetError:
                self.fate = Fate.RESET
            except OSError:
                return


class Scene:
    """One case at one door.

    Args:
        door: Where the clients connect.
        listeners: Those of the servers.
    """

    def __init__(self, door: tuple[str, int], listeners: list[socket.socket]) -> None:
        self._door = door
        self._listeners = listeners
        self._clients: dict[str, End] = {}
        self._servers: list[End] = []
        self._server: End | None = None
        self._selector = selectors.DefaultSelector()
        for listener in listeners:
            self._selector.register(listener, selectors.EVENT_READ)

    def play(self, steps: tuple[Step, ...]) -> Self:
        """Let it happen."""
        for step in steps:
            self._do(step)
        return self

    def heard(self) -> tuple[tuple[Heard, ...], tuple[Heard, ...]]:
        """Return what the clients and the servers have heard so far."""
        self._look(0)
        return (
            tuple(map(self._told, self._clients.values())),
            tuple(map(self._told, self._servers)),
        )

    def _told(self, end: End) -> Heard:
        # Where the door is, is nobody's business.
        stream = comparable(bytes(end.stream)).replace(self._door[0], "127.0.0.1")
        return Heard(stream, end.fate)

    def rest(self, seconds: float) -> None:
        """Wait until nothing has come for so long."""
        deadline = time.monotonic() + PATIENCE
        while self._look(seconds) and time.monotonic() < deadline:
            continue

    def until(self, fact: Callable[[], bool]) -> bool:
        """Wait for a fact that what comes brings about, and return whether it did."""
        deadline = time.monotonic() + PATIENCE
        while not fact():
            if time.monotonic() > deadline:
                return False
            self._look(0.02)
        return True

    def close(self) -> None:
        self._selector.close()
        for end in (*self._clients.values(), *self._servers):
            end.sock.close()

    def _do(self, step: Step) -> None:
        if step.verb == "comes":
            self.rest(_MOMENT)
            return
        is_server = step.actor == "server"
        if not is_server and step.actor not in self._clients:
            sock = socket.create_connection(self._door, timeout=PATIENCE)
            self._clients[step.actor] = self._end(sock)
        if step.verb == "hears":
            self.until(lambda: self._has_heard(step) or self._is_over(step))
            return
        end = self._server if is_server else self._clients[step.actor]
        if step.verb == "is left":
            self.until(lambda: self._is_left(step.actor))
        elif end is not None and step.verb == "says":
            end.say(step.words)
        elif end is not None:
            self._leave(end, step.verb)

    def _leave(self, end: End, verb: str) -> None:
        with contextlib.suppress(OSError):
            if verb == "ends":
                end.sock.shutdown(socket.SHUT_WR)
                return
            if verb == "resets":
                set_reset(end.sock)
        with contextlib.suppress(KeyError):
            self._selector.unregister(end.sock)
        end.fate = Fate.LEFT
        end.sock.close()

    def _has_heard(self, step: Step) -> bool:
        if step.actor != "server":
            return self._clients[step.actor].has(step.words)
        for end in self._servers:
            if end.has(step.words):
                self._server = end
                return True
        return False

    def _is_over(self, step: Step) -> bool:
        """Return whether nothing can be heard any more, or will never be asked of a server."""
        if step.actor == "server":
            return all(end.fate is not Fate.OPEN for end in self._clients.values())
        return self._is_left(step.actor)

    def _is_left(self, actor: str) -> bool:
        end = self._server if actor == "server" else self._clients[actor]
        return end is None or end.fate is not Fate.OPEN

    def _look(self, timeout: float) -> bool:
        """See what comes within ``timeout`` seconds, and return whether anything did."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            if key.data is None:
                sock, _ = key.fileobj.accept()  # type: ignore[union-attr]
                self._servers.append(self._end(sock))
            else:
                key.data.read()
                if key.data.fate is not Fate.OPEN:
                    self._selector.unregister(key.fileobj)
        return bool(ready)

    def _end(self, sock: socket.socket) -> End:
        end = End(sock)
        self._selector.register(sock, selectors.EVENT_READ, end)
        return end
