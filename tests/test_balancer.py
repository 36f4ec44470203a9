"""One backend's decisions: HAProxy's tables, what must survive, and an independent model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.balancer import AdminState, Balancer, Change, Failure, Placement, Stage
from dsbalance.errors import ConfigError, NoServerError
from dsbalance.model import (
    Backend,
    Balance,
    Check,
    HashKind,
    HashType,
    Server,
    StickAction,
    StickRule,
)
from dsbalance.policy import Candidates, Client, Policy, Reason, make_policy
from dsbalance.sticky import StickTable

DATA = Path(__file__).parent / "data"
SEQUENCES = json.loads((DATA / "haproxy-sequences.json").read_text(encoding="utf-8"))["cases"]
READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
REFUSED, TIMEOUT, LOCAL = Failure.REFUSED, Failure.TIMEOUT, Failure.LOCAL
CONSISTENT = HashType(kind=HashKind.CONSISTENT)
STICKY = (StickRule(),)
# One result is enough, so that a test says what it means.
WATCHED = Check(rise=1, fall=1)


def server(name: str, **settings: Any) -> Server:
    return Server(name=name, host="192.0.2.1", port=9, **{"check": WATCHED, **settings})


def client(address: str = "10.0.0.1") -> Client:
    return Client(address, ip_address(address).packed, 5022)


def make(
    names: str | Iterable[Server] = "abc",
    *,
    table: StickTable | None = None,
    policy: Policy | None = None,
    **backend_settings: Any,
) -> Balancer:
    """Return a balancer of servers of these names; ``a`` has id 1 and so on."""
    servers = [server(name) for name in names] if isinstance(names, str) else names
    backend = Backend(name="x", servers=tuple(servers), **backend_settings)
    tables = {"x": StickTable(size=1000, ttl=60.0) if table is None else table}
    return Balancer(backend, tables, policy or make_policy(backend))


def place(balancer: Balancer, who: Client | None = None, now: float = 0.0) -> Placement:
    placement = balancer.route(who or client(), now)
    balancer._check()
    return placement


def connect(balancer: Balancer, who: Client | None = None, now: float = 0.0) -> Placement:
    placement = place(balancer, who, now)
    balancer.connected(placement, now)
    return placement


def name_of(placement: Placement) -> str:
    return placement.server.name if placement.server else "-"


def attempts(balancer: Balancer, placement: Placement, cause: Failure = REFUSED) -> str:
    """Return which server is tried at which second until it is given up, if all fail."""
    at = 0.0
    found = [f"{name_of(placement)}@{at:g}"]
    while (retry := balancer.failed(placement, cause, at)) is not None:
        balancer._check()
        assert retry.placement is placement
        at += retry.delay + (0.7 if cause is TIMEOUT else 0)
        found.append(f"{name_of(placement)}@{at:g}")
    assert placement.server is not None
    assert balancer.release(placement, at) == []
    return " ".join(found)


# --- the policies, through the balancer ----------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in SEQUENCES
        if case["balance"] in {"first", "leastconn"}
        or case["title"] in {"equal", "backups only when needed"}
    ],
    ids=lambda case: case["title"],
)
def test_servers_answer_in_the_order_in_which_haproxys_do(case: dict[str, Any]) -> None:
    balancer = make(
        [server(s["name"], weight=s["weight"], backup=s["backup"]) for s in case["servers"]],
        balance=Balance(case["balance"]),
    )
    for step in case["steps"]:
        if isinstance(step, str):
            word, _, path = step.split()
            name = path.partition("/")[2]
            balancer.set_admin(name, {"disable": MAINT, "enable": READY}[word], 0.0)
            continue
        answered = []
        for _ in step:
            placement = connect(balancer)
            answered.append(name_of(placement))
            balancer.release(placement, 0.0)
        assert answered == step


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"balance": Balance.SOURCE}, Reason.HASH),
        ({"balance": Balance.ROUNDROBIN}, Reason.ROUNDROBIN),
        ({"balance": Balance.LEASTCONN}, Reason.LEASTCONN),
        ({"balance": Balance.FIRST}, Reason.FIRST),
    ],
)
def test_a_decision_carries_its_reason(settings: dict[str, Any], reason: Reason) -> None:
    balancer = make([server("a"), server("b"), server("c", backup=True)], **settings)
    assert place(balancer).reason is reason
    for name in "ab":
        balancer.check_failed(name, 0.0)
    assert place(balancer).reason is Reason.BACKUP


def test_nobody_usable_is_refused_with_the_reason_and_counted() -> None:
    balancer = make("ab")
    balancer.check_failed("a", 0.0)
    balancer.set_admin("b", MAINT, 0.0)
    with pytest.raises(NoServerError, match=r"^x: no server is usable: 1 DOWN, 1 MAINT$"):
        balancer.route(client(), 1.0)
    picture = balancer.snapshot(2.0)
    assert (picture.total, picture.current, picture.connect_errors) == (1, 0, 1)


def test_backups_are_left_when_an_active_server_is_back() -> None:
    balancer = make([server("a"), server("b", backup=True)])
    balancer.check_failed("a", 0.0)
    assert name_of(place(balancer)) == "b"
    balancer.check_passed("a", 1.0)
    assert name_of(place(balancer)) == "a"


# --- stick tables --------------------------------------------------------------------------------


def test_a_client_stays_where_it_was_and_on_every_port() -> None:
    balancer = make(stick=STICKY)
    first = connect(balancer)
    assert first.reason is Reason.ROUNDROBIN
    for port in range(100):
        again = place(balancer, client()._replace(port=port))
        assert (name_of(again), again.reason) == (name_of(first), Reason.STICKY)
        assert again.is_persistent


@pytest.mark.parametrize(
    ("act", "stays"),
    [
        ("set_admin drain", True),
        ("set_weight 0", True),
        ("check_failed", False),
        ("set_admin maint", False),
        ("remove_server", False),
    ],
)
def test_a_stuck_client_follows_a_server_that_runs(act: str, stays: bool) -> None:
    balancer = make(stick=STICKY)
    assert name_of(connect(balancer)) == "a"
    match act.split():
        case ["set_admin", state]:
            balancer.set_admin("a", AdminState(state), 0.0)
        case ["set_weight", weight]:
            balancer.set_weight("a", int(weight), 0.0)
        case [method]:
            getattr(balancer, method)("a", 0.0)
    assert (name_of(place(balancer)) == "a") is stays


def test_a_stuck_client_is_served_even_when_nothing_takes_new_ones() -> None:
    balancer = make("a", stick=STICKY)
    connect(balancer)
    balancer.set_admin("a", DRAIN, 0.0)
    assert place(balancer).reason is Reason.STICKY
    with pytest.raises(NoServerError):
        balancer.route(client("10.0.0.2"), 0.0)


def test_when_its_server_dies_a_client_moves_and_stays_where_it_went() -> None:
    balancer = make(stick=STICKY)
    connect(balancer)
    balancer.check_failed("a", 1.0)
    moved = connect(balancer, now=2.0)
    assert name_of(moved) == "b"
    balancer.check_passed("a", 3.0)
    assert name_of(place(balancer, now=4.0)) == "b"


def test_nobody_is_stuck_to_a_server_that_is_not_to_be_stuck_to() -> None:
    table = StickTable(size=10, ttl=60.0)
    standby = Server(name="b", host="10.1.0.2", port=80, check=Check(), backup=True, non_stick=True)
    balancer = make([server("a"), standby], stick=STICKY, table=table)
    balancer.release(connect(balancer), 0.0)
    balancer.check_failed("a", 1.0)
    assert name_of(connect(balancer, now=2.0)) == "b"
    assert table.peek(client().packed, 2.0) == "a"
    assert table.busy == 1, "its entry is in use all the same"
    assert name_of(connect(balancer, client("10.0.0.2"), now=2.0)) == "b"
    assert len(table) == 1
    balancer.check_passed("a", 3.0)
    assert name_of(place(balancer, now=4.0)) == "a"


def test_an_entry_is_in_use_from_the_connection_to_the_release() -> None:
    table = StickTable(size=10, ttl=60.0)
    balancer = make(stick=STICKY, table=table)
    placement = place(balancer)
    assert table.busy == 0
    balancer.connected(placement, 1.0)
    assert table.busy == 1
    # Far beyond its TTL.
    assert place(balancer, now=1000.0).reason is Reason.STICKY
    balancer.release(placement, 1000.0)
    assert table.busy == 0
    assert place(balancer, now=1059.0).reason is Reason.STICKY
    assert place(balancer, now=1119.0).reason is Reason.ROUNDROBIN


def test_a_match_alone_never_writes_but_keeps_what_is_there() -> None:
    table = StickTable(size=10, ttl=60.0)
    rules = (StickRule(action=StickAction.MATCH),)
    balancer = make(stick=rules, table=table)
    connect(balancer)
    assert len(table) == 0
    table.store(client().packed, "c", 0.0)
    stuck = connect(balancer)
    assert (name_of(stuck), table.busy) == ("c", 1)
    balancer.release(stuck, 5.0)
    assert table.busy == 0
    slow = place(balancer, now=10.0)
    balancer.connected(slow, 80.0)
    assert slow.reason is Reason.STICKY
    assert slow.held == (), "the entry expired while the server was being connected to"


def test_a_store_alone_is_rewritten_each_time_and_decides_nothing() -> None:
    table = StickTable(size=10, ttl=60.0)
    balancer = make(stick=(StickRule(action=StickAction.STORE_REQUEST),), table=table)
    for name in "abc":
        placement = connect(balancer)
        assert (name_of(placement), placement.reason) == (name, Reason.ROUNDROBIN)
        assert table.peek(client().packed, 0.0) == name


def test_the_first_table_that_knows_a_usable_server_decides() -> None:
    tables = {name: StickTable(size=10, ttl=60.0) for name in "xyz"}
    rules = tuple(StickRule(action=StickAction.MATCH, table=name) for name in "xyz")
    backend = Backend(name="x", servers=tuple(map(server, "abc")), stick=(*rules, StickRule()))
    balancer = Balancer(backend, tables, make_policy(backend))
    tables["y"].store(client().packed, "b", 0.0)
    tables["z"].store(client().packed, "c", 0.0)
    stuck = connect(balancer)
    assert name_of(stuck) == "b"
    assert [table.busy for table in tables.values()] == [1, 1, 1]
    assert tables["x"].peek(client().packed, 0.0) == "b"
    balancer.release(stuck, 1.0)
    assert [table.busy for table in tables.values()] == [0, 0, 0]
    tables["x"].remove(client().packed)
    balancer.check_failed("b", 1.0)
    assert name_of(place(balancer)) == "c"


def test_an_ipv4_table_has_no_place_for_ipv6_but_knows_mapped_addresses() -> None:
    table = StickTable(size=10, ttl=60.0)
    balancer = make(stick=STICKY, table=table)
    connect(balancer, client("2001:db8::1"))
    assert len(table) == 0
    mapped = connect(balancer, client("::ffff:10.0.0.1"))
    assert len(table) == 1
    again = place(balancer, client("10.0.0.1"))
    assert (name_of(again), again.reason) == (name_of(mapped), Reason.STICKY)
    assert place(balancer, client("::ffff:10.0.0.1")).reason is Reason.STICKY


def test_a_client_that_a_full_table_cannot_store_is_served_all_the_same() -> None:
    table = StickTable(size=1, ttl=60.0, nopurge=True)
    balancer = make(stick=STICKY, table=table)
    connect(balancer)
    other = connect(balancer, client("10.0.0.2"))
    assert other.held == ()
    balancer.release(other, 1.0)
    assert table.busy == 1


def test_a_rule_for_a_table_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="backend x: stick: 'y' has no stick-table"):
        make(stick=(StickRule(table="y"),))


# --- retries and redispatch ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "a@0 a@1 a@2 a@3"),
        ({"retries": 0}, "a@0"),
        ({"timeout_connect": 0.5}, "a@0 a@0.5 a@1 a@1.5"),
        ({"timeout_connect": None}, "a@0 a@1 a@2 a@3"),
        ({"redispatch": -1}, "a@0 b@0 c@0 a@0"),
        ({"redispatch": 1}, "a@0 b@0 c@0 a@0"),
        ({"redispatch": -1, "balance": Balance.LEASTCONN}, "a@0 b@0 c@0 a@0"),
        ({"redispatch": -1, "balance": Balance.FIRST}, "a@0 b@0 a@0 b@0"),
    ],
)
def test_a_dead_server_is_tried_again_as_configured(
    settings: dict[str, Any], expected: str
) -> None:
    balancer = make(**settings)
    assert attempts(balancer, place(balancer)) == expected


# Observed on HAProxy 2.6.12 for 10.0.0.1, which belongs to a, and after it to b.
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"redispatch": -1}, "a@0 a@1 a@2 b@2"),
        ({"redispatch": 1}, "a@0 b@0 a@0 b@0"),
        ({"redispatch": 2}, "a@0 a@1 b@1 b@2"),
        ({"redispatch": -2, "retries": 4}, "a@0 a@1 a@2 b@2 b@3"),
        ({"redispatch": -4}, "a@0 b@0 a@0 b@0"),
        ({"redispatch": -9}, "a@0 b@0 a@0 b@0"),
        ({"hash_type": HashType(), "redispatch": 1}, "c@0 c@0 c@0 c@0"),
    ],
)
def test_a_hashed_client_waits_for_its_server_before_it_is_sent_elsewhere(
    settings: dict[str, Any], expected: str
) -> None:
    balancer = make(**{"balance": Balance.SOURCE, "hash_type": CONSISTENT, **settings})
    assert attempts(balancer, place(balancer)) == expected


def test_a_stuck_client_waits_for_its_server_until_the_last_retry() -> None:
    balancer = make(stick=STICKY, redispatch=-1)
    connect(balancer)
    stuck = place(balancer)
    assert attempts(balancer, stuck) == "a@0 a@1 a@2 b@2"
    assert stuck.reason is Reason.REDISPATCH
    assert not stuck.is_persistent


def test_after_a_timeout_nobody_waits_once_more() -> None:
    balancer = make(retries=2)
    assert attempts(balancer, place(balancer), TIMEOUT) == "a@0 a@0.7 a@1.4"


def test_a_redispatch_waits_when_there_is_no_other_active_server() -> None:
    alone = make("a", redispatch=1)
    assert attempts(alone, place(alone)) == "a@0 a@1 a@2 a@3"
    pool = [server("a"), server("b", backup=True), server("c", backup=True)]
    backups = make(pool, redispatch=1)
    backups.check_failed("a", 0.0)
    assert attempts(backups, place(backups)) == "b@0 b@1 b@2 b@3"
    # HAProxy counts the active servers alone, although there is another backup.
    together = make(pool, redispatch=1, allbackups=True)
    together.check_failed("a", 0.0)
    assert attempts(together, place(together)) == "b@0 c@1 b@2 c@3"


def test_a_server_that_stopped_running_meanwhile_is_left_at_once() -> None:
    balancer = make(balance=Balance.SOURCE, hash_type=CONSISTENT, redispatch=-1)
    placement = place(balancer)
    balancer.check_failed("a", 0.0)
    assert attempts(balancer, placement) == "a@0 c@0 c@1 b@1"


def test_a_session_is_given_up_when_nothing_is_left_to_go_to() -> None:
    balancer = make("a", redispatch=-1)
    placement = place(balancer)
    balancer.check_failed("a", 0.0)
    assert balancer.failed(placement, REFUSED, 1.0) is None
    assert balancer.release(placement, 1.0) == []
    assert balancer.snapshot(2.0).connect_errors == 1
    assert balancer.snapshot(2.0).servers[0].connect_errors == 0


def test_a_local_failure_is_not_the_servers_and_not_tried_again() -> None:
    balancer = make(redispatch=1)
    placement = place(balancer)
    assert balancer.failed(placement, LOCAL, 0.0) is None
    balancer.release(placement, 0.0)
    picture = balancer.snapshot(1.0)
    assert (picture.connect_errors, picture.retries, picture.redispatches) == (1, 0, 0)
    assert picture.servers[0].connect_errors == 0


# What HAProxy 2.6.12 counts for 10.0.0.1: stot, lbtot, wretr, wredis, econ of a, b and c.
@pytest.mark.parametrize(
    ("settings", "counted"),
    [
        ({"redispatch": 1}, "2 2 0 2 0, 2 2 0 1 1, 0 0 0 0 0"),
        ({"redispatch": 2}, "2 1 1 1 0, 2 1 1 0 1, 0 0 0 0 0"),
        ({"redispatch": -2, "retries": 4}, "3 1 2 1 0, 2 1 1 0 1, 0 0 0 0 0"),
        ({"redispatch": 1, "hash_type": HashType()}, "0 0 0 0 0, 0 0 0 0 0, 4 1 3 0 1"),
        ({"redispatch": -1, "balance": Balance.FIRST}, "2 2 0 2 0, 2 2 0 1 1, 0 0 0 0 0"),
        ({"redispatch": -1, "balance": Balance.ROUNDROBIN}, "2 2 0 1 1, 1 1 0 1 0, 1 1 0 1 0"),
    ],
)
def test_attempts_and_what_became_of_them_are_counted_as_haproxy_does(
    settings: dict[str, Any], counted: str
) -> None:
    balancer = make(**{"balance": Balance.SOURCE, "hash_type": CONSISTENT, **settings})
    attempts(balancer, place(balancer))
    whole = balancer.snapshot(9.0)
    parts = whole.servers
    rows = [(s.total, s.chosen, s.retries, s.redispatches, s.connect_errors) for s in parts]
    assert ", ".join(" ".join(map(str, row)) for row in rows) == counted
    sums = [sum(column) for column in zip(*rows, strict=True)]
    assert [whole.chosen, whole.retries, whole.redispatches, whole.connect_errors] == sums[1:]
    assert whole.total == 1


def test_after_a_redispatch_the_entry_names_the_server_that_took_the_client() -> None:
    balancer = make(stick=STICKY, redispatch=1)
    connect(balancer)
    moved = place(balancer)
    balancer.failed(moved, REFUSED, 0.0)
    balancer.connected(moved, 0.0)
    assert name_of(moved) == "b"
    assert name_of(place(balancer)) == "b"


# --- places and queues ---------------------------------------------------------------------------


def test_all_full_is_a_turn_in_the_backends_queue_and_a_place_for_the_oldest() -> None:
    balancer = make([server("a", maxconn=1), server("b", maxconn=1)])
    a, b, first, second = (place(balancer) for _ in range(4))
    assert first.is_queued
    assert first.server is None
    assert balancer.snapshot(0.0).queued == 2
    assert balancer.release(b, 1.0) == [first]
    assert (name_of(first), first.reason, first.stage) == ("b", Reason.QUEUE, Stage.CONNECTING)
    assert balancer.release(second, 1.0) == []
    assert balancer.release(a, 1.0) == []
    balancer._check()


def test_a_stuck_client_waits_for_its_full_server_and_for_no_other() -> None:
    balancer = make([server("a", maxconn=1), server("b")], stick=STICKY)
    holder = connect(balancer)
    stuck = place(balancer)
    assert stuck.is_queued
    assert name_of(stuck) == "a"
    assert balancer.snapshot(0.0).servers[0].queued == 1
    assert balancer.release(holder, 1.0) == [stuck]
    assert stuck.reason is Reason.STICKY


def test_a_session_that_is_released_twice_frees_its_place_once() -> None:
    balancer = make([server("a", maxconn=1)])
    holder, first, second = place(balancer), place(balancer), place(balancer)
    assert balancer.release(holder, 1.0) == [first]
    assert balancer.release(holder, 1.0) == []
    assert second.is_queued
    assert balancer.counters.current == 2


def test_a_redispatch_hands_its_place_on_before_it_looks_for_another() -> None:
    balancer = make([server("a", maxconn=1)], redispatch=1)
    mover, waiter = place(balancer), place(balancer)
    retry = balancer.failed(mover, REFUSED, 0.0)
    assert retry is not None
    assert retry.admitted == (waiter,)
    assert (mover.is_queued, retry.delay, mover.reason) == (True, 0.0, Reason.REDISPATCH)
    balancer._check()


@pytest.mark.parametrize("method", ["check_failed", "set_admin", "remove_server"])
def test_those_who_wait_for_a_lost_server_are_decided_anew(method: str) -> None:
    balancer = make([server("a", maxconn=1), server("b", maxconn=9)], stick=STICKY)
    connect(balancer)
    waiting = [place(balancer), place(balancer)]
    args = (MAINT, 1.0) if method == "set_admin" else (1.0,)
    (change,) = getattr(balancer, method)("a", *args)
    balancer._check()
    assert change.requeued == tuple(waiting)
    assert change.sessions == 1
    for placement in waiting:
        assert placement.stage is Stage.DISPLACED
        balancer.reroute(placement, 1.0)
        assert (name_of(placement), placement.reason) == ("b", Reason.ROUNDROBIN)
    assert balancer.snapshot(2.0).redispatches == 2


def test_those_who_wait_are_still_to_be_released_when_there_is_no_other_server() -> None:
    balancer = make([server("a", maxconn=1)], balance=Balance.SOURCE)
    holder, waiter = place(balancer), place(balancer)
    (change,) = balancer.check_failed("a", 1.0)
    assert change.requeued == (waiter,)
    with pytest.raises(NoServerError):
        balancer.reroute(waiter, 1.0)
    assert balancer.release(waiter, 1.0) == []
    assert balancer.release(holder, 1.0) == []
    assert balancer.counters.current == 0


@pytest.mark.parametrize(("redispatch", "requeued"), [(0, 0), (-1, 1)])
def test_those_who_wait_for_a_drained_server_may_go_if_a_redispatch_is_allowed(
    redispatch: int, requeued: int
) -> None:
    balancer = make([server("a", maxconn=1), server("b")], stick=STICKY, redispatch=redispatch)
    connect(balancer)
    place(balancer)
    (change,) = balancer.set_admin("a", DRAIN, 1.0)
    balancer._check()
    assert len(change.requeued) == requeued
    assert change.queued == 1 - requeued


def test_a_server_that_comes_up_takes_in_those_who_wait() -> None:
    balancer = make([server("a", maxconn=1), server("b", maxconn=2)])
    balancer.check_failed("b", 0.0)
    _, *waiting = (place(balancer) for _ in range(4))
    (change,) = balancer.check_passed("b", 1.0)
    balancer._check()
    assert change.admitted == tuple(waiting[:2])
    assert [name_of(p) for p in change.admitted] == ["b", "b"]
    assert change.queued == 1
    (change,) = balancer.add_server(server("c"), 2.0)
    assert change.admitted == tuple(waiting[2:])
    assert (change.old, change.new, change.reason) == ("", "UP", "added")


def test_those_who_wait_for_any_server_wait_on_when_all_are_lost_as_in_haproxy() -> None:
    balancer = make([server("a", maxconn=1)])
    holder, waiter = place(balancer), place(balancer)
    (change,) = balancer.check_failed("a", 1.0)
    assert change.requeued == ()
    assert waiter.is_queued
    assert balancer.release(holder, 2.0) == []
    (change,) = balancer.check_passed("a", 3.0)
    assert change.admitted == (waiter,)


# --- what is told of a server --------------------------------------------------------------------


def test_a_change_says_what_it_was_and_is_and_what_is_left() -> None:
    balancer = make([server("a"), server("b"), server("c", backup=True)])
    place(balancer)
    (change,) = balancer.check_failed("a", 5.0, "refused")
    assert change == Change(
        backend="x",
        server="a",
        old="UP",
        new="DOWN",
        reason="refused",
        now=5.0,
        active=1,
        backups=1,
        sessions=1,
        queued=0,
    )


@pytest.mark.parametrize("how", ["check_failed", "set_admin"])
def test_a_server_that_is_marked_down_ends_its_sessions_if_it_is_told_to(how: str) -> None:
    for wants in (False, True):
        balancer = make([server("a", shutdown_on_down=wants)])
        held = {connect(balancer), place(balancer)}
        args = (MAINT, 1.0) if how == "set_admin" else (1.0,)
        (change,) = getattr(balancer, how)("a", *args)
        assert set(change.shutdown) == (held if wants else set())
        assert len(change.shutdown) == len(set(change.shutdown))


def test_a_server_that_is_drained_or_removed_or_down_already_ends_no_sessions() -> None:
    balancer = make([server("a", shutdown_on_down=True), server("b", shutdown_on_down=True)])
    first, second = connect(balancer), connect(balancer)
    assert balancer.set_admin("a", DRAIN, 1.0)[0].shutdown == ()
    assert balancer.remove_server("a", 2.0)[0].shutdown == ()
    assert balancer.check_failed("b", 3.0)[0].shutdown == (second,)
    assert balancer.set_admin("b", MAINT, 4.0)[0].shutdown == ()
    assert balancer.release(first, 5.0) == []
    balancer._check()


def test_what_changes_nothing_is_not_told() -> None:
    balancer = make()
    assert balancer.check_passed("a", 1.0) == []
    assert balancer.check_failed("gone", 1.0) == []
    assert balancer.set_admin("a", READY, 1.0) == []
    assert balancer.set_weight("a", 1, 1.0) == []
    assert balancer.set_health("a", is_up=True, now=1.0) == []
    assert len(balancer.set_health("a", is_up=False, now=1.0)) == 1


def test_a_follower_is_told_what_became_of_its_leader() -> None:
    leader = make("a").states["a"]
    balancer = make([server("f", check=None, track="y/a")])
    balancer.follow("f", leader)
    leader.admin = MAINT
    (change,) = balancer.leader_changed("f", 1.0)
    assert (change.old, change.new, change.reason) == ("UP", "MAINT (via y/a)", "via y/a")


def test_a_balancer_knows_its_configuration_as_it_is_now() -> None:
    balancer = make("ab")
    balancer.add_server(server("c"), 1.0)
    balancer.remove_server("a", 2.0)
    assert [each.name for each in balancer.backend.servers] == ["b", "c"]
    assert [each.name for each in balancer.candidates] == ["b", "c"]
    assert balancer.take_complaint() is None


# --- a policy of the user's own ------------------------------------------------------------------


class Scripted:
    """Answers what it is told to, or raises it."""

    answer: object = None

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


def test_a_users_policy_decides_and_may_let_a_client_wait() -> None:
    policy = Scripted()
    balancer = make(policy=policy, redispatch=1)
    policy.answer = balancer.candidates.get("b")
    placement = place(balancer)
    assert (name_of(placement), placement.reason) == ("b", Reason.POLICY)
    policy.answer = None
    waiter = place(balancer)
    assert waiter.is_queued
    assert balancer.release(placement, 1.0) == [waiter]


def test_when_a_users_policy_fails_balance_decides_and_it_is_told() -> None:
    policy = Scripted()
    balancer = make(policy=policy)
    for answer in (RuntimeError("oops"), server("gone")):
        policy.answer = answer
        placement = place(balancer)
        assert placement.reason is Reason.ROUNDROBIN
    complaint = balancer.take_complaint()
    assert complaint is not None
    assert complaint.endswith("(2 times)")
    assert balancer.take_complaint() is None


# --- properties ----------------------------------------------------------------------------------


sources = st.lists(st.ip_addresses(), min_size=1, max_size=30, unique=True)


@given(sources, st.sampled_from("abcd"), st.sampled_from(["check_failed", "remove_server"]))
def test_losing_a_server_moves_its_clients_and_no_others(
    sources: list[Any], lost: str, how: str
) -> None:
    balancer = make("abcd", balance=Balance.SOURCE, hash_type=CONSISTENT)
    clients = [client(str(source)) for source in sources]
    before = {who: name_of(place(balancer, who)) for who in clients}
    getattr(balancer, how)(lost, 1.0)
    for who, owner in before.items():
        now = name_of(place(balancer, who))
        assert now != lost if owner == lost else now == owner


@given(sources, st.sampled_from("abc"), st.integers(0, 9))
def test_a_weight_or_a_new_server_exchanges_no_clients_among_the_others(
    sources: list[Any], heavier: str, weight: int
) -> None:
    balancer = make("abc", balance=Balance.SOURCE, hash_type=CONSISTENT)
    clients = [client(str(source)) for source in sources]
    acts: dict[str, Callable[[], object]] = {
        heavier: lambda: balancer.set_weight(heavier, weight, 1.0),
        "d": lambda: balancer.add_server(server("d"), 2.0),
    }
    for changed, act in acts.items():
        before = {who: name_of(place(balancer, who)) for who in clients}
        act()
        for who, owner in before.items():
            now = name_of(place(balancer, who))
            assert now == owner or changed in {now, owner}
