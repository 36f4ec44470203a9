"""A proxy that is steered and shown, and does nothing: it notes what it was told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, TypeVar

from dsbalance.balancer import AdminState, Health
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.counters import Times
from dsbalance.errors import ConfigError
from dsbalance.stats import (
    BackendSnapshot,
    CheckSnapshot,
    FrontendSnapshot,
    ProcessSnapshot,
    Responses,
    ServerSnapshot,
    SessionSnapshot,
    Snapshot,
    TableSnapshot,
)
from dsbalance.sticky import Entry

T = TypeVar("T")

_BLANKS: dict[str, Any] = {
    "int": 0,
    "float": 0.0,
    "str": "",
    "bool": False,
    "Responses": Responses(),
    "Times": Times(0, 0, 0, 0),
}
PASSED = CheckResult(status=CheckStatus.L4OK, port=80, elapsed=0.001)


def blank(kind: type[T], **values: Any) -> T:
    """Return a snapshot with nothing in it but ``values``."""
    for field in fields(kind):  # type: ignore[arg-type]
        annotation = str(field.type)
        if field.name not in values:
            empty = () if annotation.startswith("tuple") else None
            values[field.name] = _BLANKS.get(annotation, empty)
    return kind(**values)


def server(name: str, number: int, **values: Any) -> ServerSnapshot:
    """Return a server that is up, at 127.0.0.1:8001 for number 1 and so on."""
    port = values.get("port", 8000 + number)
    given = {
        "host": "127.0.0.1",
        "port": port,
        "address": "127.0.0.1" if port is None else f"127.0.0.1:{port}",
        "status": "no check",
        "op": 2,
        "admin": "ready",
        "inherited": "ready",
        "is_usable": True,
        "weight": 1,
        "asked_weight": 1,
        "initial_weight": 1,
    }
    return blank(ServerSnapshot, name=name, id=number, **(given | values))


def check(**values: Any) -> CheckSnapshot:
    """Return checks that pass."""
    given = {"last": PASSED, "ended_at": 1.0, "rise": 2, "fall": 3, "health": 4}
    return blank(CheckSnapshot, **(given | values))


def stage() -> Snapshot:
    """Return two frontends, two backends and two tables.

    ``be/s1`` is checked, ``be/s2`` has a weight of 10 and no port, ``be/s3`` is disabled;
    ``static/h1`` has a weight of 20, ``static/t1`` tracks ``be/s1``.
    """
    backends = (
        blank(
            BackendSnapshot,
            name="be",
            id=4,
            balance="roundrobin",
            status="UP",
            servers=(
                server("s1", 1, status="UP", check=check()),
                server("s2", 2, port=None, weight=10, asked_weight=10, initial_weight=10),
                server("s3", 3, op=0, admin="maint", status="MAINT", is_disabled=True),
            ),
        ),
        blank(
            BackendSnapshot,
            name="static",
            id=5,
            balance="source",
            is_static=True,
            status="UP",
            servers=(
                server("h1", 1, weight=20, asked_weight=20, initial_weight=20),
                server("t1", 2, tracked="be/s1"),
            ),
        ),
    )
    return Snapshot(
        uptime=100.0,
        process=blank(ProcessSnapshot, pid=7, node="node", started_at=1_800_000_000.0),
        frontends=(
            blank(FrontendSnapshot, name="fe", id=2, status="OPEN", backend="be"),
            blank(FrontendSnapshot, name="shut", id=3, status="STOP", backend="be"),
        ),
        backends=backends,
        tables=(
            TableSnapshot(name="be", type="ip", size=5, used=2, expire=60.0),
            TableSnapshot(name="static", type="ipv6", size=100, used=0, expire=None),
        ),
    )


class Steered:
    """A :class:`dsbalance.steering.Steering`.

    Attributes:
        now: What it shows.
        done: What it was told to change: the method and its arguments.
        stored: What is in each table.
        clients: The sessions.
    """

    def __init__(self) -> None:
        self.now = stage()
        self.done: list[tuple[Any, ...]] = []
        self.stored = {
            "be": [
                Entry(key=b"\x01\x01\x01\x01", server="s2", remaining=59.999),
                Entry(key=b"\x01\x01\x01\x02", server="s1", remaining=60.0, uses=1),
            ],
            "static": [],
        }
        self.clients = [
            blank(
                SessionSnapshot,
                id=0xAB,
                client="10.1.2.3",
                client_port=4000,
                frontend="fe",
                backend="be",
                server="s1",
                stage="relaying",
                reason="hash",
                age=125.0,
                idle=2.0,
                bytes_in=5,
                bytes_out=6,
            ),
            blank(
                SessionSnapshot,
                id=0xAC,
                client="::1",
                client_port=5,
                frontend="fe",
                is_http=True,
                stage="idle",
            ),
        ]

    def snapshot(self) -> Snapshot:
        return self.now

    def sessions(self) -> list[SessionSnapshot]:
        return self.clients

    def entries(self, table: str) -> Iterator[Entry]:
        yield from self.stored[table]

    def find_entry(self, table: str, key: bytes) -> Entry | None:
        return next((entry for entry in self.stored[table] if entry.key == key), None)

    def set_admin(self, path: str, admin: AdminState) -> None:
        self.done.append(("set_admin", path, admin))
        self._change(path, admin=admin.value)

    def set_health(self, path: str, health: Health) -> None:
        self.done.append(("set_health", path, health))

    def set_weight(self, path: str, weight: int) -> None:
        assert 0 <= weight <= 256
        self.done.append(("set_weight", path, weight))
        self._change(path, asked_weight=weight)

    def set_server_maxconn(self, path: str, maxconn: int | None) -> None:
        assert maxconn is None or maxconn > 0
        self.done.append(("set_server_maxconn", path, maxconn))

    def set_address(self, path: str, host: str | None, port: int | None) -> None:
        assert port is None or 0 < port < 65536
        self.done.append(("set_address", path, host, port))
        for backend in self.now.backends:
            for each in backend.servers:
                if f"{backend.name}/{each.name}" == path:
                    host, port = host or each.host, port or each.port
                    place = f"[{host}]" if ":" in host else host
                    at = place if port is None else f"{place}:{port}"
                    self._change(path, host=host, port=port, address=at)

    def set_check_port(self, path: str, port: int) -> None:
        assert 0 < port < 65536
        self.done.append(("set_check_port", path, port))

    def set_checks(self, path: str, *, is_on: bool) -> None:
        self.done.append(("set_checks", path, is_on))

    def shutdown_session(self, number: int) -> bool:
        self.done.append(("shutdown_session", number))
        return any(session.id == number for session in self.clients)

    def shutdown_sessions(self, path: str) -> int:
        self.done.append(("shutdown_sessions", path))
        return 1

    def set_frontend(self, name: str, *, is_open: bool) -> bool:
        was_open = self.now.frontends[0].status == "OPEN"
        if was_open is is_open:
            return False
        self.done.append(("set_frontend", name, is_open))
        first = replace(self.now.frontends[0], status="OPEN" if is_open else "PAUSED")
        self.now = replace(self.now, frontends=(first, *self.now.frontends[1:]))
        return True

    def shutdown_frontend(self, name: str) -> None:
        self.done.append(("shutdown_frontend", name))

    def set_frontend_maxconn(self, name: str, maxconn: int | None) -> None:
        assert maxconn is None or maxconn > 0
        self.done.append(("set_frontend_maxconn", name, maxconn))

    def set_maxconn(self, maxconn: int | None) -> None:
        if maxconn is not None and maxconn > 500:
            raise ConfigError("no room for so many")
        self.done.append(("set_maxconn", maxconn))

    def clear_counters(self, *, is_all: bool) -> None:
        self.done.append(("clear_counters", is_all))

    def set_entry(self, table: str, key: bytes, server: str | None) -> None:
        if server is None and self.find_entry(table, key) is None:
            raise ConfigError("there is no such entry")
        self.done.append(("set_entry", table, key, server))
        if server is not None:
            others = [entry for entry in self.stored[table] if entry.key != key]
            self.stored[table] = [*others, Entry(key=key, server=server, remaining=60.0)]

    def clear_entries(self, table: str, keys: Iterable[bytes]) -> int:
        wanted = {*keys}
        if wanted:
            self.done.append(("clear_entries", table, wanted))
        held = [entry for entry in self.stored[table] if entry.key in wanted and entry.uses]
        self.stored[table] = [
            entry for entry in self.stored[table] if entry.key not in wanted or entry.uses
        ]
        return len(held)

    def _change(self, path: str, **values: Any) -> None:
        backends = []
        for backend in self.now.backends:
            servers = tuple(
                replace(each, **values) if f"{backend.name}/{each.name}" == path else each
                for each in backend.servers
            )
            backends.append(replace(backend, servers=servers))
        self.now = replace(self.now, backends=tuple(backends))
