"""Where the runtime API is spoken: the sockets of ``stats socket``.

    a visitor is    while                      then
    listening       nothing was asked          what is asked for is done: talking
    talking         there are pieces to send   none left: listening; over, if that was all
    gone            -                          -

What is said is :mod:`dsbalance.haproxy.runtime`'s business. A piece of an answer is made when the
one before has left, and after a few of them everybody else has a turn: a client that reads slowly,
or asks for a million entries, holds up nobody and keeps one piece in memory. Who is silent for too
long, or does not take what was asked for, is left.

A Unix socket is bound beside its path, gets its owner and its permissions, listens, and only then
takes the path: nobody can come in by what the umask happens to allow, there is no moment without a
socket, and who started before and had the path keeps those who are with him. At the end the file is
removed if it is still ours.

Everything here runs on the loop's thread.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from dsbalance.errors import ConnectError
from dsbalance.haproxy.runtime import Dialogue
from dsbalance.haproxy.runtime_command import Visit
from dsbalance.haproxy.runtime_lines import MAX_LINE
from dsbalance.listener import listen
from dsbalance.loop import Loop
from dsbalance.model import Bind, Config
from dsbalance.poller import READABLE, WRITABLE
from dsbalance.stats_options import StatsSocket
from dsbalance.steering import Steering

try:
    import grp
    import pwd
except ImportError:  # Windows
    grp = pwd = None  # type: ignore[assignment]

_log = logging.getLogger("dsbalance.console")

_SUBJECT = "stats socket"
# How long accepting rests when it fails, for want of descriptors or memory, in seconds.
_REST = 0.1
# listen(2): clients that wait for one of the few places.
_BACKLOG = 64
# struct ucred of unix(7): process, user, group.
_CREDENTIALS = struct.Struct("3i")


class Console:
    """The sockets of the runtime API, and who is there.

    Args:
        loop: Where it runs.
        steering: What is steered.
        config: Which sockets, how long one may be silent, how many there may be at a time.
    """

    __slots__ = ("_config", "_hatches", "_loop", "_steering", "_visitors")

    def __init__(self, loop: Loop, steering: Steering, config: Config) -> None:
        self._loop = loop
        self._steering = steering
        self._config = config
        self._hatches: list[_Hatch] = []
        self._visitors: set[_Visitor] = set()

    @property
    def places(self) -> list[str]:
        """Where it listens: paths, and ``host:port``."""
        return [hatch.place for hatch in self._hatches]

    def open(self) -> None:
        """Listen everywhere, or nowhere.

        Raises:
            ConnectError: A socket cannot be made, or somebody else has it.
        """
        try:
            for options in self._config.sockets:
                receive = partial(self._receive, options)
                self._hatches.append(_Hatch(self._loop, options, receive))
        except ConnectError:
            self.close()
            raise
        self._look()

    def close(self) -> None:
        """Leave everybody, and remove the sockets."""
        hatches, self._hatches = self._hatches, []
        for hatch in hatches:
            hatch.close()
        for visitor in [*self._visitors]:
            visitor.leave()

    def _receive(self, options: StatsSocket, sock: socket.socket, who: str) -> None:
        config = self._config
        visit = Visit(options.level, config.timeout_stats, config.sockets, os.environ)
        dialogue = Dialogue(visit, self._steering, partial(_log.info, "%s: %.200r", who))
        self._visitors.add(_Visitor(self._loop, sock, dialogue, self._forget))
        self._look()

    def _forget(self, visitor: _Visitor) -> None:
        self._visitors.discard(visitor)
        self._look()

    def _look(self) -> None:
        """Let all sockets accept, or none: there are as many visitors as there may be."""
        may_accept = len(self._visitors) < self._config.maxconn_stats
        for hatch in self._hatches:
            hatch.watch(is_wanted=may_accept)


class _Hatch:
    """One listening socket.

    Attributes:
        place: Its path, or ``host:port``.
    """

    __slots__ = ("_identity", "_is_watched", "_loop", "_path", "_receive", "_sock", "place")

    def __init__(
        self, loop: Loop, options: StatsSocket, receive: Callable[[socket.socket, str], None]
    ) -> None:
        """Listen, or raise ConnectError. ``receive`` gets each connection, and who it is."""
        self._loop = loop
        self._receive = receive
        self._is_watched = False
        self._path = options.path
        self._identity: tuple[int, int] | None = None
        if options.path is None:
            bind = Bind(host=options.host, port=options.port or 0)
            self._sock: socket.socket = listen(bind, None, _SUBJECT)[0]
            self.place = _place(self._sock.getsockname())
        else:
            self._sock, self._identity = _listen_at(options.path, options)
            self.place = options.path

    def watch(self, *, is_wanted: bool) -> None:
        """Accept, or accept nobody for now."""
        if is_wanted is not self._is_watched:
            self._is_watched = is_wanted
            if is_wanted:
                self._loop.watch_listener(self._sock, self)
            else:
                self._loop.unwatch(self._sock)

    def on_events(self, events: int) -> None:
        """Accept one client."""
        try:
            sock, address = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            _log.warning("%s accepts nobody for %g s: %s", self.place, _REST, error)
            self._loop.unwatch(self._sock)
            self._loop.after(_REST, self._resume)
            return
        sock.setblocking(False)
        who = _place(address) if self._path is None else f"{self._path}{_credentials(sock)}"
        self._receive(sock, who)

    def on_crash(self, error: Exception) -> None:
        """Go on: whose client it was has ended that."""

    def close(self) -> None:
        """Listen no more, and remove the file unless it is another one by now."""
        self.watch(is_wanted=False)
        self._loop.close(self._sock)
        if self._path is not None and _identity(self._path) == self._identity:
            with suppress(OSError):
                os.unlink(self._path)

    def _resume(self) -> None:
        if self._is_watched:
            self._loop.watch_listener(self._sock, self)


class _Visitor:
    """One client. See the table of this module.

    Args:
        loop: Where it runs.
        sock: Its connection, non-blocking; the visitor's from here on.
        dialogue: What is said.
        on_gone: Called once with the visitor, at the end.
    """

    __slots__ = (
        "_active_at",
        "_dialogue",
        "_is_blocked",
        "_is_gone",
        "_loop",
        "_on_gone",
        "_sock",
        "_timeout",
        "_unsent",
        "due_tick",
    )

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        dialogue: Dialogue,
        on_gone: Callable[[_Visitor], None],
    ) -> None:
        self.due_tick = 0
        self._loop = loop
        self._sock = sock
        self._dialogue = dialogue
        self._on_gone = on_gone
        self._unsent = b""
        self._is_blocked = self._is_gone = False
        self._active_at = loop.now
        loop.watch_stream(sock, self, READABLE)
        self._set_timeout()

    def on_events(self, events: int) -> None:
        """Go on by one piece or one command, which may be much: the others have their turn."""
        if not self._send():
            return
        piece = self._dialogue.say()
        if piece is not None:
            self._unsent = piece
        elif not self._listen():
            return
        self._loop.again(self._sock)

    def on_due(self, now: float) -> None:
        """Leave who is silent."""
        if self._timeout is not None and now >= self._active_at + self._timeout:
            self.leave()
        else:
            self._set_timeout()

    def on_crash(self, error: Exception) -> None:
        """Leave: as in Watcher and Timed."""
        self.leave()

    def leave(self) -> None:
        """Close the connection."""
        if not self._is_gone:
            self._is_gone = True
            self._loop.timers.cancel(self)
            self._loop.close(self._sock)
            self._on_gone(self)

    def _send(self) -> bool:
        """Send what is to be sent; return False if that is not possible now, or ever."""
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                self._wait(is_blocked=True)
                return False
            except OSError:
                self.leave()
                return False
            self._unsent = self._unsent[sent:]
            self._active_at = self._loop.now
        self._wait(is_blocked=False)
        return True

    def _listen(self) -> bool:
        """Read what is asked; return False if it is nothing yet, or nothing any more."""
        if self._dialogue.visit.timeout != self._timeout:
            self._set_timeout()
        try:
            heard = b"" if self._dialogue.is_over else self._sock.recv(MAX_LINE)
        except BlockingIOError:
            if self._dialogue.is_answered:
                self.leave()
            return False
        except OSError:
            heard = b""
        if not heard:
            self.leave()
            return False
        self._active_at = self._loop.now
        self._dialogue.hear(heard)
        return True

    def _wait(self, *, is_blocked: bool) -> None:
        """Have the poller tell when there is room, or when there is something to hear."""
        if is_blocked is not self._is_blocked:
            self._is_blocked = is_blocked
            events = WRITABLE if is_blocked else READABLE
            self._loop.poller.want(self._sock.fileno(), events)

    def _set_timeout(self) -> None:
        self._timeout = self._dialogue.visit.timeout
        if self._timeout is None:
            self._loop.timers.cancel(self)
        else:
            self._loop.timers.set(self, self._active_at + self._timeout, self._loop.now)


def _listen_at(path: str, options: StatsSocket) -> tuple[socket.socket, tuple[int, int] | None]:
    """Return a listening Unix socket with the permissions that are asked for, and its identity.

    Raises:
        ConnectError: It cannot be made, or something else is there.
    """
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        reason = "there are no Unix sockets here: give an address and a port"
        raise ConnectError(path, reason, _SUBJECT)
    owner = _owner(path, options)
    beside = f"{path}.{os.getpid()}"
    for place in (path, beside):
        _demand_socket(place)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with suppress(FileNotFoundError):
            os.unlink(beside)
        sock.bind(beside)
        identity = _identity(beside)
        if owner != (-1, -1):
            os.chown(beside, *owner)
        os.chmod(beside, options.mode)
        sock.listen(_BACKLOG)
        os.rename(beside, path)
    except OSError as error:
        sock.close()
        with suppress(OSError):
            os.unlink(beside)
        reason = f"cannot listen: {error.strerror or error}"
        raise ConnectError(path, reason, _SUBJECT) from error
    return sock, identity


def _owner(path: str, options: StatsSocket) -> tuple[int, int]:
    """Return the numbers of the user and the group, -1: as it comes; or raise ConnectError."""
    user, group = options.user, options.group
    try:
        uid = pwd.getpwnam(user).pw_uid if isinstance(user, str) else user
    except KeyError:
        raise ConnectError(path, f"there is no user {user!r}", _SUBJECT) from None
    try:
        gid = grp.getgrnam(group).gr_gid if isinstance(group, str) else group
    except KeyError:
        raise ConnectError(path, f"there is no group {group!r}", _SUBJECT) from None
    return -1 if uid is None else uid, -1 if gid is None else gid


def _demand_socket(path: str) -> None:
    """Raise ConnectError if something is there that nobody may replace."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        # Nothing is there; or nothing may be, and whoever binds will be told.
        return
    if not stat.S_ISSOCK(mode):
        raise ConnectError(path, "something else is there that is no socket", _SUBJECT)


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; None: there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _place(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _credentials(sock: socket.socket) -> str:
    """Return who is at the other end of a Unix socket, in words; empty where nobody can tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return ""
    packed = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(packed)
    return f", process {process} of user {user}"
