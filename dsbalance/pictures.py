"""Frozen pictures of servers and backends: what there is to know at one moment. No I/O, no clock.

The sums of a backend are of its servers, those that were removed too, and of what happened at none.
Times are means over the last of each server; see :class:`dsbalance.counters.Timing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from dsbalance.candidates import SHARES_PER_WEIGHT
from dsbalance.counters import BackendCounters, ServerCounters, Times, mean
from dsbalance.stats import BackendSnapshot, CheckSnapshot, Responses, ServerSnapshot

if TYPE_CHECKING:
    from dsbalance.placement import ServerState
    from dsbalance.roster import Roster

# What a snapshot has as it was counted.
_PLAIN_COUNTS = sorted(
    {*ServerCounters.__slots__, "requests", "reuses"} - {"pace", "responses", "timing", "used_at"}
)
NOWHERE: Mapping[str, str] = MappingProxyType({})
"""Addresses of nobody."""


def picture_server(state: ServerState, now: float, address: str = "") -> ServerSnapshot:
    """Return what there is to know of a server; ``address`` is where its connections go."""
    server, counters, throttle = state.server, state.counters, state.throttle
    pace, timing = counters.pace, counters.timing
    weight = server.weight if throttle is None else -(-state.share // SHARES_PER_WEIGHT)
    return ServerSnapshot(
        name=state.name,
        id=state.id,
        host=server.host,
        port=server.port,
        address=address,
        status=state.status,
        op=state.op.value,
        reason=state.reason,
        admin=state.admin,
        inherited=state.inherited,
        is_disabled=server.disabled,
        is_usable=state.is_usable,
        is_backup=server.backup,
        tracked=server.track,
        check=_picture_check(state, now),
        weight=weight,
        asked_weight=server.weight,
        initial_weight=state.initial_weight,
        throttle=throttle,
        maxconn=state.maxconn,
        maxqueue=server.maxqueue,
        current=len(state.placements),
        queued=len(state.queue),
        kept=state.kept,
        rate=pace.rate(counters.total),
        rate_peak=pace.most(counters.total),
        since_used=_since_used(counters, now),
        seconds_in_state=now - state.since,
        downtime=state.downtime(now),
        means=mean((timing.recent(),)),
        longest=timing.longest(),
        responses=Responses(*counters.responses),
        **{word: getattr(counters, word) for word in _PLAIN_COUNTS},
    )


def _picture_check(state: ServerState, now: float) -> CheckSnapshot | None:
    if state.server.check is None:
        return None
    gate, last, check = state.gate, state.last_check, state.server.check
    return CheckSnapshot(
        host=check.host,
        port=check.ports[0] if len(check.ports) == 1 else None,
        last=last,
        ended_at=None if last is None else now - state.checked_at,
        is_running=state.is_checking,
        is_paused=state.is_check_paused or state.is_in_maintenance,
        rise=gate.rise,
        fall=gate.fall,
        health=gate.health,
    )


def picture_backend(
    roster: Roster,
    queued: int,
    now: float,
    number: int = 0,
    addresses: Mapping[str, str] = NOWHERE,
) -> BackendSnapshot:
    """Return what there is to know of a backend.

    Args:
        roster: Its servers.
        queued: How many wait for no server in particular.
        now: Monotonic seconds.
        number: HAProxy's id of the proxy.
        addresses: Where the connections of each server go, by its name.
    """
    backend, counters, states = roster.backend, roster.counters, roster.states.values()
    pace = counters.pace
    timings = [state.counters.timing for state in states]
    used = [_since_used(state.counters, now) for state in states]
    chosen = roster.candidates
    return BackendSnapshot(
        name=backend.name,
        id=number,
        is_http=backend.http is not None,
        balance=str(backend.balance),
        is_static=roster.crowd.is_static,
        status="UP" if roster.is_up else "DOWN",
        active=roster.active,
        backups=roster.backups,
        weight=sum(-(-share // SHARES_PER_WEIGHT) for share in chosen.shares.values()),
        asked_weight=sum(server.weight for server in chosen),
        fullconn=roster.crowd.fullconn,
        current=counters.current,
        peak=counters.peak,
        total=counters.total,
        queued=queued,
        queued_peak=counters.queued_peak,
        rate=pace.rate(counters.total),
        rate_peak=pace.most(counters.total),
        # Who was refused has used nothing, as in HAProxy.
        since_used=min((since for since in used if since is not None), default=None),
        requests_denied=counters.requests_denied,
        requests=counters.requests,
        responses=Responses(*counters.responses),
        downs=counters.downs,
        seconds_in_state=now - roster.since,
        downtime=roster.downtime(now),
        means=mean(tuple(timing.recent() for timing in timings)),
        longest=Times(*map(max, Times(), Times(), *(timing.longest() for timing in timings))),
        servers=tuple(picture_server(s, now, addresses.get(s.name, "")) for s in states),
        **roster.sums(),
    )


def _since_used(counters: ServerCounters | BackendCounters, now: float) -> float | None:
    """Return how long ago a session last came, in seconds; None: never."""
    if counters.total != counters.pace.base:
        return 0.0
    return None if counters.used_at is None else now - counters.used_at
