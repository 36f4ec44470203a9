"""The checks of an engine: which servers are checked, and what becomes of the results.

Before :meth:`Watching.open` and after :meth:`Watching.close` nothing is checked, and what is asked
is noted in the backends alone. Everything here runs on the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from dsbalance.backends import Backends
from dsbalance.balancer import AdminState, Change, ServerState
from dsbalance.checks import CheckStatus
from dsbalance.health import CheckResult, HealthChecker, Watch
from dsbalance.loop import Loop
from dsbalance.model import Backend, Server
from dsbalance.resolve import Target

Before = tuple[CheckStatus | None, int]
"""What the last check of a server came to, None: there was none, and its health then."""


class Watching:
    """Check the servers of all backends, and feed what comes of it to their gates.

    Args:
        loop: Where the checks run.
        backends: Whose servers are checked.
        on_changes: Told what follows from a result.
        on_check: Told what a check came to, before what follows: backend, server, the result, and
            what the last one came to, with the server's health then.

    Attributes:
        targets: Where each server is checked, by backend and server; kept by the engine.
    """

    __slots__ = (
        "_backends",
        "_checker",
        "_is_open",
        "_loop",
        "_on_changes",
        "_on_check",
        "targets",
    )

    def __init__(
        self,
        loop: Loop,
        backends: Backends,
        on_changes: Callable[[Iterable[Change]], None],
        on_check: Callable[[str, str, CheckResult, Before], None],
    ) -> None:
        self.targets: dict[tuple[str, str], Target] = {}
        self._loop = loop
        self._backends = backends
        self._on_changes = on_changes
        self._on_check = on_check
        self._checker = HealthChecker(loop)
        self._is_open = False

    def open(self) -> None:
        """Begin to check every server that has a check and is not in maintenance."""
        self._is_open = True
        self._checker.watch_all(
            self._watch(balancer.backend, server)
            for balancer in self._backends
            for server in balancer.backend.servers
            if server.check is not None
        )
        for balancer in self._backends:
            for state in balancer.states.values():
                # What was asked before the checks began.
                if state.is_check_paused or _is_maint(state) is not state.server.disabled:
                    self.ask(balancer.name, state.name)

    def close(self) -> None:
        """Check nobody any more."""
        self._is_open = False
        self._checker.close()

    def is_checked(self, backend: str, server: str) -> bool:
        """Return whether there is such a server with a check of its own."""
        states = self._backends.balancer(backend).states
        return server in states and states[server].server.check is not None

    def begin(self, backend: Backend, servers: Iterable[Server]) -> None:
        """Check those of ``servers`` that have a check, from now on."""
        if self._is_open:
            checked = [server for server in servers if server.check is not None]
            self._checker.watch_all(self._watch(backend, server) for server in checked)

    def ask(self, backend: str, server: str) -> None:
        """Check a server unless it is in maintenance, or an operator has stopped its checks."""
        if not self._is_open or not self.is_checked(backend, server):
            return
        state = self._backends.balancer(backend).states[server]
        if state.is_check_paused or _is_maint(state):
            self._checker.pause(_key(backend, server))
        else:
            self._checker.resume(_key(backend, server))

    def hasten(self, backend: str, server: str) -> None:
        """Check a server soon."""
        if self._is_open and self.is_checked(backend, server):
            self._checker.hasten(_key(backend, server))

    def move(self, backend: str, server: str, target: Target) -> None:
        """Check a server at its port as it is now, and at ``target``."""
        self.targets[backend, server] = target
        if self._is_open and self.is_checked(backend, server):
            state = self._backends.balancer(backend).states[server]
            self._checker.redirect(_key(backend, server), state.server, target)

    def end(self, backend: str, server: str) -> None:
        """Forget a server that was checked."""
        if self._is_open:
            self._checker.unwatch(_key(backend, server))

    def _watch(self, backend: Backend, server: Server) -> Watch:
        balancer = self._backends.balancer(backend.name)
        state = balancer.states[server.name]

        def note(is_running: bool) -> None:
            balancer.settings.note_checking(server.name, is_running=is_running)

        return Watch(
            # As it is now: an operator may have moved it before the checks begin.
            server=state.server,
            key=_key(backend.name, server.name),
            target=self.targets[backend.name, server.name],
            connect_timeout=backend.timeout_connect,
            gate=state.gate,
            on_result=partial(self._checked, backend.name, server.name),
            on_run=note,
        )

    def _checked(self, backend: str, server: str, result: CheckResult) -> None:
        now = self._loop.now
        reason = result.summary
        state = self._backends.balancer(backend).states[server]
        last = state.last_check
        before = None if last is None else last.status, state.gate.health
        self._backends.note_check(backend, server, now, result)
        changes = []
        if result.is_passed:
            changes = self._backends.check_passed(backend, server, now, reason)
        elif not result.is_local:
            changes = self._backends.check_failed(backend, server, now, reason)
        self._on_check(backend, server, result, before)
        self._on_changes(changes)


def _is_maint(state: ServerState) -> bool:
    return state.admin is AdminState.MAINT


def _key(backend: str, server: str) -> str:
    """Return what the checker knows a server by, and calls it in the log."""
    return f"{backend}/{server}"
