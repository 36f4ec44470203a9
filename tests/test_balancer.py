"""One backend's decisions: HAProxy's tables, and what must survive."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.balancer import AdminState, Balancer, Change, Health
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
from dsbalance.policy import Candidates, Client, Reason, own_policy
from dsbalance.sticky import StickTable
from routing import client, connect, make, name_of, place, server

DATA = Path(__file__).parent / "data"
SEQUENCES = json.loads((DATA / "haproxy-sequences.json").read_text(encoding="utf-8"))["cases"]
READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
CONSISTENT = HashType(kind=HashKind.CONSISTENT)
STICKY = (StickRule(),)


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
    balancer = Balancer(backend, tables, own_policy(backend))
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
    assert balancer.set_health("a", Health.UP, 1.0) == []
    assert len(balancer.set_health("a", Health.DOWN, 1.0)) == 1


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


def test_who_rests_is_released_without_a_place_and_is_counted_off_once() -> None:
    balancer = make("a")
    placement = connect(balancer)
    balancer.rest.pause(placement)
    assert balancer.counters.current == 0
    assert balancer.release(placement, 1.0) == []
    balancer._check()
    assert balancer.counters.current == 0
