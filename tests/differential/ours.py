"""dsbalance as a side: a Proxy in this process, made from the same file."""

from __future__ import annotations

import ipaddress

from dsbalance import BackendSnapshot, Config, Proxy, ServerSnapshot
from dsbalance.balancer import Health
from dsbalance.haproxy.config import read
from dsbalance.placement import OpState

from . import events
from .events import Operation
from .side import Fact, View
from .story import Setup


class OurSide:
    """Run the file of a setup here.

    Args:
        setup: The configuration.
        host: The address for its doors.
        servers: The address of the servers.
    """

    def __init__(self, setup: Setup, host: str, servers: str) -> None:
        self.host = host
        self._setup = setup
        text = setup.file(door=host, servers=servers, socket="socket")
        self._proxy = Proxy(self.configured(read([("haproxy.cfg", text)]).config))
        self._proxy.start()

    def configured(self, config: Config) -> Config:
        """Return what is to run, given what was read: the place where a test plants a bug."""
        return config

    def operate(self, event: Operation) -> None:
        if isinstance(event, events.Admin):
            asks = {"drain": self._proxy.drain, "maint": self._proxy.maint}
            asks.get(event.state, self._proxy.ready)(event.server)
        elif isinstance(event, events.Health):
            self._proxy.set_health(event.server, Health(event.state))
        else:
            self._proxy.set_weight(event.server, event.weight)

    def view(self) -> View:
        snapshot = self._proxy.snapshot()
        return View(
            clients=sum(frontend.current for frontend in snapshot.frontends),
            servers={
                f"{backend.name}/{server.name}": self._server(backend, server)
                for backend in snapshot.backends
                for server in backend.servers
            },
            proxies={backend.name: _backend(backend) for backend in snapshot.backends},
            tables={name: self._table(name) for name in self._setup.tables},
            starting=self._proxy._loop.ask(self._starting),
        )

    def close(self) -> None:
        self._proxy.stop()
        self._proxy.join()

    def _server(self, backend: BackendSnapshot, server: ServerSnapshot) -> dict[str, Fact]:
        is_checked = f"{backend.name}/{server.name}" in self._setup.checked
        return {**_server(server), **({"chkdown": server.downs} if is_checked else {})}

    def _starting(self) -> int:
        balancers = self._proxy._engine._backends
        return sum(s.op is OpState.STARTING for b in balancers for s in b.states.values())

    def _table(self, name: str) -> dict[str, str]:
        return {
            str(ipaddress.ip_address(entry.key)): self._setup.named(entry.server)
            for entry in self._proxy.stick_entries(name)
        }


def _server(server: ServerSnapshot) -> dict[str, Fact]:
    return {
        "status": server.status,
        "uweight": server.weight,
        "scur": server.current,
        "qcur": server.queued,
        "stot": server.total,
        "lbtot": server.chosen,
        "wretr": server.retries,
        "wredis": server.redispatches,
        "econ": server.connect_errors,
    }


def _backend(backend: BackendSnapshot) -> dict[str, Fact]:
    return {
        "status": backend.status,
        "weight": backend.weight,
        "act": backend.active,
        "bck": backend.backups,
        "qcur": backend.queued,
    }
