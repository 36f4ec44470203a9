"""The state of servers as a text: ``show servers state``, and the file of ``server-state-file``.

No I/O. A line with the version, one with the names of the columns behind a ``#``, and a line for
each server:

    be_id be_name srv_id srv_name srv_addr          which server, and where
    srv_op_state                                    0 stopped, 1 starting, 2 running, 3 stopping
    srv_admin_state                                 the bits that are constants here
    srv_uweight srv_iweight                         the weight that was asked for, the configured
    srv_time_since_last_change                      in seconds
    srv_check_status srv_check_result               numbers of L4OK and the like; 2 failed, 3 passed
    srv_check_health                                as ``check_health`` of the statistics
    srv_check_state srv_agent_state                 bits: 1 under way, 2 there, 4 on, 8 paused
    bk_f_forced_id srv_f_forced_id                  whether ``id`` was configured
    srv_fqdn srv_port srvrecord srv_use_ssl         a text that is missing is ``-``
    srv_check_port srv_check_addr                   0 and ``-``: as the server's
    srv_agent_addr srv_agent_port

A reader takes lines that end early, from the first version of this form on.

Source: the HAProxy 2.6 management guide, 9.3, ``show servers state``; what its numbers are for whom
was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dsbalance.balancer import AdminState
from dsbalance.checks import CheckStatus
from dsbalance.errors import Problem
from dsbalance.stats import BackendSnapshot, CheckSnapshot, ServerSnapshot

ADMIN_MAINT = 0x01
"""An operator has put it into maintenance, or the configuration has and nobody let it out."""
INHERITED_MAINT = 0x02
"""The server that it tracks is in maintenance."""
CONFIG_MAINT = 0x04
"""The configuration says ``disabled``, whatever has been asked for since."""
ADMIN_DRAIN = 0x08
"""An operator drains it."""
INHERITED_DRAIN = 0x10
"""The server that it tracks is drained."""

VERSION = "1"
COLUMNS = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight"
    " srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state"
    " srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl"
    " srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
# Up to srv_port: what came behind it came later.
_LEAST_COLUMNS = 19
_HEAD = f"{VERSION}\n# {COLUMNS}\n"
# More digits than any of the numbers has.
_MAX_DIGITS = 18
# Letters of a wrong word that are repeated.
_MAX_SHOWN = 40
_LAST_OP = 3

_INIT = 1
_NUMBERS = {
    CheckStatus.SOCKERR: 5,
    CheckStatus.L4OK: 6,
    CheckStatus.L4TOUT: 7,
    CheckStatus.L4CON: 8,
}
# By what an unchecked server does, if it is not simply up.
_HEALTH = {0: 0, 3: 4}
_UNKNOWN, _FAILED, _PASSED = 0, 2, 3
_RUNNING, _THERE, _ON, _PAUSED = 1, 2, 4, 8


class ServerRecord(NamedTuple):
    """One server, in the order of the columns; see the table of this module."""

    backend_id: int
    backend: str
    id: int
    name: str
    host: str
    op: int
    admin: int
    weight: int
    initial_weight: int
    seconds_in_state: int
    check_status: int
    check_result: int
    check_health: int
    check_state: int
    agent_state: int
    is_backend_id_forced: bool
    is_id_forced: bool
    fqdn: str | None
    port: int
    srvrecord: str | None = None
    uses_tls: bool = False
    check_port: int = 0
    check_host: str | None = None
    agent_host: str | None = None
    agent_port: int = 0

    @property
    def path(self) -> str:
        """``backend/server``."""
        return f"{self.backend}/{self.name}"

    @property
    def asked(self) -> AdminState:
        """What was asked of the server itself."""
        if self.admin & ADMIN_MAINT:
            return AdminState.MAINT
        return AdminState.DRAIN if self.admin & ADMIN_DRAIN else AdminState.READY

    @property
    def was_disabled(self) -> bool:
        """Whether the configuration of then said ``disabled``."""
        return bool(self.admin & CONFIG_MAINT)

    def __str__(self) -> str:
        return " ".join(_word(value) for value in self)


class StateFile(NamedTuple):
    """What was read.

    Attributes:
        servers: In the order of the file.
        problems: What cannot be used of it, and why; the rest can.
    """

    servers: tuple[ServerRecord, ...]
    problems: tuple[Problem, ...]


def write(backends: Iterable[BackendSnapshot]) -> Iterator[str]:
    """Return the text in pieces, each of one server at the most."""
    yield _HEAD
    for backend in backends:
        for server in backend.servers:
            yield f"{_record(backend, server)}\n"


def parse(text: str, file: str = "") -> StateFile:
    """Read what :func:`write` or HAProxy has written. It never raises.

    Args:
        text: Empty lines and lines that begin with ``#`` do not count.
        file: Its name, for the problems.
    """
    servers: list[ServerRecord] = []
    problems: list[Problem] = []
    version = None
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if version is None:
            version = words[0]
            if words != [VERSION]:
                problems.append(Problem("it is of no version that is known here", "", file, number))
                break
            continue
        try:
            servers.append(_read(words))
        except ValueError as error:
            problems.append(Problem(str(error), "", file, number))
    return StateFile(tuple(servers), tuple(problems))


def _read(words: list[str]) -> ServerRecord:
    """Return the record of a line, or raise ValueError that says what is wrong with it."""
    if len(words) < _LEAST_COLUMNS:
        raise ValueError(f"it has {len(words)} columns, not {_LEAST_COLUMNS} or more")
    values: list[object] = []
    # What is behind the columns that we know came later than we.
    for name, read, word in zip(COLUMNS.split(), _READERS, words, strict=False):
        try:
            values.append(read(word))
        except ValueError as error:
            raise ValueError(f"{name} is {error}") from None
    record = ServerRecord(*values)  # type: ignore[arg-type]
    if record.op > _LAST_OP:
        raise ValueError(f"srv_op_state is none: {record.op}")
    return record


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS):
        raise ValueError(f"no number from 0: {word[:_MAX_SHOWN]!r}")
    return int(word)


def _flag(word: str) -> bool:
    return _number(word) != 0


def _optional(word: str) -> str | None:
    return None if word == "-" else word


_READERS: tuple[Callable[[str], object], ...] = (
    *(_number, str, _number, str, str),
    *(_number,) * 10,
    *(_flag, _flag, _optional, _number, _optional, _flag),
    *(_number, _optional, _optional, _number),
)


def _word(value: object) -> str:
    if value is None or value == "":
        return "-"
    return str(int(value)) if isinstance(value, bool) else str(value)


def _record(backend: BackendSnapshot, server: ServerSnapshot) -> ServerRecord:
    check = server.check
    host, fqdn = _address(server)
    return ServerRecord(
        backend_id=backend.id,
        backend=backend.name,
        id=server.id,
        name=server.name,
        host=host,
        op=server.op,
        admin=_admin(server),
        weight=server.asked_weight,
        initial_weight=server.initial_weight,
        seconds_in_state=int(server.seconds_in_state),
        check_status=_status(check),
        check_result=_result(check),
        check_health=_health(server),
        check_state=_check_state(server, check),
        agent_state=0,
        is_backend_id_forced=False,
        is_id_forced=False,
        fqdn=fqdn,
        port=server.port or 0,
        check_port=0 if check is None else check.port or 0,
        check_host=None if check is None else check.host,
    )


def _address(server: ServerSnapshot) -> tuple[str, str | None]:
    """Return the address that a server is reached at, and the name that it was found by."""
    try:
        ipaddress.ip_address(server.host)
    except ValueError:
        host = server.address if server.port is None else server.address.rpartition(":")[0]
        return host.strip("[]"), server.host
    return server.host, None


def _admin(server: ServerSnapshot) -> int:
    bits = {AdminState.MAINT: ADMIN_MAINT, AdminState.DRAIN: ADMIN_DRAIN}
    inherited = {AdminState.MAINT: INHERITED_MAINT, AdminState.DRAIN: INHERITED_DRAIN}
    return (
        bits.get(AdminState(server.admin), 0)
        | inherited.get(AdminState(server.inherited), 0)
        | (CONFIG_MAINT if server.is_disabled else 0)
    )


def _status(check: CheckSnapshot | None) -> int:
    return _INIT if check is None or check.last is None else _NUMBERS[check.last.status]


def _result(check: CheckSnapshot | None) -> int:
    if check is None or check.last is None or check.last.is_local:
        return _UNKNOWN
    return _PASSED if check.last.is_passed else _FAILED


def _health(server: ServerSnapshot) -> int:
    """Return what HAProxy counts; where there are no checks, as if with rise 2 and fall 3."""
    if AdminState.MAINT in (server.admin, server.inherited):
        return 0
    if server.check is not None:
        return server.check.health
    if server.is_disabled:
        return 0
    # One that tracks shares a state, and not the count.
    return 2 if server.tracked is not None else _HEALTH.get(server.op, 2)


def _check_state(server: ServerSnapshot, check: CheckSnapshot | None) -> int:
    is_resting = server.is_disabled or server.admin == AdminState.MAINT
    if check is None:
        return _PAUSED if server.is_disabled else 0
    state = _THERE | (_RUNNING if check.is_running else 0)
    if check.is_paused and not is_resting:
        return state
    return state | _ON | (_PAUSED if is_resting else 0)
