"""Commands of the runtime API that only show something. No I/O.

Source: the HAProxy 2.6 management guide, 9.3; the forms were observed on HAProxy 2.6.12. A session
shows what there is to know of it here behind the words that HAProxy begins with.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from dsbalance.haproxy import server_state
from dsbalance.haproxy.runtime_command import (
    Call,
    Command,
    RefusedError,
    command,
    find_backend,
    in_pieces,
    whole_number,
)
from dsbalance.haproxy.runtime_frontends import pointer, session_number
from dsbalance.haproxy.show_info import HAPROXY_VERSION
from dsbalance.stats import BackendSnapshot, SessionSnapshot, Snapshot
from dsbalance.stats_options import Level

# Lines of one piece of an answer.
_STRIDE = 100
# How long HAProxy keeps an idle connection to a server, in ms; ours end with their client.
_PURGE_DELAY = 5000
_CONN_COLUMNS = (
    "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb"
    " safe_nb idle_lim idle_cur idle_per_thr[1]\n"
)


def _show_backend(call: Call) -> Iterator[str]:
    names = (f"{backend.name}\n" for backend in call.steering.snapshot().backends)
    yield "# name\n"
    yield from in_pieces(names, _STRIDE)


def _show_servers_state(call: Call) -> Iterator[str]:
    return in_pieces(server_state.write(_backends(call)), _STRIDE)


def _show_servers_conn(call: Call) -> Iterator[str]:
    return in_pieces(_connections(_backends(call)), _STRIDE)


def _backends(call: Call) -> tuple[BackendSnapshot, ...]:
    """Return the backend that is asked for, or all of them, or refuse."""
    if not call.word(0):
        return call.steering.snapshot().backends
    backend = find_backend(call, call.word(0))
    if backend is None:
        raise RefusedError("Can't find backend.\n")
    return (backend,)


def _connections(backends: tuple[BackendSnapshot, ...]) -> Iterator[str]:
    yield _CONN_COLUMNS
    for backend in backends:
        for server in backend.servers:
            host = server.address if server.port is None else server.address.rpartition(":")[0]
            yield (
                f"{backend.name}/{server.name} {backend.id}/{server.id} {host.strip('[]')}"
                f" {server.port or 0} - {_PURGE_DELAY} {server.current} {server.peak}"
                f" {server.peak} 0 0 -1 {server.kept} {server.kept}\n"
            )


def _show_sessions(call: Call) -> str | Iterator[str]:
    snapshot = call.steering.snapshot()
    sessions = call.steering.sessions()
    wanted = call.word(0)
    if wanted == "all":
        return in_pieces((_details(session, snapshot) for session in sessions), _STRIDE)
    number = session_number(wanted)
    if not number:
        return in_pieces(map(_session, sessions), _STRIDE)
    for session in sessions:
        if session.id == number:
            return _details(session, snapshot)
    raise RefusedError("Session not found.\n")


def _session(session: SessionSnapshot) -> str:
    return (
        f"{pointer(session)}: {_who(session, 'src')} fe={session.frontend}"
        f" be={session.backend or '<NONE>'} srv={session.server or '<none>'} ts=00 epoch=0"
        f" age={in_words(session.age)} {_what(session)}\n"
    )


def _details(session: SessionSnapshot, snapshot: Snapshot) -> str:
    began = snapshot.process.started_at + snapshot.uptime - session.age
    date = datetime.fromtimestamp(began).strftime("%d/%b/%Y:%H:%M:%S.%f")
    mode = "http" if session.is_http else "tcp"
    return (
        f"{pointer(session)}: [{date}] id={session.id} {_who(session, 'source')}\n"
        f"  frontend={session.frontend} (mode={mode})\n"
        f"  backend={session.backend or '<NONE>'} (mode={mode if session.backend else '-'})\n"
        f"  server={session.server or '<NONE>'}\n"
        f"  age={in_words(session.age)} {_what(session)}\n"
    )


def _who(session: SessionSnapshot, word: str) -> str:
    family = "tcpv6" if ":" in session.client else "tcpv4"
    return f"proto={family} {word}={session.client}:{session.client_port}"


def _what(session: SessionSnapshot) -> str:
    return (
        f"idle={in_words(session.idle)} bytes_in={session.bytes_in} bytes_out={session.bytes_out}"
        f' stage={session.stage} reason="{session.reason}"'
    )


def in_words(seconds: float) -> str:
    """Return a duration in its two greatest units: ``7s``, ``2m5s``, ``1h0m``, ``3d4h``."""
    left = int(seconds)
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    for (name, size), (small_name, small) in pairwise(units):
        if left >= size:
            return f"{left // size}{name}{left % size // small}{small_name}"
    return f"{left}s"


def _show_errors(call: Call) -> str:
    snapshot = call.steering.snapshot()
    name = call.word(0)
    names = {each.name for each in snapshot.frontends} | {each.name for each in snapshot.backends}
    if name and whole_number(name) is None and name not in names:
        raise RefusedError("No such proxy.\n")
    now = datetime.fromtimestamp(snapshot.process.started_at + snapshot.uptime)
    date = f"{now.strftime('%d/%b/%Y:%H:%M:%S')}.{now.microsecond // 1000:03d}"
    return f"Total events captured on [{date}] : 0\n"


def _show_env(call: Call) -> str | Iterator[str]:
    environ = call.visit.environ
    name = call.word(0)
    if not name:
        return in_pieces((f"{key}={value}\n" for key, value in environ.items()), _STRIDE)
    if name not in environ:
        raise RefusedError("Variable not found\n")
    return f"{name}={environ[name]}\n"


def _show_peers(call: Call) -> str:
    if call.word(0):
        raise RefusedError("No such peers\n")
    return ""


def _show_version(_call: Call) -> str:
    return f"{HAPROXY_VERSION}\n"


def _show_level(call: Call) -> str:
    return f"{call.visit.level.name.lower()}\n"


def _show_sockets(call: Call) -> Iterator[str]:
    yield "# socket lvl processes\n"
    for each in call.visit.sockets:
        family = "ipv6" if ":" in each.host else "ipv4"
        place = f"{family}@{each.host}:{each.port}" if each.path is None else f"unix@{each.path}"
        yield f"{place} {each.level.name.lower()} all\n"


COMMANDS: tuple[Command, ...] = (
    command("show backend", Level.USER, _show_backend, "the names of the backends"),
    command("show cli level", Level.USER, _show_level, "what you may do here"),
    command("show cli sockets", Level.USER, _show_sockets, "where commands are taken"),
    command(
        "show env",
        Level.OPERATOR,
        _show_env,
        "the environment of the process",
        takes="[<name>]",
    ),
    command(
        "show errors",
        Level.OPERATOR,
        _show_errors,
        "captured errors: there are none, they are logged",
        takes="[<proxy>]",
    ),
    command("show peers", Level.USER, _show_peers, "the peers: there are none"),
    command(
        "show servers conn",
        Level.USER,
        _show_servers_conn,
        "the connections of each server",
        takes="[<backend>]",
    ),
    command(
        "show servers state",
        Level.USER,
        _show_servers_state,
        "the servers' state, as a state file has it",
        takes="[<backend>]",
    ),
    command(
        "show sess",
        Level.OPERATOR,
        _show_sessions,
        "the sessions, or one of them, or all at length",
        takes="[<pointer> | all]",
    ),
    command("show version", Level.USER, _show_version, "the version, as show info has it"),
)
