"""Commands of the runtime API that concern a server. No I/O.

Source: the HAProxy 2.6 management guide, 9.3; the answers were observed on HAProxy 2.6.12, those
without an empty line behind them too. On purpose different: an address is set with its port or not
at all, and no port is taken that is none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import partial

from dsbalance.balancer import AdminState, Health
from dsbalance.haproxy.runtime_command import (
    Call,
    Command,
    RefusedError,
    command,
    find_path,
    find_server,
    leading_number,
    whole_number,
)
from dsbalance.stats import BackendSnapshot, ServerSnapshot
from dsbalance.stats_options import Level

_MAX_WEIGHT = 256
_MAX_PORT = 65535
_USAGE = (
    "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send"
    " | check-addr | check-port | fqdn | health | ssl | state | weight\n"
)
_NO_AGENT = "agent checks are not enabled on this server"
_BY_US = " by 'stats socket command'\n"


def _get_weight(call: Call) -> str:
    _, server = find_server(call)
    return f"{server.asked_weight} (initial {server.initial_weight})\n"


def _set_weight(call: Call, place: int = 1) -> str:
    backend, server = find_server(call)
    weight = _weight(call.word(place), backend, server)
    call.steering.set_weight(f"{backend.name}/{server.name}", weight)
    return ""


def _weight(text: str, backend: BackendSnapshot, server: ServerSnapshot) -> int:
    """Return the weight that a text asks for, or refuse."""
    if not text:
        raise RefusedError("Require <weight> or <weight%>.\n")
    weight, rest = leading_number(text)
    if weight is None:
        raise RefusedError("Empty weight string empty or preceded by garbage")
    if rest == "%":
        if weight < 0:
            raise RefusedError("Relative weight must be positive.\n")
        weight = min(server.initial_weight * weight // 100, _MAX_WEIGHT)
    elif rest:
        raise RefusedError("Trailing garbage in weight string")
    elif not 0 <= weight <= _MAX_WEIGHT:
        raise RefusedError("Absolute weight can only be between 0 and 256 inclusive.\n")
    if backend.is_static and weight not in (0, server.initial_weight):
        raise RefusedError(
            "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n"
        )
    return weight


def _set_admin(call: Call, admin: AdminState) -> str:
    call.steering.set_admin(find_path(call), admin)
    return ""


def _set_state(call: Call) -> str:
    path = find_path(call)
    if call.word(2) not in {*AdminState}:
        raise RefusedError("'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n")
    call.steering.set_admin(path, AdminState(call.word(2)))
    return ""


def _set_health(call: Call) -> str:
    backend, server = find_server(call)
    if server.tracked is not None:
        raise RefusedError("cannot change health on a tracking server.\n")
    if call.word(2) not in {*Health}:
        raise RefusedError("'set server <srv> health' expects 'up', 'stopping', or 'down'.\n")
    call.steering.set_health(f"{backend.name}/{server.name}", Health(call.word(2)))
    return ""


def _set_address(call: Call) -> str:
    backend, server = find_server(call)
    if not call.word(2):
        raise RefusedError("set server <b>/<s> addr requires an address and optionally a port.\n")
    host = _ip_address(call.word(2))
    if host is None:
        raise RefusedError(f"Invalid addr '{call.word(2)}'{_BY_US}")
    at = server.address if server.port is None else server.address.rpartition(":")[0]
    old = _ip_address(at.strip("[]"))
    is_moved = host != old
    told = [f"IP changed from '{old}' to '{host}'" if is_moved else "no need to change the addr"]
    port: int | None = None
    if call.word(3) == "port":
        told, port = _port(call.word(4), server, told, is_moved=is_moved)
    if is_moved or port is not None:
        path = f"{backend.name}/{server.name}"
        call.steering.set_address(path, host if is_moved else None, port)
    return ", ".join(told) + _BY_US


def _ip_address(text: str) -> str | None:
    """Return an address as it is usually written; None: it is none, or needs an interface."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else str(address)


def _port(
    text: str, server: ServerSnapshot, told: list[str], *, is_moved: bool
) -> tuple[list[str], int | None]:
    """Return what is to be told and the port to change to, None: it is that already; or refuse."""
    port = None if text.startswith(("+", "-")) else whole_number(text)
    if port is not None and port == server.port:
        return [*told, "no need to change the port"], None
    if port is not None and 0 < port <= _MAX_PORT:
        old = "+0" if server.port is None else str(server.port)
        return [*told, f"port changed from '{old}' to '{port}'"], port
    wrong = f"problem converting port '{text}' to an int"
    if text.startswith(("+", "-")):
        wrong = (
            "can't change <port> to port map because it is incompatible with current health check"
            " port configuration (use 'port' statement from the 'server' directive."
        )
    # The address has not been changed either, so nothing is said of it.
    raise RefusedError(", ".join([wrong] if is_moved else [*told, wrong]) + _BY_US)


def _set_check_port(call: Call) -> str:
    backend, server = find_server(call)
    if not call.word(2):
        raise RefusedError("set server <b>/<s> check-port requires a port.\n")
    if server.check is None:
        raise RefusedError("health checks are not enabled on this server")
    port = whole_number(call.word(2))
    if port is None:
        raise RefusedError("provided port is not an integer")
    if not 0 < port <= _MAX_PORT:
        raise RefusedError("provided port is invalid")
    call.steering.set_check_port(f"{backend.name}/{server.name}", port)
    return ""


def _refuse(call: Call, reason: str) -> str:
    find_server(call)
    raise RefusedError(reason)


def _set_name(call: Call) -> str:
    find_server(call)
    if not call.word(2):
        raise RefusedError("set server <b>/<s> fqdn requires a FQDN.\n")
    raise RefusedError("set server <b>/<s> fqdn failed because no resolution is configured.\n")


_SETTINGS: dict[str, Callable[[Call], str]] = {
    "addr": _set_address,
    "agent": partial(_refuse, reason=f"{_NO_AGENT}.\n"),
    "agent-addr": partial(_refuse, reason=_NO_AGENT),
    "agent-port": partial(_refuse, reason=_NO_AGENT),
    "agent-send": partial(_refuse, reason=f"{_NO_AGENT}.\n"),
    "check-addr": partial(_refuse, reason="check-addr cannot be changed here.\n"),
    "check-port": _set_check_port,
    "fqdn": _set_name,
    "health": _set_health,
    "ssl": partial(
        _refuse,
        reason="'set server <srv> ssl' cannot be set.  default-server should define ssl settings\n",
    ),
    "state": _set_state,
    "weight": partial(_set_weight, place=2),
}


def _set_server(call: Call) -> str:
    setting = _SETTINGS.get(call.word(1))
    return _refuse(call, _USAGE) if setting is None else setting(call)


def _set_checks(call: Call, *, is_on: bool) -> str:
    backend, server = find_server(call)
    if server.check is not None:
        call.steering.set_checks(f"{backend.name}/{server.name}", is_on=is_on)
    elif is_on:
        raise RefusedError("Health check was not configured on this server, cannot enable.\n")
    return ""


def _set_agent(call: Call, *, is_on: bool) -> str:
    find_server(call)
    if is_on:
        raise RefusedError("Agent was not configured on this server, cannot enable.\n")
    return ""


def _set_maxconn(call: Call) -> str:
    path = find_path(call)
    if not call.word(1):
        raise RefusedError("Require <maxconn>.\n")
    maxconn, rest = leading_number(call.word(1))
    if maxconn is None:
        raise RefusedError("maxconn string empty or preceded by garbage")
    if rest:
        raise RefusedError("Trailing garbage in maxconn string")
    if maxconn < 0:
        raise RefusedError("Value out of range.\n")
    call.steering.set_server_maxconn(path, maxconn or None)
    return ""


def _shutdown_sessions(call: Call) -> str:
    call.steering.shutdown_sessions(find_path(call))
    return ""


_ADMIN = Level.ADMIN
_SERVER = "<bk>/<srv>"

COMMANDS: tuple[Command, ...] = (
    command(
        "disable agent",
        _ADMIN,
        partial(_set_agent, is_on=False),
        "does nothing: there are no agents",
        takes=_SERVER,
    ),
    command(
        "disable health",
        _ADMIN,
        partial(_set_checks, is_on=False),
        "stop the checks of a server",
        takes=_SERVER,
        is_change=True,
    ),
    command(
        "disable server",
        _ADMIN,
        partial(_set_admin, admin=AdminState.MAINT),
        "put a server into maintenance",
        takes=_SERVER,
        is_change=True,
    ),
    command(
        "enable agent",
        _ADMIN,
        partial(_set_agent, is_on=True),
        "is refused: there are no agents",
        takes=_SERVER,
    ),
    command(
        "enable health",
        _ADMIN,
        partial(_set_checks, is_on=True),
        "check a server again",
        takes=_SERVER,
        is_change=True,
    ),
    command(
        "enable server",
        _ADMIN,
        partial(_set_admin, admin=AdminState.READY),
        "let a server serve again",
        takes=_SERVER,
        is_change=True,
    ),
    command("get weight", Level.USER, _get_weight, "the weight of a server", takes=_SERVER),
    command(
        "set maxconn server",
        _ADMIN,
        _set_maxconn,
        "how many sessions a server may have, 0: any number",
        takes=f"{_SERVER} <number>",
        is_change=True,
    ),
    command(
        "set server",
        _ADMIN,
        _set_server,
        "its state, health, weight, addr or check-port",
        takes=f"{_SERVER} <what> <value>",
        is_change=True,
    ),
    command(
        "set weight",
        _ADMIN,
        _set_weight,
        "the share of a server, 0 to 256 or in percent of the configured",
        takes=f"{_SERVER} <weight>",
        is_change=True,
    ),
    command(
        "shutdown sessions server",
        _ADMIN,
        _shutdown_sessions,
        "end the sessions of a server",
        takes=_SERVER,
        is_change=True,
    ),
)
