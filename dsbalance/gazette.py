"""What is told of frontends, backends and servers, and the pens of their sections' logs.

    told of        when
    a server       its state changes; with ``option log-health-checks`` also what a check came to,
                   if that is something else than the last time
    a backend      its last usable server is lost
    a frontend     it is paused, resumed, stopped

What is said is said in :mod:`dsbalance.haproxy.server_log`. Everything here is for the loop's
thread, but for what is made before it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dsbalance.backends import Backends
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.haproxy.server_log import Cause, change_notices, check_notice
from dsbalance.log_options import LogTarget, Severity
from dsbalance.model import Backend, Config, Frontend
from dsbalance.placement import Change

if TYPE_CHECKING:
    from dsbalance.logs import Logs, Pen


class Gazette:
    """Tells the log targets of each section what concerns it.

    Args:
        config: What the lines begin with.
        backends: What is told of.
    """

    __slots__ = ("_backends", "_config", "_logs", "_pens", "_readers")

    def __init__(self, config: Config, backends: Backends) -> None:
        self._config = config
        self._backends = backends
        self._logs: Logs | None = None
        # By the name of the frontend, and of the backend.
        self._readers: dict[str, Pen | None] = {}
        self._pens: dict[str, Pen | None] = {}

    @property
    def dropped(self) -> int:
        """How many lines no target took."""
        return 0 if self._logs is None else self._logs.dropped

    # -- sections

    def open_frontend(self, frontend: Frontend) -> Pen | None:
        """Return what writes to the log of a frontend; None: it has none.

        It may block the first time. Raises as :meth:`dsbalance.logs.Logs.pen`.
        """
        if frontend.name not in self._readers:
            log = frontend.log
            self._readers[frontend.name] = None if log is None else self._open(log.targets, log.tag)
        return self._readers[frontend.name]

    def open_backend(self, backend: Backend) -> None:
        """Tell of a backend from now on. As :meth:`open_frontend`."""
        log = backend.log
        self._pens[backend.name] = None if log is None else self._open(log.targets, log.tag)

    def close_frontend(self, name: str) -> None:
        """Forget a frontend; one of the same name may come."""
        self._readers.pop(name, None)

    def close_backend(self, name: str) -> None:
        """Forget a backend."""
        self._pens.pop(name, None)

    def close(self) -> None:
        """Say nothing any more."""
        if self._logs is not None:
            self._logs.close()

    def _open(self, targets: Sequence[LogTarget], tag: str | None) -> Pen | None:
        if not targets:
            return None
        if self._logs is None:
            # Loaded when it is used: many proxies log nowhere.
            from dsbalance.logs import Logs  # noqa: PLC0415

            self._logs = Logs(self._config)
        return self._logs.pen(targets, tag)

    # -- news

    def tell_change(self, change: Change, cause: Cause) -> None:
        """Tell of a change of a server, whose health ``cause`` has changed if it has."""
        pen = self._pens.get(change.backend)
        if pen is None:
            return
        balancer = self._backends.balancer(change.backend)
        log = balancer.backend.log
        notices = change_notices(
            change,
            balancer.states.get(change.server),
            cause,
            tells_checks=log is not None and log.tells_checks,
            is_listen=change.backend in self._readers,
        )
        for severity, line in notices:
            pen.write(severity, line)

    def tell_check(
        self, backend: str, server: str, result: CheckResult, before: tuple[CheckStatus | None, int]
    ) -> None:
        """Tell of a check that was counted, if it is another one than the last.

        Args:
            backend: Whose server it is.
            server: It may have gone.
            result: What the check came to.
            before: What the last one came to, and the server's health then.
        """
        pen = self._pens.get(backend)
        if pen is None:
            return
        balancer = self._backends.balancer(backend)
        state, log = balancer.states.get(server), balancer.backend.log
        if state is None or log is None or not log.tells_checks:
            return
        if before != (result.status, state.gate.health):
            severity, line = check_notice(backend, state, result)
            pen.write(severity, line)

    def tell_paused(self, name: str, *, is_open: bool) -> None:
        """Tell that a frontend has been stopped for a time, or goes on."""
        pen = self._readers.get(name)
        if pen is not None:
            is_listen = any(name == balancer.name for balancer in self._backends)
            what = f"{'Resumed' if is_open else 'Paused'} {'proxy' if is_listen else 'frontend'}"
            pen.write(Severity.WARNING, f"{what} {name}.")

    def tell_end(self, clients: Mapping[str, int], *, is_alone: bool = False) -> None:
        """Tell that frontends have ended, and with them all backends.

        Args:
            clients: How many each of the frontends has had, by its name.
            is_alone: Whether the backends of other names go on.
        """
        routed = {balancer.name: balancer.counters.total for balancer in self._backends}
        for name in clients if is_alone else {**clients, **routed}:
            pen = self._readers.get(name) or self._pens.get(name)
            if pen is not None:
                counts = f"FE: {clients.get(name, 0)}, BE: {routed.get(name, 0)}"
                pen.write(Severity.WARNING, f"Proxy {name} stopped (cumulated conns: {counts}).")
