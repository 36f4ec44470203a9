"""Log lines on their way out: to syslog over UDP, to a Unix socket, to the standard streams.

Nothing here ever waits: what a target does not take at once is dropped, and counted. Once it takes
lines again it gets one that says how many are missing, at most once a minute.

    target          how a line goes out
    host:port       a datagram, ``sendto`` on a non-blocking socket
    /path           the same; the path is looked up for each line, so syslogd may be started anew
    stdout, stderr
      a pipe, tty   through a description of our own, from ``/proc/self/fd``, that does not block
      a socket      ``send`` with MSG_DONTWAIT
      a file        ``write``: files do not block
      elsewhere     ``poll`` before each ``write`` of PIPE_BUF bytes at the most

O_NONBLOCK is never set on a description that others have too, such as the shell on its terminal or
the programs that share a pipe: their own writes would fail. After ``poll`` somebody else may fill a
pipe before we write; only there, where there is no ``/proc``, that would make us wait.

Sources: fcntl(2) on O_NONBLOCK, pipe(7) on PIPE_BUF, proc(5), unix(7).
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from dsbalance.errors import ConfigError
from dsbalance.haproxy.syslog import Envelope
from dsbalance.log_options import LogTarget, Severity
from dsbalance.model import Config
from dsbalance.resolve import resolve
from dsbalance.sockets import words

_log = logging.getLogger("dsbalance.logs")

# How often there is a word about lines that were dropped, in seconds.
_COMPLAINT_INTERVAL = 60.0
# RFC 5426, 3.3.
_SYSLOG_PORT = 514
_STREAMS = {"stdout": 1, "stderr": 2}
# Opened anew, another description of the same pipe or terminal. Linux, proc(5).
_DESCRIPTIONS = "/proc/self/fd/{}"
# POSIX promises 512; where the constant is missing there are no pipes that poll knows.
_PIPE_BUF = getattr(select, "PIPE_BUF", 512)


class Logs:
    """All that a proxy logs to. For the loop's thread, but for the making.

    Args:
        config: Whose tag and name stand before the lines.
    """

    __slots__ = ("_host", "_posts", "_tag")

    def __init__(self, config: Config) -> None:
        self._tag = config.log_tag
        self._host = config.log_hostname
        if self._host == "":
            self._host = socket.gethostname()
        self._posts: dict[str, _Post] = {}

    @property
    def dropped(self) -> int:
        """How many lines were dropped."""
        return sum(post.dropped for post in self._posts.values())

    def pen(self, targets: Sequence[LogTarget], tag: str | None = None) -> Pen | None:
        """Return what writes to these targets; None: there are none.

        It may block, for names are looked up here and not again.

        Args:
            targets: Where to.
            tag: What stands for the program's name; None: that of the configuration.

        Raises:
            ConnectError: A host has no address.
            ConfigError: The system has no such target.
        """
        ways = []
        for target in targets:
            envelope = Envelope(
                target,
                tag=self._tag if tag is None else tag,
                host=self._host,
                pid=os.getpid(),
                # A datagram to a Unix socket is a line by itself, as HAProxy sends it.
                end=b"" if target.address.startswith("/") else b"\n",
            )
            ways.append((envelope, self._post(target.address)))
        return Pen(tuple(ways)) if ways else None

    def close(self) -> None:
        """Free the sockets; what is written from now on is dropped."""
        for post in self._posts.values():
            post.close()

    def _post(self, address: str) -> _Post:
        # One for all who write there: then a line that is half out is nobody else's to break.
        if address not in self._posts:
            self._posts[address] = _Post(address, _open(address))
        return self._posts[address]


class Pen:
    """Writes the lines of one section to its targets."""

    __slots__ = ("_ways",)

    def __init__(self, ways: tuple[tuple[Envelope, _Post], ...]) -> None:
        self._ways = ways

    def write(self, severity: Severity, line: str, now: float | None = None) -> None:
        """Write a line to every target that wants to know of what is so grave.

        ``now``: seconds since 1970, if somebody has looked already.
        """
        now = time.time() if now is None else now
        for envelope, post in self._ways:
            message = envelope.seal(severity, line, now)
            if message is not None:
                if post.missing:
                    notice = f"{post.missing} log lines before this one were dropped"
                    post.confess(envelope.seal(Severity.WARNING, notice, now), now)
                post.send(message, now)


class OwnHandler(logging.Handler):
    """Write the program's own log to a standard stream, and wait for nobody who reads it.

    A terminal that was stopped, or a pipe that is full, would stop the loop and everybody with it.
    What is not taken is dropped, and told of in front of the next line that is.

    Args:
        fd: Of the stream, 1 or 2.

    Raises:
        ConfigError: It is closed.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._stream = _open_stream(fd)
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; called with the handler's lock, on any thread."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as all handlers: what is logged must not end who logs
            self.handleError(record)
            return
        if self._dropped:
            notice = f"{self._dropped} lines of this log were dropped, for nobody read them"
            if self._write(notice):
                self._dropped = 0
        if self._dropped or not self._write(line):
            self._dropped += 1

    def close(self) -> None:
        """Write no more."""
        self._stream.close()
        super().close()

    def _write(self, line: str) -> bool:
        return self._stream.send(f"{line}\n".encode("utf-8", "backslashreplace")) is None


def own_handler() -> logging.Handler:
    """Return what writes the program's own log to standard error."""
    try:
        return OwnHandler(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError, ConfigError):
        # There is none, or it is no file: whoever has put something in its place reads it.
        return logging.StreamHandler()


class _Post:
    """One address: hands messages over, and counts those that nobody took.

    Args:
        name: The address.
        outlet: What takes messages.

    Attributes:
        dropped: How many were dropped in all.
        missing: How many since its reader was told.
    """

    __slots__ = ("_complained_at", "_confessed_at", "_name", "_outlet", "dropped", "missing")

    def __init__(self, name: str, outlet: _Outlet) -> None:
        self._name = name
        self._outlet = outlet
        self._confessed_at = self._complained_at = 0.0
        self.dropped = self.missing = 0

    def send(self, message: bytes, now: float) -> None:
        """Hand a message over, or count it."""
        error = self._outlet.send(message)
        if error is None:
            return
        self.dropped += 1
        self.missing += 1
        # Who reads our standard streams slowly would have to read this too, and we to wait.
        if self._name not in _STREAMS and _is_over(self._complained_at, now):
            self._complained_at = now
            _log.warning("%s takes no log lines: %s", self._name, words(error.errno or 0))

    def confess(self, notice: bytes | None, now: float) -> None:
        """Tell the reader how many are missing, if it was not told just now."""
        if notice is None or not _is_over(self._confessed_at, now):
            return
        if self._outlet.send(notice) is None:
            self._confessed_at = now
            self.missing = 0

    def close(self) -> None:
        self._outlet.close()


def _is_over(since: float, now: float) -> bool:
    # The clock may have been set back.
    return not 0 <= now - since < _COMPLAINT_INTERVAL


class _Outlet(Protocol):
    """A socket or a stream."""

    def send(self, message: bytes) -> OSError | None:
        """Hand a message over at once, whole or not at all; why it was not."""

    def close(self) -> None:
        """Free what it has; what is sent from now on fails."""


class _Datagrams:
    """Messages to one address, a datagram each."""

    __slots__ = ("_address", "_sock")

    def __init__(self, family: socket.AddressFamily, address: Any) -> None:
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._address = address

    def send(self, message: bytes) -> OSError | None:
        # Not connected: a refusal that comes back over UDP later would be the next one's, and a
        # path would go on to mean the socket of a syslogd that has gone.
        try:
            self._sock.sendto(message, self._address)
        except OSError as error:
            return error
        return None

    def close(self) -> None:
        self._sock.close()


class _Stream:
    """Messages one after the other on a stream that is written to by ``write``.

    One that is taken in part is kept, and its rest goes out before the next one: lines stay whole.
    """

    __slots__ = ("_close", "_rest", "_write")

    def __init__(self, write: Callable[[bytes], int], close: Callable[[], None]) -> None:
        self._write = write
        self._close = close
        self._rest = b""

    def send(self, message: bytes) -> OSError | None:
        error = self._push()
        if error is not None:
            return error
        self._rest = message
        error = self._push()
        if error is not None and self._rest == message:
            self._rest = b""
            return error
        return None

    def close(self) -> None:
        self._close()
        # The number may soon be somebody else's.
        self._write = _refuse

    def _push(self) -> OSError | None:
        """Write what is left; why it is still there."""
        while self._rest:
            try:
                self._rest = self._rest[self._write(self._rest) :]
            except OSError as error:
                return error
        return None


def _open(address: str) -> _Outlet:
    """Return what takes messages for an address of a :class:`LogTarget`."""
    if address in _STREAMS:
        return _open_stream(_STREAMS[address])
    if address.startswith("/"):
        if not hasattr(socket, "AF_UNIX"):
            raise ConfigError(f"log {address}: there are no Unix sockets here")
        return _Datagrams(socket.AF_UNIX, address)
    host, colon, port = address.rpartition(":")
    host, port = (host, port) if colon else (address, str(_SYSLOG_PORT))
    target = resolve(host.removeprefix("[").removesuffix("]"), f"log {address}")
    return _Datagrams(target.family, target.address(int(port)))


def _open_stream(fd: int) -> _Stream:
    """Return what writes to a standard stream without waiting; see the table of this module."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        # Whatever is opened next would get its number, and our lines.
        raise ConfigError(f"log {'stdout' if fd == 1 else 'stderr'}: it is closed") from error
    if stat.S_ISSOCK(mode):
        sock = socket.socket(fileno=os.dup(fd))
        return _Stream(lambda part: sock.send(part, socket.MSG_DONTWAIT), sock.close)
    if stat.S_ISREG(mode):
        return _Stream(partial(os.write, fd), _leave)
    # Another description of the same pipe or terminal, and so with flags of its own.
    flags = os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        own = os.open(_DESCRIPTIONS.format(fd), flags)
    except OSError:
        return _Stream(partial(_write_if_writable, fd), _leave)
    return _Stream(partial(os.write, own), partial(os.close, own))


def _write_if_writable(fd: int, part: bytes) -> int:
    """Write as much as ``poll`` promises to take: a pipe that is writable has PIPE_BUF bytes."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return os.write(fd, part[:_PIPE_BUF])


def _refuse(part: bytes) -> int:
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _leave() -> None:
    """Leave a stream open that is not ours alone."""
