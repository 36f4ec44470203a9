"""Dispatcher Paragon and Phoenix: from the addresses of their servers to a Config. No I/O.

    listen          ports             serves                     health
    paragon         5022, 5014-5019   TLS, passed on untouched   connects to 5022 and 5555
    paragon-http    5012              plain HTTP, each request   that of paragon
    paragon-print   as given          LPR and raw print streams  that of paragon
    phoenix         50809             TLS, passed on untouched   connects to 50809
    phoenix-http    50808             plain HTTP, each request   that of phoenix
    stats           as given          the dashboard              -

A server is reached on the port that the client came to. All listens of a group share one table, so
a device has one server for all its ports. On the HTTP ports a server is told the address of the
device in X-Forwarded-For.

Source: the vendor's white paper on failover with HAProxy (2021) for ports, names, balance and the
half hour of affinity; the vendor's requirements of a load balancer (YSoft SafeQ 6) for the checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from dsbalance.errors import ConfigError
from dsbalance.http_options import AddressField, HttpConnection, HttpOptions
from dsbalance.model import (
    Backend,
    Balance,
    Bind,
    Check,
    Config,
    Frontend,
    HashKind,
    HashType,
    Keepalive,
    Server,
    StickRule,
    Table,
)
from dsbalance.panel import dashboard as dashboard_at

# The white paper's listeners.
PARAGON_PORTS = ((5022, None), (5014, 5019))
PARAGON_HTTP_PORT = 5012
PHOENIX_PORT = 50809
PHOENIX_HTTP_PORT = 50808
# LPR (RFC 1179) and raw printing: the white paper's optional ones.
PRINT_PORTS = (515, 9100)

# The vendor: a server is healthy when the terminal server and the spooler controller both accept;
# every 5 s, down after 3 failures. An open port is not readiness, so a server that was down has to
# be well for 12 x 5 s, a minute, before it takes clients again.
PARAGON_CHECK = Check(ports=(5022, 5555), interval=5.0, fall=3, rise=12)
PHOENIX_CHECK = Check(ports=(PHOENIX_PORT,), interval=5.0, fall=3, rise=12)

# The vendor: a device stays where it was sent for at least 30 minutes. The size is that of the
# manual's examples: far more than there are devices.
AFFINITY = Table(size=200 * 1024, expire=30 * 60.0)

# A hash over few devices is uneven: of six on three servers, one in four times a server has none.
# So a new device passes over a server that already has a quarter more of them than the mean.
BOUNDED_CLIENTS = 125

# Linux sends a second SYN after 1 s, so 3 s forgive one that was lost. A server that drops
# everything costs a client this once; after `fall` checks it costs nothing.
CONNECT_TIMEOUT = 3.0
# Panels are silent for long, and idle cuts are the first complaint about balancers before devices.
IDLE_TIMEOUT = 3600.0
# A dead end is found after idle + count x interval: 2 minutes of silence, long before the hour.
KEEPALIVE = Keepalive(idle=60, interval=10, count=6)
# Of a session that has ended in one direction: as long as keepalive takes for an end that is dead.
HALF_CLOSED_TIMEOUT = 120.0

# Each request is placed anew, and its server's connection ends with the answer: the device keeps
# its own, but not a server that is to be left.
PLAIN_HTTP = HttpOptions(
    connection=HttpConnection.SERVER_CLOSE,
    forwardfor=AddressField(),
    # A device says its request at once; between two of them it may be silent for long.
    timeout_request=30.0,
    timeout_keep_alive=IDLE_TIMEOUT,
)


# A browser keeps its connection for the next look.
BROWSED = HttpOptions(timeout_request=30.0, timeout_keep_alive=60.0)


def suite(
    *,
    paragon: Sequence[str] = (),
    phoenix: Sequence[str] = (),
    phoenix_backup: Sequence[str] = (),
    print_ports: Sequence[int] = (),
    host: str = "",
    dashboard: str | None = None,
) -> Config:
    """Return a configuration for the whole suite, or for the part that has servers.

    Args:
        paragon: Address or name of each Paragon server, without a port.
        phoenix: The same for Phoenix.
        phoenix_backup: Phoenix failover nodes: each serves only while no other server can.
        print_ports: Ports for print streams to Paragon, such as :data:`PRINT_PORTS`.
        host: The address to listen on; empty: every IPv4 address.
        dashboard: Where the white paper's ``listen stats`` is, as
            :func:`dsbalance.panel.dashboard` takes it; None: there is none.

    >>> config = suite(paragon=["10.0.0.11", "10.0.0.12"], phoenix=["10.0.0.11"])
    >>> [frontend.name for frontend in config.frontends]
    ['paragon', 'paragon-http', 'phoenix', 'phoenix-http']

    Raises:
        ConfigError: There is no server, an address is malformed or given twice, or failover nodes
            or print ports are given without servers.
    """
    if print_ports and not paragon:
        raise ConfigError("print streams go to Paragon, which has no servers")
    if phoenix_backup and not phoenix:
        raise ConfigError("Phoenix has failover nodes, and no servers for them to stand in for")
    parts = []
    if paragon:
        parts.append(paragon_config(paragon, print_ports=print_ports, host=host))
    if phoenix:
        parts.append(phoenix_config(phoenix, backup=phoenix_backup, host=host))
    if parts and dashboard is not None:
        parts.append(_statistics(dashboard))
    if not parts:
        raise ConfigError("there is no server, neither for Paragon nor for Phoenix")
    if len(parts) == 1:
        # It is validated already, which for ten thousand servers takes a while.
        return parts[0]
    return Config(
        frontends=tuple(frontend for part in parts for frontend in part.frontends),
        backends=tuple(backend for part in parts for backend in part.backends),
    )


def paragon_config(
    servers: Sequence[str], *, print_ports: Sequence[int] = (), host: str = ""
) -> Config:
    """Return a configuration for Paragon alone; the arguments are those of :func:`suite`.

    Raises:
        ConfigError: There is no server, an address is malformed or given twice, or a print port is
            taken.
    """
    binds = [Bind(host=_host(host), port=port, last_port=last) for port, last in PARAGON_PORTS]
    plain = [Bind(host=_host(host), port=PARAGON_HTTP_PORT)]
    listens = [_Listen("paragon-http", plain, PLAIN_HTTP)]
    if print_ports:
        _check_print_ports(print_ports)
        prints = [Bind(host=_host(host), port=port) for port in print_ports]
        listens.append(_Listen("paragon-print", prints))
    return _group(_Listen("paragon", binds), listens, _servers(servers, PARAGON_CHECK, "primary"))


def _check_print_ports(ports: Sequence[int]) -> None:
    taken = {PARAGON_HTTP_PORT, PHOENIX_PORT, PHOENIX_HTTP_PORT}
    taken.update(*(range(first, (last or first) + 1) for first, last in PARAGON_PORTS))
    for port in ports:
        if not 1 <= port <= 65535 or port in taken:
            raise ConfigError(f"print ports: {port} is no port, is taken, or is given twice")
        taken.add(port)


def phoenix_config(servers: Sequence[str], *, backup: Sequence[str] = (), host: str = "") -> Config:
    """Return a configuration for Phoenix alone; ``backup`` are its failover nodes.

    Raises:
        ConfigError: There is no server, or an address is malformed or given twice.
    """
    if repeated := set(map(_host, servers)).intersection(map(_host, backup)):
        raise ConfigError(f"{min(repeated)} cannot stand in for itself")
    nodes = _servers(servers, PHOENIX_CHECK, "primary")
    if backup:
        nodes += _servers(backup, PHOENIX_CHECK, "backup", is_backup=True)
    secure = _Listen("phoenix", [Bind(host=_host(host), port=PHOENIX_PORT)])
    plain = [Bind(host=_host(host), port=PHOENIX_HTTP_PORT)]
    return _group(secure, [_Listen("phoenix-http", plain, PLAIN_HTTP)], nodes)


def _statistics(address: str) -> Config:
    """Return the white paper's dashboard, which is a listen without servers."""
    shown = dashboard_at(address, name="stats")
    listen = _Listen("stats", shown.binds, BROWSED)
    stats = None if shown.http is None else shown.http.stats
    return Config(
        frontends=(replace(_frontend(listen), http=replace(BROWSED, stats=stats)),),
        backends=(_bare_backend(listen),),
    )


class _Listen(NamedTuple):
    """A listen section that is still to get its servers."""

    name: str
    binds: Sequence[Bind]
    http: HttpOptions | None = None


def _group(first: _Listen, others: Sequence[_Listen], servers: Sequence[Server]) -> Config:
    """Return the listens of one group: ``first`` has the table and the checks, for all of them."""
    followers = [_follower(server, first.name) for server in servers]
    rule = StickRule(table=first.name)
    backends = [_backend(first, servers, StickRule(), AFFINITY)]
    backends += (_backend(other, followers, rule) for other in others)
    return Config(
        frontends=tuple(_frontend(listen) for listen in (first, *others)),
        backends=tuple(backends),
    )


def _frontend(listen: _Listen) -> Frontend:
    return Frontend(
        name=listen.name,
        binds=tuple(listen.binds),
        backend=listen.name,
        timeout_client=IDLE_TIMEOUT,
        timeout_client_fin=HALF_CLOSED_TIMEOUT,
        keepalive=KEEPALIVE,
        http=listen.http,
    )


def _backend(
    listen: _Listen, servers: Sequence[Server], rule: StickRule, table: Table | None = None
) -> Backend:
    return replace(
        _bare_backend(listen),
        servers=tuple(servers),
        balance=Balance.SOURCE,
        hash_type=HashType(kind=HashKind.CONSISTENT),
        table=table,
        stick=(rule,),
        bounded_clients=BOUNDED_CLIENTS,
    )


def _bare_backend(listen: _Listen) -> Backend:
    return Backend(
        name=listen.name,
        # Every retry goes to another server: the client waits for no second refusal of the same.
        retries=3,
        redispatch=1,
        timeout_connect=CONNECT_TIMEOUT,
        timeout_server=IDLE_TIMEOUT,
        timeout_server_fin=HALF_CLOSED_TIMEOUT,
        keepalive=KEEPALIVE,
        http=listen.http,
    )


def _servers(
    addresses: Sequence[str], check: Check, prefix: str, *, is_backup: bool = False
) -> list[Server]:
    """Return ``PREFIX-1`` to ``PREFIX-N``."""
    if isinstance(addresses, str):
        raise ConfigError(f"expects several addresses, not the one text {addresses!r}")
    hosts = [_host(address) for address in addresses]
    problems = [f"{prefix}: the address is empty" for host in hosts if not host]
    problems += (f"{host} is given {n} times" for host, n in Counter(hosts).items() if n > 1)
    if not hosts:
        problems.append(f"{prefix}: there is no server")
    if problems:
        raise ConfigError(*problems)
    return [
        _server(f"{prefix}-{number}", host, is_backup=is_backup, check=check)
        for number, host in enumerate(hosts, 1)
    ]


def _follower(server: Server, group: str) -> Server:
    """Return ``server`` in another listen of its group, where it is not checked again."""
    track = f"{group}/{server.name}"
    return _server(server.name, server.host, is_backup=server.backup, track=track)


def _server(
    name: str, host: str, *, is_backup: bool, check: Check | None = None, track: str | None = None
) -> Server:
    return Server(
        name=name,
        host=host,
        backup=is_backup,
        # The clients of a failover node leave it as soon as their own server is back.
        non_stick=is_backup,
        check=check,
        track=track,
        # A panel that hangs is worse than one that connects again.
        shutdown_on_down=True,
    )


def _host(address: str) -> str:
    """Return an address or name as the model has it; empty stays empty."""
    # The folder `haproxy` is loaded when it is used, not with the library.
    from dsbalance.haproxy.lexer import parse_host  # noqa: PLC0415

    if address.count(":") == 1:
        raise ConfigError(
            f"{address!r} has a port; servers are reached on the port that the client came to"
        )
    return parse_host(address) if address else ""
