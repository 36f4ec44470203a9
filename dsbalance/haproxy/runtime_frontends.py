"""Commands of the runtime API that concern frontends, sessions and the process. No I/O.

Source: the HAProxy 2.6 management guide, 9.3; the answers were observed on HAProxy 2.6.12. On
purpose different: what is no number is never taken for 0.
"""

from __future__ import annotations

from functools import partial

from dsbalance.errors import ConfigError
from dsbalance.haproxy.runtime_command import (
    Call,
    Command,
    RefusedError,
    bounded_number,
    command,
    find_frontend,
    whole_number,
)
from dsbalance.stats import FrontendSnapshot, SessionSnapshot
from dsbalance.stats_options import Level

_STOPPED = "STOP"
_RATES = {"connections", "sessions", "ssl-sessions", "http-compression"}
_RATE_USAGE = """\
'set rate-limit' only supports :
   - 'connections global' to set the per-process maximum connection rate
   - 'sessions global' to set the per-process maximum session rate
   - 'ssl-sessions global' to set the per-process maximum SSL session rate
   - 'http-compression global' to set the per-process maximum compression speed in kB/s
"""


def pointer(session: SessionSnapshot) -> str:
    """Return what stands for a session in ``show sess`` and ``shutdown session``."""
    return f"0x{session.id:x}"


def session_number(text: str) -> int | None:
    """Return the number of a session by its :func:`pointer`; None: it is none."""
    digits = text.removeprefix("0x")
    is_number = 0 < len(digits) <= 16 and set(digits.lower()) <= set("0123456789abcdef")
    return int(digits, 16) if is_number else None


def _set_frontend(call: Call, *, is_open: bool) -> str:
    frontend = find_frontend(call)
    word = "enable" if is_open else "disable"
    if frontend.status == _STOPPED:
        raise RefusedError(f"Frontend was previously shut down, cannot {word}.\n")
    if not call.steering.set_frontend(frontend.name, is_open=is_open):
        raise RefusedError(f"All sockets are already {word}d.\n")
    return ""


def _shutdown_frontend(call: Call) -> str:
    frontend = find_frontend(call)
    if frontend.status == _STOPPED:
        raise RefusedError("Frontend was already shut down.\n")
    call.steering.shutdown_frontend(frontend.name)
    return ""


def _set_frontend_maxconn(call: Call) -> str:
    frontend: FrontendSnapshot = find_frontend(call)
    maxconn = bounded_number(call.word(1), "Integer value expected.\n")
    call.steering.set_frontend_maxconn(frontend.name, maxconn)
    return ""


def _set_maxconn(call: Call) -> str:
    maxconn = bounded_number(call.word(0), "Expects an integer value.\n")
    try:
        call.steering.set_maxconn(maxconn)
    except ConfigError:
        raise RefusedError("Value out of range.\n") from None
    return ""


def _set_rate_limit(call: Call) -> str:
    if call.word(0) not in _RATES or call.word(1) != "global":
        raise RefusedError(_RATE_USAGE)
    rate = whole_number(call.word(2))
    if rate is None:
        raise RefusedError("Expects an integer value.\n")
    if rate < 0:
        raise RefusedError("Value out of range.\n")
    if rate:
        raise RefusedError("There are no rate limits here: only 0, which is none, is taken.\n")
    return ""


def _shutdown_session(call: Call) -> str:
    number = session_number(call.word(0))
    if not number:
        raise RefusedError("Session pointer expected (use 'show sess').\n")
    if not call.steering.shutdown_session(number):
        raise RefusedError("No such session (use 'show sess').\n")
    return ""


def _clear_counters(call: Call) -> str:
    is_all = call.word(0) == "all"
    if is_all and call.visit.level < Level.ADMIN:
        raise RefusedError("Permission denied\n")
    call.steering.clear_counters(is_all=is_all)
    return ""


_ADMIN = Level.ADMIN

COMMANDS: tuple[Command, ...] = (
    command(
        "clear counters",
        Level.OPERATOR,
        _clear_counters,
        "forget the highest values, or all that was counted",
        takes="[all]",
        is_change=True,
    ),
    command(
        "disable frontend",
        _ADMIN,
        partial(_set_frontend, is_open=False),
        "accept no clients there for now",
        takes="<frontend>",
        is_change=True,
    ),
    command(
        "enable frontend",
        _ADMIN,
        partial(_set_frontend, is_open=True),
        "accept clients there again",
        takes="<frontend>",
        is_change=True,
    ),
    command(
        "set maxconn frontend",
        _ADMIN,
        _set_frontend_maxconn,
        "how many sessions it may have, 0: any number",
        takes="<frontend> <number>",
        is_change=True,
    ),
    command(
        "set maxconn global",
        _ADMIN,
        _set_maxconn,
        "how many sessions all may have, 0: as at the start",
        takes="<number>",
        is_change=True,
    ),
    command(
        "set rate-limit",
        _ADMIN,
        _set_rate_limit,
        "takes 0 alone: there are no such limits",
        takes="<what> global <number>",
    ),
    command(
        "shutdown frontend",
        _ADMIN,
        _shutdown_frontend,
        "close its ports for good",
        takes="<frontend>",
        is_change=True,
    ),
    command(
        "shutdown session",
        _ADMIN,
        _shutdown_session,
        "end one session of 'show sess'",
        takes="<pointer>",
        is_change=True,
    ),
)
