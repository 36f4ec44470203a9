"""Servers that begin as a state file has them. No I/O, no clock.

    record                         then
    forced maintenance             in maintenance; not if it was the old file that said ``disabled``
    forced drain                   in drain
    ``disabled``, and let out      in service, though it is still ``disabled``
    anything, but is ``disabled``  in maintenance: the configuration has the last word
    stopped, running, stopping     down, fully up, up without new clients; a check has the last word
    weight                         that, if the configured one is what it was
    port                           that; the address is what is configured
    checks off                     off

Its state has lasted as long as the record says. A server that tracks has the health of its leader.

Source: the HAProxy 2.6 manual, ``load-server-state-from-file``; what it leaves open was observed on
HAProxy 2.6.12. In one thing we differ: a server that was stopped by ``disabled`` alone, and is not
``disabled`` any more, is up; there it is down, for ever if it is not checked.
"""

from __future__ import annotations

from collections.abc import Iterable

from dsbalance.backends import Backends
from dsbalance.balancer import AdminState, Change, Health
from dsbalance.errors import ConfigError, Problem
from dsbalance.haproxy.server_state import (
    ADMIN_MAINT,
    INHERITED_MAINT,
    ServerRecord,
)
from dsbalance.placement import OpState, ServerState

_HEALTH = {OpState.STOPPED: Health.DOWN, OpState.STOPPING: Health.STOPPING}
# Bits of the state of a check: it is there, it is on.
_THERE, _ON = 2, 4


def restore(
    backends: Backends, records: Iterable[ServerRecord], now: float
) -> tuple[list[Change], list[Problem]]:
    """Let servers begin as their records have them; who has none begins as configured.

    To be called before the first session and the first check. Records of others are passed over.

    Returns:
        What changed, and what could not be done.
    """
    changes: list[Change] = []
    problems: list[Problem] = []
    known = {balancer.name: balancer.states for balancer in backends}
    for record in records:
        state = known.get(record.backend, {}).get(record.name)
        if state is None:
            continue
        try:
            changes += _restore(backends, state, record, now)
        except ConfigError as error:
            problems += error.problems
    return changes, problems


# Seconds; a file that says more was written by a clock that was wrong.
_LONGEST = 10 * 365 * 86400


def _restore(
    backends: Backends, state: ServerState, record: ServerRecord, now: float
) -> list[Change]:
    backend, name = record.backend, record.name
    settings = backends.balancer(backend).settings
    changes = []
    asked = _asked(state, record)
    if asked is not state.admin:
        changes += backends.set_admin(backend, name, asked, now)
    if record.initial_weight == state.initial_weight != record.weight:
        changes += backends.set_weight(backend, name, record.weight, now)
    settings.set_address(name, None, record.port or None, now)
    was_maint = bool(record.admin & (ADMIN_MAINT | INHERITED_MAINT))
    if state.leader is None and not was_maint:
        health = _HEALTH.get(OpState(record.op), Health.UP)
        changes += backends.set_health(backend, name, health, now)
    if state.server.check is not None:
        settings.set_checks(name, is_on=record.check_state & (_THERE | _ON) != _THERE)
    settings.backdate(name, min(record.seconds_in_state, _LONGEST), now)
    return changes


def _asked(state: ServerState, record: ServerRecord) -> AdminState:
    """Return what is asked of a server, by its record and by the configuration."""
    if state.server.disabled:
        was_let_out = record.was_disabled and record.asked is not AdminState.MAINT
        return record.asked if was_let_out else AdminState.MAINT
    was_configured = record.was_disabled and record.asked is AdminState.MAINT
    return AdminState.READY if was_configured else record.asked
