"""A dashboard and a runtime socket for a configuration that has none. No I/O.

where the dashboard listens    who may see it                who may change something
8404, :8404, 127.0.0.1:8404    whoever is on this machine    whoever is on this machine
10.0.0.5:8404, *:8404          whoever reaches it            whoever is on this machine
anywhere, with users           who has a password            who has a password
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.errors import ConfigError, Problem
from dsbalance.http_options import HttpOptions
from dsbalance.model import Bind, Config, Frontend
from dsbalance.stats_options import Level, StatsPage, StatsSocket

NAME = "dashboard"
REFRESH = 5.0
"""After how many seconds a browser without JavaScript loads the page anew."""
# A browser that says nothing for longer has gone.
_IDLE_TIMEOUT = 60.0
_LOOPBACK = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128")))
# What HAProxy has predefined under that name.
LOCALHOST = Term(name="LOCALHOST", tests=(Look(fetch=Fetch.SRC, networks=_LOOPBACK),))

Users = Sequence[tuple[str, str]]


def dashboard(address: str, users: Users = (), name: str = NAME) -> Frontend:
    """Return a frontend that shows the statistics and has no servers.

    Args:
        address: ``host:port``, or a port alone, which listens on this machine's loopback; ``*`` as
            a host is every IPv4 address.
        users: Names and passwords, one of which is to be given; none: nobody is asked.
        name: Of the frontend.

    >>> frontend = dashboard("8404")
    >>> str(frontend.binds[0]), frontend.http.stats.uri
    ('127.0.0.1:8404', '/')

    Raises:
        ConfigError: The address is wrong, or a name of a user.
    """
    admin = Condition(alternatives=((LOCALHOST,),))
    page = StatsPage(uri="/", refresh=REFRESH, users=tuple(users), admin=bool(users) or admin)
    return Frontend(
        name=name,
        binds=(_bind(address),),
        backend=None,
        timeout_client=_IDLE_TIMEOUT,
        http=HttpOptions(stats=page),
    )


def _bind(address: str) -> Bind:
    # The folder `haproxy` is loaded when it is used, not with the library.
    from dsbalance.haproxy.lexer import parse_address  # noqa: PLC0415

    text = address if ":" in address else f":{address}"
    host, port, last_port = parse_address(text)
    if port is None or last_port is not None:
        raise ConfigError(f"the dashboard is at ADDRESS:PORT or PORT, not {address!r}")
    if text.startswith(":"):
        host = "127.0.0.1"
    return Bind(host=host, port=port)


def exposure(frontend: Frontend) -> str | None:
    """Return what is to be said of who can see the pages of ``frontend``; None: nothing is."""
    page = frontend.http.stats if frontend.http is not None else None
    if page is None or page.users:
        return None
    places = [str(bind) for bind in frontend.binds if not _is_loopback(bind.host)]
    if not places:
        return None
    return f"{' and '.join(places)}: other machines reach it, and nobody is asked for a password"


def is_open_to_change(frontend: Frontend) -> bool:
    """Return whether everybody who sees the page of ``frontend`` may change something there."""
    page = frontend.http.stats if frontend.http is not None else None
    return page is not None and page.admin is True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def equipped(config: Config, frontend: Frontend | None, socket: str | None) -> Config:
    """Return ``config`` with a dashboard, and with a runtime API that may do everything.

    Args:
        config: What there is.
        frontend: What :func:`dashboard` has made, or None.
        socket: The path of a Unix socket, which is open to who runs the program alone, or None.

    Raises:
        ConfigError: A name or a path is taken.
    """
    frontends = config.frontends if frontend is None else (*config.frontends, frontend)
    sockets = config.sockets
    if socket is not None:
        sockets = (*sockets, StatsSocket(path=socket, level=Level.ADMIN))
    return replace(config, frontends=frontends, sockets=sockets)


def read_users(lines: Iterable[str], file: str) -> list[tuple[str, str]]:
    """Return the users of a file that has ``USER:PASSWORD`` in each line.

    Lines that are empty, or begin with ``#``, say nothing.

    Raises:
        ConfigError: A line is none, or there is no user. No message has a password in it.
    """
    users = []
    for number, text in enumerate(lines, 1):
        line = text.rstrip("\r\n")
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not (name and colon and password):
            raise ConfigError(Problem("expects USER:PASSWORD", file=file, line=number))
        users.append((name, password))
    if not users:
        raise ConfigError(Problem("there is no USER:PASSWORD in it", file=file))
    return users
