"""What HAProxy's log says of servers: checks, and changes of their state. No I/O.

    from, to        says
    any, MAINT      is going DOWN for maintenance; was DOWN and now enters maintenance
    MAINT, other    is UP/READY, UP/DRAIN, DOWN/READY (leaving forced maintenance)
    other, DRAIN    enters drain state; is UP, if it was down before
    DRAIN, UP       is UP (leaving forced drain)
    other, NOLB     is stopping
    other, DOWN     is DOWN
    DOWN, NOLB, UP  is UP

A server that tracks another one has its changes ``via`` that one. What takes a server from its
clients is an alert, unless new ones got nothing from it before; what gives it back is a notice. A
backend that has lost its last usable server is an emergency.

Source: all of it was observed on HAProxy 2.6.12; the HAProxy 2.6 manual, ``option
log-health-checks``.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from dsbalance.checks import CheckResult
from dsbalance.log_options import Severity
from dsbalance.placement import AdminState, Change, ServerState

_MAINT, _DRAIN = "MAINT", "DRAIN"
# The words of a server that new clients go to.
_IN_USE = ("UP", "no check")


class Cause(enum.Enum):
    """Who changed the health of a server: its check, failed connects of clients, an operator."""

    CHECK = enum.auto()
    TRAFFIC = enum.auto()
    OPERATOR = enum.auto()


class Notice(NamedTuple):
    """One line, and how grave it is."""

    severity: Severity
    line: str


def change_notices(
    change: Change, state: ServerState | None, cause: Cause, *, tells_checks: bool, is_listen: bool
) -> list[Notice]:
    """Return what there is to say of a change.

    Args:
        change: Of a server.
        state: The server's, as it is now; None: it was removed.
        cause: Who changed it.
        tells_checks: Whether :func:`check_notice` has told of the check already.
        is_listen: Whether the backend is one half of a ``listen``.
    """
    notices = []
    # HAProxy says nothing of weights, nor of servers that come and go.
    if state is not None and change.old and change.old != change.new:
        is_told = tells_checks and cause is Cause.CHECK
        what = _what(change, state, "" if is_told else _why(state, cause))
        if what is not None:
            notices.append(Notice(_severity(change), f"{_name(change, state)} {what}"))
        remains = _remains(change, state)
        if remains:
            notices.append(Notice(Severity.NOTICE, f"{_name(change, state)} {remains}"))
    if change.is_outage:
        kind = "proxy" if is_listen else "backend"
        notices.append(Notice(Severity.EMERG, f"{kind} {change.backend} has no server available!"))
    return notices


def check_notice(backend: str, state: ServerState, result: CheckResult) -> Notice:
    """Return what ``option log-health-checks`` says of a check, whose result has been counted."""
    gate, kind = state.gate, "backup server" if state.server.backup else "server"
    if gate.is_up:
        is_ready = state.share > 0 and state.admin is state.inherited is AdminState.READY
        word = "UP" if is_ready else _DRAIN
        status = f"{gate.health - gate.rise + 1}/{gate.fall} {word}"
    else:
        status = f"{gate.health}/{gate.rise} DOWN"
    verdict = "succeeded" if result.is_passed else "failed"
    line = (
        f"Health check for {kind} {backend}/{state.name} {verdict}"
        f"{_told(state, result)}, status: {status}."
    )
    return Notice(Severity.NOTICE, line)


def _what(change: Change, state: ServerState, why: str) -> str | None:
    """Return the sentence about a change; None: there is none."""
    old, new = change.old, change.new
    via = f" via {state.server.track}"
    if new.startswith(_MAINT):
        if old.startswith(_MAINT):
            return None
        by = via if new != _MAINT else ""
        if old == "DOWN":
            return f"was DOWN and now enters maintenance{by}."
        return f"is going DOWN for maintenance{by}.{_left(change)}"
    if old.startswith(_MAINT):
        health = "DOWN" if new == "DOWN" else "UP"
        forced = "forced " if old == _MAINT else ""
        return f"is {health}/{_wish(state)} (leaving {forced}maintenance)."
    why = via if state.leader is not None else why
    if new == "DOWN":
        return f"is DOWN{why}.{_left(change)}"
    if new == "NOLB":
        return f"is stopping{why}.{_online(change)}"
    if new == _DRAIN and old in _IN_USE:
        by = via if state.admin is AdminState.READY else ""
        return f"enters drain state{by}.{_online(change)}"
    if old == _DRAIN:
        return "is UP (leaving forced drain)."
    return f"is UP{why}.{_online(change)}"


def _remains(change: Change, state: ServerState) -> str:
    """Return what is said besides of a server that is drained, whatever else happens to it."""
    is_entering = change.new == _DRAIN and change.old in _IN_USE
    if is_entering or change.new.startswith(_MAINT) or _wish(state) != _DRAIN:
        return ""
    if state.admin is AdminState.DRAIN:
        return "remains in forced drain mode."
    return f"is leaving forced drain but remains in drain mode via {state.server.track}."


def _wish(state: ServerState) -> str:
    return _DRAIN if AdminState.DRAIN in (state.admin, state.inherited) else "READY"


def _severity(change: Change) -> Severity:
    is_loss = change.new == "DOWN" or change.new.startswith(_MAINT)
    return Severity.ALERT if is_loss and change.old in _IN_USE else Severity.NOTICE


def _name(change: Change, state: ServerState) -> str:
    return f"{'Backup ' if state.server.backup else ''}Server {change.backend}/{change.server}"


def _why(state: ServerState, cause: Cause) -> str:
    """Return why the health of a server is another one."""
    if cause is Cause.OPERATOR:
        return ", changed from CLI"
    if cause is Cause.CHECK:
        return "" if state.last_check is None else _told(state, state.last_check)
    observe = state.server.observe
    count = 0 if observe is None else observe.error_limit
    return (
        f', reason: Health analyze, info: "Detected {count} consecutive errors, last one was:'
        ' L4 unsuccessful connection"'
    )


def _told(state: ServerState, result: CheckResult) -> str:
    """Return what a check came to; of a check of several ports also at which one it ended."""
    check = state.server.check
    ports = () if check is None else check.ports
    info = result.detail
    if len(ports) > 1 and not result.is_passed:
        step = ports.index(result.port) + 1 if result.port in ports else 1
        info += f" at step {step} of tcp-check (connect port {result.port})"
    told = f', info: "{info}"' if info else ""
    return f", reason: {result.reason}{told}, check duration: {result.elapsed * 1000:.0f}ms"


def _left(change: Change) -> str:
    return (
        f" {change.active} active and {change.backups} backup servers left.{_running(change)}"
        f" {change.sessions} sessions active, {len(change.requeued)} requeued,"
        f" {change.queued} remaining in queue."
    )


def _online(change: Change) -> str:
    return (
        f" {change.active} active and {change.backups} backup servers online.{_running(change)}"
        f" {len(change.admitted)} sessions requeued, {change.queued} total in queue."
    )


def _running(change: Change) -> str:
    return " Running on backup." if change.backups and not change.active else ""
