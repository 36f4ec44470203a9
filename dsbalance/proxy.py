"""The proxy that people embed: a configuration at work.

    state      start()/run()     soft_stop()  stop()     the last session ends
    NEW        OPENING, RUNNING  -            CANCELLED  -
    OPENING    RuntimeError      -            STOPPED    -
    RUNNING    RuntimeError      DRAINING     STOPPED    -
    DRAINING   RuntimeError      -            STOPPED    STOPPED
    STOPPED    RuntimeError      -            -          -
    CANCELLED  (return at once)  -            -          -

What is stopped while it opens its ports is stopped as soon as they are open.

The loop's thread owns everything; the public methods may be called from any thread, and from the
callbacks, and return when the loop has done what they ask. Before the start and after the end they
act at once, on the calling thread, and nobody is served.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from dsbalance.balancer import AdminState, Change, Health
from dsbalance.candidates import Client
from dsbalance.engine import Engine
from dsbalance.explanation import Step
from dsbalance.limits import descriptor_limit, make_budget
from dsbalance.loop import Loop
from dsbalance.model import Backend, Config, Frontend, Server
from dsbalance.poller import Poller
from dsbalance.resolve import Located, locate
from dsbalance.stats import SessionSnapshot, Snapshot
from dsbalance.sticky import Entry


class ProxyState(enum.Enum):
    """Whether a proxy accepts clients."""

    NEW = enum.auto()
    OPENING = enum.auto()
    RUNNING = enum.auto()
    DRAINING = enum.auto()
    STOPPED = enum.auto()
    CANCELLED = enum.auto()


class Proxy:
    """Run a configuration, on a background thread or on this one.

    >>> from dsbalance import Backend, Bind, Config, Frontend, Proxy, Server
    >>> config = Config(
    ...     frontends=(Frontend(name="door", binds=(Bind(port=0),), backend="web"),),
    ...     backends=(Backend(name="web", servers=(Server(name="a", host="127.0.0.1", port=9),)),),
    ... )
    >>> with Proxy(config) as proxy:
    ...     proxy.drain("web/a")
    ...     proxy.snapshot().backends[0].servers[0].status
    'DRAIN'

    It owns descriptors from here on: start it, or call :meth:`stop`.

    Args:
        config: What to run; names in it are resolved here, once.
        poller: What the loop waits with; None: the fastest of this system.
        pipes: Pipes of the splicing path at the most; None: as many as the limits allow, 0: copy.

    Raises:
        ConfigError: ``maxconn`` does not fit the process's limits, or a policy cannot be made.
        ConnectError: A host does not resolve.
    """

    def __init__(
        self, config: Config, *, poller: Poller | None = None, pipes: int | None = None
    ) -> None:
        budget = make_budget(config, descriptor_limit())
        if pipes is not None:
            budget = replace(budget, pipes=pipes)
        located = {backend.name: _locate(backend) for backend in config.backends}
        self._hard_stop_after = config.hard_stop_after
        self._state = ProxyState.NEW
        self._loop = Loop(poller)
        try:
            self._engine = Engine(config, located, self._loop, budget)
        except BaseException:
            self._loop.free()
            raise

    # -- life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.join()

    def start(self) -> None:
        """Listen, and serve on a background thread.

        Raises:
            ConnectError: A port cannot be listened on; then none is.
            RuntimeError: It was started before.
        """
        if self._open():
            self._loop.start("dsbalance", self._close)

    def run(self) -> None:
        """Listen, and serve on this thread until :meth:`stop` or the end of :meth:`soft_stop`.

        Raises:
            ConnectError, RuntimeError: As :meth:`start`.
        """
        if self._open():
            self._loop.run(self._close)

    def stop(self) -> None:
        """Close the ports and all sessions. Any thread, and signal handlers; it does not wait."""
        if self._state is ProxyState.NEW:
            self._state = ProxyState.CANCELLED
            self._engine.close()
            self._loop.free()
        else:
            self._loop.call(self._stop)

    def soft_stop(self) -> None:
        """Close the ports, and stop when the last session has ended or ``hard-stop-after`` is over.

        Any thread, and signal handlers; it does not wait. Nothing happens before the start.
        """
        self._loop.call(self._soft_stop)

    def join(self) -> None:
        """Wait until the background thread has ended. Any thread but the callbacks'."""
        self._loop.join()

    @property
    def wakeup_fd(self) -> int:
        """A descriptor for :func:`signal.set_wakeup_fd`, so that a signal ends the loop's wait."""
        return self._loop.wakeup_fd

    # -- operation

    def drain(self, server: str) -> None:
        """Send no new clients to ``backend/server``; those that are stuck to it stay.

        Raises:
            ConfigError: There is no such server.
        """
        self._loop.ask(lambda: self._engine.operations.set_admin(server, AdminState.DRAIN))

    def ready(self, server: str) -> None:
        """Let ``backend/server`` serve again. Raises as :meth:`drain`."""
        self._loop.ask(lambda: self._engine.operations.set_admin(server, AdminState.READY))

    def maint(self, server: str) -> None:
        """Send nobody to ``backend/server`` and stop checking it. Raises as :meth:`drain`."""
        self._loop.ask(lambda: self._engine.operations.set_admin(server, AdminState.MAINT))

    def set_health(self, server: str, health: Health | str) -> None:
        """Take ``backend/server``, and those that track it, to be as ``health`` says.

        It is ``"up"``, ``"stopping"`` (no new clients) or ``"down"``, until a check differs.

        Raises:
            ConfigError: There is no such server, or it tracks another one.
            ValueError: There is no such word.
        """
        wanted = Health(health)
        self._loop.ask(lambda: self._engine.operations.set_health(server, wanted))

    def stick_entries(self, backend: str) -> list[Entry]:
        """Return what is in the stick table of ``backend``. O(entries), on the loop's thread.

        Raises:
            ConfigError: It has none of its own.
        """
        return self._loop.ask(lambda: self._engine.stick_entries(backend))

    def explain(self, backend: str, address: str) -> tuple[Step, ...]:
        """Return, step by step, to whom a client of ``backend`` would be sent now, and why.

        >>> from dsbalance.quick import quick
        >>> config = quick(listen=["127.0.0.1:0"], servers=["127.0.0.1:9"], is_checked=False)
        >>> with Proxy(config) as proxy:
        ...     [step.topic for step in proxy.explain("quick", "192.0.2.1")]
        ['entry', 'servers', 'turn']

        Raises:
            ConfigError: There is no such backend.
            ValueError: It is no IP address.
        """
        client = Client(address, ipaddress.ip_address(address).packed, 0)
        return self._loop.ask(lambda: self._engine.explain(backend, client))

    def set_weight(self, server: str, weight: int) -> None:
        """Change the share of ``backend/server``.

        Raises:
            ConfigError: There is no such server, or the weight is not 0 to 256.
        """
        self._loop.ask(lambda: self._engine.operations.set_weight(server, weight))

    def set_maxconn(self, place: str, maxconn: int | None) -> None:
        """Give ``backend/server``, or the frontend of this name, another limit of sessions.

        Who waits is let in as far as it allows; whoever is there stays. None: there is no limit
        but that of the process.

        Raises:
            ConfigError: There is nothing of that name, or the limit is below 1.
        """
        operations = self._engine.operations
        act = operations.set_server_maxconn if "/" in place else operations.set_frontend_maxconn
        self._loop.ask(lambda: act(place, maxconn))

    def shutdown_sessions(self, server: str) -> int:
        """End the sessions that ``backend/server`` has, and return how many. Raises as above."""
        return self._loop.ask(lambda: self._engine.operations.shutdown_sessions(server))

    def snapshot(self) -> Snapshot:
        """Return what there is to know now, as frozen values: see :mod:`dsbalance.stats`.

        It has the process, the frontends, the backends with their servers, and the stick tables,
        each with its state, its counters and its rates. O(servers), once a second O(sessions).
        """
        return self._loop.ask(self._engine.operations.snapshot)

    def sessions(self) -> list[SessionSnapshot]:
        """Return the clients' connections: who, where, at whom, why, since when. O(sessions)."""
        return self._loop.ask(self._engine.operations.sessions)

    def addresses(self, frontend: str) -> list[tuple[str, int]]:
        """Return the addresses and ports that ``frontend`` listens on, in the order of its binds.

        Raises:
            ConfigError: There is no such frontend.
        """
        return self._loop.ask(lambda: self._engine.addresses(frontend))

    def subscribe(self, callback: Callable[[Change], None]) -> None:
        """Call ``callback`` with each change of a server's state, on the loop's thread.

        It must not block. What it raises is logged. It is called until the proxy ends.
        """
        self._loop.ask(lambda: self._engine.subscribe(callback))

    # -- parts that come and go

    def add_frontend(self, frontend: Frontend) -> None:
        """Listen for ``frontend`` from now on.

        Raises:
            ConfigError: The name is taken, or its backend does not exist.
            ConnectError: A port cannot be listened on; then nothing has changed.
        """
        self._loop.ask(lambda: self._engine.add_frontend(frontend))

    def remove_frontend(self, name: str) -> None:
        """Close the ports of a frontend; its sessions go on.

        Raises:
            ConfigError: There is no such frontend.
        """
        self._loop.ask(lambda: self._engine.remove_frontend(name))

    def add_backend(self, backend: Backend) -> None:
        """Have a backend that frontends may name. Names are resolved on the calling thread.

        Raises:
            ConfigError: The name is taken, or something in it names what does not exist.
            ConnectError: A host does not resolve.
        """
        located = _locate(backend)
        self._loop.ask(lambda: self._engine.add_backend(backend, located))

    def remove_backend(self, name: str) -> None:
        """Forget a backend that no frontend, table or track names.

        Raises:
            ConfigError: There is no such backend, or something uses it.
        """
        self._loop.ask(lambda: self._engine.remove_backend(name))

    def add_server(self, backend: str, server: Server) -> None:
        """Let ``server`` take clients of ``backend`` from now on. Raises as :meth:`add_backend`."""
        located = locate(server, f"backend {backend}, server {server.name}")
        self._loop.ask(lambda: self._engine.add_server(backend, server, located))

    def remove_server(self, server: str) -> None:
        """Send nobody to ``backend/server`` any more and forget it; its sessions go on.

        Raises:
            ConfigError: There is no such server, or another one tracks it.
        """
        self._loop.ask(lambda: self._engine.remove_server(server))

    # -- on the loop's thread

    def _open(self) -> bool:
        """Open the ports; False: it was stopped before it could."""
        if self._state is ProxyState.CANCELLED:
            return False
        if self._state is not ProxyState.NEW:
            raise RuntimeError(f"this proxy is {self._state.name.lower()}: make another one")
        self._state = ProxyState.OPENING
        try:
            self._engine.open()
        except BaseException:
            self._close()
            self._loop.free()
            raise
        self._state = ProxyState.RUNNING
        return True

    def _stop(self) -> None:
        self._close()
        self._loop.stop()

    def _close(self) -> None:
        if self._state is not ProxyState.STOPPED:
            self._state = ProxyState.STOPPED
            self._engine.close()

    def _soft_stop(self) -> None:
        if self._state is ProxyState.RUNNING:
            self._state = ProxyState.DRAINING
            self._engine.on_idle = self._stop
            self._engine.close_ports()
            if self._hard_stop_after is not None:
                self._loop.after(self._hard_stop_after, self._stop)


def _locate(backend: Backend) -> dict[str, Located]:
    """Return where the servers of ``backend`` are; this may take long."""
    return {
        server.name: locate(server, f"backend {backend.name}, server {server.name}")
        for server in backend.servers
    }
