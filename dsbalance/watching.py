"""The checks of an engine: which servers are checked, and what becomes of the results.

Before :meth:`Watching.open` and after :meth:`Watching.close` nothing is checked, and what is asked
is noted in the backends alone. Everything here runs on the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from dsbalance.backends import Backends
from dsbalance.balancer import AdminState, Change
from dsbalance.health import CheckResult, HealthChecker, Watch
from dsbalance.loop import Loop
from dsbalance.model import Backend, Server
from dsbalance.resolve import Target


class Watching:
    """Check the servers of all backends, and feed what comes of it to their gates.

    Args:
        loop: Where the checks run.
        backends: Whose servers are checked.
        on_changes: Told what follows from a result.

    Attributes:
        targets: Where each server is checked, by backend and server; kept by the engine.
    """

    __slots__ = ("_backends", "_checker", "_is_open", "_loop", "_on_changes", "targets")

    def __init__(
        self, loop: Loop, backends: Backends, on_changes: Callable[[Iterable[Change]], None]
    ) -> None:
        self.targets: dict[tuple[str, str], Target] = {}
        self._loop = loop
        self._backends = backends
        self._on_changes = on_changes
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
                if (state.admin is AdminState.MAINT) is not state.server.disabled:
                    self.ask(balancer.name, state.name, state.admin)

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

    def ask(self, backend: str, server: str, admin: AdminState) -> None:
        """Check a server unless ``admin`` is maintenance."""
        if not self._is_open or not self.is_checked(backend, server):
            return
        if admin is AdminState.MAINT:
            self._checker.pause(_key(backend, server))
        else:
            self._checker.resume(_key(backend, server))

    def hasten(self, backend: str, server: str) -> None:
        """Check a server soon."""
        if self._is_open and self.is_checked(backend, server):
            self._checker.hasten(_key(backend, server))

    def end(self, backend: str, server: str) -> None:
        """Forget a server that was checked."""
        if self._is_open:
            self._checker.unwatch(_key(backend, server))

    def _watch(self, backend: Backend, server: Server) -> Watch:
        return Watch(
            server=server,
            key=_key(backend.name, server.name),
            target=self.targets[backend.name, server.name],
            connect_timeout=backend.timeout_connect,
            gate=self._backends.balancer(backend.name).states[server.name].gate,
            on_result=partial(self._checked, backend.name, server.name),
        )

    def _checked(self, backend: str, server: str, result: CheckResult) -> None:
        now = self._loop.now
        reason = f"{result.reason} at port {result.port}"
        if result.detail:
            reason += f" ({result.detail})"
        if result.is_passed:
            self._on_changes(self._backends.check_passed(backend, server, now, reason))
        elif not result.is_local:
            self._on_changes(self._backends.check_failed(backend, server, now, reason))


def _key(backend: str, server: str) -> str:
    """Return what the checker knows a server by, and calls it in the log."""
    return f"{backend}/{server}"
