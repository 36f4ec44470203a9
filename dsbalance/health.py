"""Watching many servers on one loop: TCP connects that the application never sees.

A check connects to its ports, one after the other, and ends each connection with a reset in place
of the last segment of the handshake: the server's system has answered, so the port is open, but
nothing reaches the application's ``accept``. The first port that fails ends the check. With
``check-send-proxy`` a PROXY header is sent first: then the application sees that, and the reset.

    phase       event                            then
    WAITING     due                              CONNECTING to the first port
    CONNECTING  connected, there are more ports  CONNECTING to the next one
    CONNECTING  connected to the last port       WAITING, passed (L4OK)
    CONNECTING  refused, reset, unreachable      WAITING, failed (L4CON)
    CONNECTING  due                              WAITING, failed (L4TOUT)
    CONNECTING  an error of this machine's own   WAITING, neither (SOCKERR)
    either      due, but long ago                WAITING, neither: the machine was suspended
    any         paused                           PAUSED, until it is resumed: then WAITING

A check has one socket and one deadline, so it cannot overlap itself, and what comes after the
deadline finds nobody. Source: the HAProxy 2.6 manual on ``tcp-check connect``, ``inter``,
``timeout check`` and ``track``; the socket options observed on HAProxy 2.6.12; tcp(7), socket(7).
"""

from __future__ import annotations

import contextlib
import enum
import errno
import logging
import random
import socket
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Self

from dsbalance.candidates import Client
from dsbalance.checks import CheckResult, CheckStatus, first_delays
from dsbalance.errors import ConfigError, Problem
from dsbalance.gate import Gate
from dsbalance.loop import Loop
from dsbalance.model import SendProxy, Server
from dsbalance.poller import WRITABLE
from dsbalance.resolve import Target, resolve
from dsbalance.sockets import LOCAL, PENDING, Stream, open_stream, set_reset, words

# The deadlines of a loop are up to a second late (dsbalance.loop); more than that is a stall.
_STALL = 2.0

_log = logging.getLogger("dsbalance.health")

__all__ = ["CheckResult", "CheckStatus", "HealthChecker", "Watch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One server to watch, and who is told.

    Callbacks run on the loop's thread and must not block. What they raise is logged.

    Attributes:
        server: It has a check, or it tracks one that is watched. A disabled one is paused.
        key: What the checker knows it by and what ``track`` names; None: the server's name.
        target: Where the checks go; None: the host of the check, or the server's, is resolved.
        connect_timeout: Limit of a connect if the check has a ``timeout``; None: the interval.
        gate: Its rise and fall, None: one of its own. Not looked at when the server tracks.
        on_result: Told the result of each check; then it is the one who feeds the gate. None: the
            checker does. Never called for a server that tracks.
        on_change: Told the server and whether it is up now, each time that changes.
        on_run: Told True when a check begins, and False when it ends or is broken off.
    """

    server: Server
    key: Hashable | None = None
    target: Target | None = None
    connect_timeout: float | None = None
    gate: Gate | None = None
    on_result: Callable[[CheckResult], None] | None = None
    on_change: Callable[[Server, bool], None] | None = None
    on_run: Callable[[bool], None] | None = None


class HealthChecker:
    """Check servers, in a proxy's loop or in one of its own.

    >>> from queue import SimpleQueue
    >>> from dsbalance.model import Check
    >>> results = SimpleQueue()
    >>> with HealthChecker() as checker:
    ...     check = Check(ports=(9, 5555), interval=5)
    ...     checker.watch(Server(name="a", host="127.0.0.1", check=check), on_result=results.put)
    ...     results.get().reason
    'Layer4 connection problem'

    A server is up until its first check says otherwise. Call from any thread or callback.

    Args:
        loop: Where it runs; the checker must be closed before that ends. None: a loop on a
            background thread, which :meth:`close` ends.
    """

    __slots__ = ("_is_closed", "_is_owner", "_loop", "_probers")

    def __init__(self, loop: Loop | None = None) -> None:
        self._is_owner = loop is None
        self._is_closed = False
        self._loop = Loop() if loop is None else loop
        # By the key of each server; one that tracks another has the other's prober.
        self._probers: dict[Hashable, _Prober] = {}
        if self._is_owner:
            self._loop.start("dsbalance-health")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(
        self,
        server: Server,
        *,
        key: Hashable | None = None,
        gate: Gate | None = None,
        on_result: Callable[[CheckResult], None] | None = None,
        on_change: Callable[[Server, bool], None] | None = None,
    ) -> None:
        """Check a server from now on. The arguments are :class:`Watch`'s; as :meth:`watch_all`."""
        self.watch_all(
            [Watch(server=server, key=key, gate=gate, on_result=on_result, on_change=on_change)]
        )

    def watch_all(self, watches: Iterable[Watch]) -> None:
        """Check servers from now on, their first checks spread as HAProxy spreads them.

        Names are resolved on the calling thread, which may take long.

        Raises:
            ConfigError: A key is taken, a server has neither check nor track, or nothing that is
                checked has the key that it tracks. Then none of them is watched.
            ConnectError: A host does not resolve. Then none of them is watched.
            RuntimeError: The checker is closed.
        """
        located = [(watch, _locate(watch)) for watch in watches]
        self._loop.ask(lambda: self._add(located))

    def unwatch(self, key: Hashable) -> None:
        """Forget a server; a check of it that is under way has no result.

        Raises:
            ConfigError: Other servers track it.
            KeyError: It is not watched.
        """
        self._loop.ask(lambda: self._remove(key))

    def pause(self, key: Hashable) -> None:
        """Stop the checks of a server, for maintenance. One that tracks has none to stop.

        Raises:
            KeyError: It is not watched.
        """
        self._loop.ask(lambda: self._probers[key].pause(key))

    def resume(self, key: Hashable) -> None:
        """Check a paused server again; raise as :meth:`pause`.

        A gate that the checker feeds starts again: up, and one failure away from down.
        """
        self._loop.ask(lambda: self._probers[key].resume(key))

    def hasten(self, key: Hashable) -> None:
        """Let the next check of a server come after ``fastinter``, if it would come later.

        Raises:
            KeyError: It is not watched.
        """
        self._loop.ask(lambda: self._probers[key].hasten(key))

    def redirect(self, key: Hashable, server: Server, target: Target) -> None:
        """Check a server at other ports or elsewhere; one that is under way begins anew.

        Args:
            key: Whose checks.
            server: As it is now. It has as many ports to check as before.
            target: Where it is checked.

        Raises:
            KeyError: It is not watched.
        """
        self._loop.ask(lambda: self._probers[key].redirect(server, target))

    def close(self) -> None:
        """End all checks, and the loop if it is the checker's own. Again: nothing happens.

        Not from a callback when the loop is its own, for it waits until that has ended.
        """
        if not self._is_closed:
            self._loop.ask(self._end)
            if self._is_owner:
                self._loop.stop()
                self._loop.join()

    def _add(self, located: list[tuple[Watch, Target | None]]) -> None:
        if self._is_closed:
            raise RuntimeError("the health checker is closed")
        found = dict(self._probers)
        # Those that track come last: what they track may stand behind them.
        for watch, target in sorted(located, key=lambda each: each[1] is None):
            key = _key(watch)
            if key in found:
                raise _wrong(watch, "it is watched already")
            if target is not None:
                found[key] = _Prober(self._loop, watch, target)
                continue
            tracked = found.get(watch.server.track)
            if tracked is None or tracked.key != watch.server.track:
                raise _wrong(watch, f"track: no server {watch.server.track!r} is checked")
            found[key] = tracked
        self._probers = found
        for watch, _ in located:
            found[_key(watch)].watches.append(watch)
        new = [found[_key(watch)] for watch, target in located if target is not None]
        for prober, delay in zip(new, first_delays([p.interval for p in new]), strict=True):
            prober.start(delay)

    def _remove(self, key: Hashable) -> None:
        prober = self._probers[key]
        if prober.key == key and len(prober.watches) > 1:
            raise _wrong(prober.watch, "other servers track it")
        prober.pause(key)
        prober.watches[:] = [watch for watch in prober.watches if _key(watch) != key]
        del self._probers[key]

    def _end(self) -> None:
        self._is_closed = True
        for prober in self._probers.values():
            prober.pause(prober.key)
        self._probers = {}


class _Phase(enum.Enum):
    PAUSED = enum.auto()
    WAITING = enum.auto()
    CONNECTING = enum.auto()


class _Prober:
    """The checks of one server, one after the other. Loop thread only.

    Attributes:
        key: What ``track`` names.
        watches: Who is told of a change: the server's own, and those that track it.
        due_tick: The property of the loop's timers.
    """

    __slots__ = (
        *("_check", "_due_at", "_gate", "_loop", "_phase", "_ports", "_sock"),
        *("_started_at", "_step", "_target", "_trouble", "due_tick", "key", "watch", "watches"),
    )

    def __init__(self, loop: Loop, watch: Watch, target: Target) -> None:
        check = watch.server.check
        assert check is not None
        # The model refuses a check that has neither.
        self._ports = check.ports or (watch.server.port or 0,)
        self.watch = watch
        self.key = _key(watch)
        self.watches: list[Watch] = []
        self.due_tick = 0
        self._loop = loop
        self._check = check
        self._target = target
        self._gate = watch.gate or Gate(check.rise, check.fall, watch.server.init_state)
        self._phase = _Phase.PAUSED if watch.server.disabled else _Phase.WAITING
        self._sock: Stream | None = None
        self._step = 0
        self._started_at = 0.0
        self._due_at = 0.0
        self._trouble = ""

    def __repr__(self) -> str:
        return f"<check of {self.key}, {self._phase.name}>"

    @property
    def interval(self) -> float:
        """Seconds to the next check after one that ends now."""
        return self._gate.next_interval(self._check)

    def start(self, delay: float) -> None:
        """Check after ``delay`` seconds, and again and again."""
        # Not at once: until the loop runs, its clock stands still.
        self._loop.call(partial(self._wait, delay))

    def pause(self, key: Hashable) -> None:
        """Stop, if ``key`` is its own; a check that is under way has no result."""
        if key == self.key:
            self._drop()
            self._phase = _Phase.PAUSED

    def resume(self, key: Hashable) -> None:
        """Go on after :meth:`pause`, if ``key`` is its own."""
        if key == self.key and self._phase is _Phase.PAUSED:
            self._phase = _Phase.WAITING
            if self.watch.on_result is None and self._gate.reset():
                self._tell()
            self.start(0.0)

    def hasten(self, key: Hashable) -> None:
        """Be due earlier, if ``key`` is its own and no check is under way."""
        fast = self._check.fast_interval or self._check.interval
        is_waiting = key == self.key and self._phase is _Phase.WAITING
        if is_waiting and self._due_at > self._loop.now + fast:
            self._set_due(fast)

    def redirect(self, server: Server, target: Target) -> None:
        """Check elsewhere from the next check on."""
        assert server.check is not None
        self._ports = server.check.ports or (server.port or 0,)
        self._target = target
        if self._phase is _Phase.CONNECTING:
            self._wait(0.0)

    def on_events(self, events: int) -> None:
        """See whether the connection is made, or cannot be."""
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._conclude(CheckStatus.L4CON, words(code))
        elif events & WRITABLE:
            self._connected(self._sock)

    def on_due(self, now: float) -> None:
        """Begin a check, or end one that takes too long."""
        if self._phase is _Phase.PAUSED:
            return
        if now - self._due_at > max(self._check.interval, _STALL):
            # All others are late as well, and what was under way says nothing: spread them again.
            self._wait(self._check.interval * random.random())  # noqa: S311 - no secret
        elif self._phase is _Phase.CONNECTING:
            self._conclude(CheckStatus.L4TOUT)
        else:
            self._begin()

    def on_crash(self, error: Exception) -> None:
        """Go on: a callback that raised must not leave the server unwatched."""
        self._wait(self._check.interval)

    def _begin(self) -> None:
        check = self._check
        self._phase = _Phase.CONNECTING
        if self.watch.on_run is not None:
            self.watch.on_run(True)
        self._step = 0
        self._started_at = self._loop.now
        limit = self.watch.connect_timeout
        self._set_due(min(check.interval, limit) if check.timeout and limit else check.interval)
        self._connect()

    def _connect(self) -> None:
        """Connect to the port whose turn it is."""
        try:
            self._sock = sock = open_stream(self._target.family)
            _hide(sock)
            code = sock.connect_ex(self._target.address(self._ports[self._step]))
            if code in PENDING:
                # What is connected at once is told in the next turn.
                self._loop.watch_stream(sock, self)
                return
            status = CheckStatus.SOCKERR if code in LOCAL else CheckStatus.L4CON
        except OSError as error:
            # No descriptor, no memory, no such family: nothing was asked of the server.
            code, status = error.errno or errno.EIO, CheckStatus.SOCKERR
        self._conclude(status, words(code))

    def _connected(self, sock: Stream) -> None:
        if self.watch.server.check_send_proxy:
            try:
                sock.send(_header(sock, self.watch.server.send_proxy))
            except OSError as error:
                self._conclude(CheckStatus.L4CON, words(error.errno or errno.EIO))
                return
        if self._step + 1 == len(self._ports):
            self._conclude(CheckStatus.L4OK)
            return
        self._close()
        if self._step == 0 and self._check.timeout is not None:
            self._set_due(self._check.timeout)
        self._step += 1
        self._connect()

    def _conclude(self, status: CheckStatus, detail: str = "") -> None:
        self._drop()
        self._phase = _Phase.WAITING
        port, elapsed = self._ports[self._step], self._loop.now - self._started_at
        result = CheckResult(status=status, port=port, detail=detail, elapsed=elapsed)
        self._log_trouble(result)
        was_up = self._gate.is_up
        if self.watch.on_result is not None:
            self.watch.on_result(result)
        elif result.is_passed:
            self._gate.passed()
        elif not result.is_local:
            self._gate.failed()
        if self._gate.is_up is not was_up:
            self._tell()
        self._wait(self.interval)

    def _tell(self) -> None:
        for watch in self.watches:
            if watch.on_change is not None:
                # By the loop: if it raises, the others who are told are not harmed.
                self._loop.call(partial(watch.on_change, watch.server, self._gate.is_up))

    def _log_trouble(self, result: CheckResult) -> None:
        """Log an error of this machine when it begins, changes or ends."""
        trouble = result.detail if result.is_local else ""
        if trouble and trouble != self._trouble:
            _log.warning("server %s cannot be checked and keeps its state: %s", self.key, trouble)
        elif self._trouble and not trouble:
            _log.info("server %s can be checked again", self.key)
        self._trouble = trouble

    def _wait(self, delay: float) -> None:
        """Be due after ``delay`` seconds, unless somebody paused it meanwhile."""
        self._drop()
        if self._phase is not _Phase.PAUSED:
            self._phase = _Phase.WAITING
            self._set_due(delay)

    def _set_due(self, delay: float) -> None:
        self._due_at = self._loop.now + delay
        self._loop.timers.set(self, self._due_at, self._loop.now)

    def _drop(self) -> None:
        """Have neither a connection nor a deadline."""
        self._loop.timers.cancel(self)
        if self._phase is _Phase.CONNECTING and self.watch.on_run is not None:
            self.watch.on_run(False)
        self._close()

    def _close(self) -> None:
        if self._sock is not None:
            self._loop.close(self._sock)
            self._sock = None


def _key(watch: Watch) -> Hashable:
    return watch.server.name if watch.key is None else watch.key


def _wrong(watch: Watch, message: str) -> ConfigError:
    return ConfigError(Problem(message, subject=f"server {_key(watch)}"))


def _locate(watch: Watch) -> Target | None:
    """Return where the checks go, None for a server that tracks; raise as ``watch_all``."""
    check = watch.server.check
    if check is None:
        if watch.server.track is None:
            raise _wrong(watch, "it has neither a check nor a server to track")
        return None
    if watch.target is not None:
        return watch.target
    return resolve(check.host or watch.server.host, f"server {_key(watch)}")


def _hide(sock: Stream) -> None:
    """Keep the connection from the application, which then has no handshake to accept.

    With TCP_QUICKACK off Linux holds the last segment of the handshake back for a moment, and the
    reset of ``close`` takes its place. Elsewhere the application sees a connection that was reset.
    """
    set_reset(sock)
    if (option := getattr(socket, "TCP_QUICKACK", None)) is not None:
        # A system that only emulates Linux may not know it: then as elsewhere.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, 0)


def _header(sock: Stream, version: SendProxy | None) -> bytes:
    """Return the PROXY header of a check: in version 2 LOCAL, in version 1 our own addresses."""
    # Loaded when it is used: few servers want it.
    from dsbalance.haproxy.proxy_protocol import introduction  # noqa: PLC0415

    source, source_port = sock.getsockname()[:2]
    host, port = sock.getpeername()[:2] if version is not SendProxy.V2 else ("", 0)
    return introduction(version or SendProxy.V1, Client(source, b"", port, source_port), host)
